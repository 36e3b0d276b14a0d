"""Previews on a pseudo-terminal that says it is iTerm2 or kitty, drawn by the real command."""

from __future__ import annotations

import base64
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from audio2img.cli.preview import KITTY_CHUNK, encode_for_kitty, find_encoder

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX terminal, not Windows")

ITERM2 = {"TERM_PROGRAM": "iTerm.app", "TERM": "xterm-256color"}
KITTY = {"KITTY_WINDOW_ID": "1", "TERM": "xterm-kitty"}
PLAIN = {"TERM": "xterm-256color"}


def draw_on_terminal(folder: Path, terminal: dict[str, str], *options: str) -> bytes:
    """What `audio2img generate` shows on a terminal of these variables."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("TERM", "KITTY", "TMUX"))
    }
    master, slave = os.openpty()
    words = ["generate", "a red house", "--steps", "8", "-o", str(folder), *options]
    process = subprocess.Popen(
        [sys.executable, "-m", "audio2img", *words],
        stdout=subprocess.PIPE,
        stderr=slave,
        stdin=subprocess.DEVNULL,
        env={**kept, "COLUMNS": "100", **terminal},
    )
    os.close(slave)
    shown = b""
    try:
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # Linux: the other end has closed
                break
            if not piece:
                break
            shown += piece
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        os.close(master)
    assert process.returncode == 0
    assert b"\x1b]1337" not in output
    assert len(list(folder.glob("*.png"))) == 1
    return shown


def check_picture(data: bytes) -> None:
    image = Image.open(io.BytesIO(data))
    image.load()
    assert image.format == "PNG"
    assert max(image.size) >= 100


@posix
def test_iterm2_is_shown_pictures_in_one_place(tmp_path: Path) -> None:
    shown = draw_on_terminal(tmp_path, ITERM2)
    found = re.findall(
        rb"\x1b7\x1b\[10A\r\x1b\]1337;File=inline=1;size=(\d+);[^:]*:([^\x07]*)\x07\x1b8", shown
    )
    assert found
    for size, text in found:
        data = base64.b64decode(text, validate=True)
        assert len(data) == int(size)
        check_picture(data)


@posix
def test_kitty_is_shown_pictures_in_chunks(tmp_path: Path) -> None:
    shown = draw_on_terminal(tmp_path, KITTY)
    chunks = re.findall(rb"\x1b_G([^;]*);([^\x1b]*)\x1b\\", shown)
    assert chunks
    pictures, text = [], b""
    for control, part in chunks:
        assert len(part) <= KITTY_CHUNK
        text += part
        if control.endswith(b"m=0"):
            pictures.append(base64.b64decode(text, validate=True))
            text = b""
    assert text == b""
    for data in pictures:
        check_picture(data)


@pytest.mark.slow
@posix
@pytest.mark.parametrize(
    ("terminal", "options"), [(PLAIN, ()), (ITERM2, ("--no-previews",)), (ITERM2, ("--quiet",))]
)
def test_other_terminals_and_wishes_are_left_alone(
    tmp_path: Path, terminal: dict[str, str], options: tuple[str, ...]
) -> None:
    shown = draw_on_terminal(tmp_path, terminal, *options)
    assert b"1337" not in shown
    assert b"\x1b_G" not in shown


@pytest.mark.parametrize(
    ("terminal", "knows"),
    [
        (ITERM2, True), (KITTY, True), (PLAIN, False), ({"TERM_PROGRAM": "WezTerm"}, True), ({}, False),
        ({"LC_TERMINAL": "iTerm2"}, True), ({"TERM_PROGRAM": "ghostty"}, True),
        ({**KITTY, "TMUX": "/tmp/x"}, False), ({**ITERM2, "TERM": "screen-256color"}, False),
    ],
)  # fmt: skip
def test_terminals_are_told_apart(terminal: dict[str, str], knows: bool) -> None:
    assert (find_encoder(terminal) is not None) == knows


def test_a_large_picture_is_cut_into_chunks() -> None:
    data = bytes(range(256)) * 100
    parts = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b", encode_for_kitty(data))
    assert [control[-3:] for control, _ in parts] == ["m=1"] * (len(parts) - 1) + ["m=0"]
    assert base64.b64decode("".join(text for _, text in parts)) == data
