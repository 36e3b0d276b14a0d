"""Ctrl-C in every stage: exit code 130, one line, nothing left behind."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from PIL import Image

from audio2img.cli.console import open_progress
from audio2img.cli.outcome import Outcome

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX terminal, not Windows")

SHOW_CURSOR, HIDE_CURSOR = "\x1b[?25h", "\x1b[?25l"


def long_recording(demo: Path, path: Path, minutes: int) -> Path:
    """The demo sentence over and over, as a WAV file."""
    from audio2img.audio.decode import decode_audio

    samples = decode_audio(demo).samples
    sentence = (samples * 32767).astype("<i2").tobytes()
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        for _ in range(minutes * 60 * 16000 // len(samples)):
            file.writeframes(sentence)
    return path


def interrupt_when(
    is_time: Callable[[str], bool], arguments: list[str], folder: Path, again_when: str = ""
) -> tuple[int, str, str]:
    """Run the command on a terminal and press Ctrl-C as soon as `is_time` of all that it has shown.

    again_when: press it once more when this is shown. Exit code, what was shown, what it printed.
    """
    master, slave = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "audio2img", *arguments],
        stdout=subprocess.PIPE,
        stderr=slave,
        stdin=subprocess.DEVNULL,
        cwd=folder,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
        start_new_session=True,
    )
    os.close(slave)
    shown = b""
    n_pressed = 0
    try:
        while True:
            text = shown.decode(errors="replace")
            if (n_pressed == 0 and is_time(text)) or (n_pressed == 1 and again_when and again_when in text):
                n_pressed += 1
                process.send_signal(signal.SIGINT)
            try:
                piece = os.read(master, 4096)
            except OSError:  # Linux: the other end has closed
                break
            if not piece:
                break
            shown += piece
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        os.close(master)
    assert n_pressed == (2 if again_when else 1), shown
    return process.returncode, shown.decode(errors="replace"), output.decode()


@pytest.mark.parametrize(
    ("label", "minutes", "steps"),
    [("reading", 60, 2), ("understanding", 10, 2), ("drawing", 0, 900)],
)
def test_ctrl_c_stops_cleanly(demo_audio: Path, tmp_path: Path, label: str, minutes: int, steps: int) -> None:
    source = long_recording(demo_audio, tmp_path / "long.wav", minutes) if minutes else demo_audio
    arguments = ["run", str(source), "-o", str(tmp_path / "out"), "--steps", str(steps)]
    exit_code, shown, printed = interrupt_when(lambda text: label in text, arguments, tmp_path)
    assert (exit_code, printed) == (130, "")
    assert "audio2img: stopped" in shown
    assert "Traceback" not in shown
    assert not (tmp_path / "out").exists()


def test_pictures_that_were_finished_before_ctrl_c_stay_and_are_named(tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["generate", "a red house", "-o", str(out), "--count", "50", "--steps", "5"]
    exit_code, shown, printed = interrupt_when(
        lambda text: len(list(out.glob("*.png"))) >= 2, arguments, tmp_path
    )
    assert exit_code == 130, shown
    assert "audio2img: stopped" in shown
    paths = [Path(line) for line in printed.splitlines()]
    assert 2 <= len(paths) < 50
    assert sorted(paths) == sorted(out.iterdir())
    for path in paths:
        with Image.open(path) as picture:
            picture.load()


def test_a_step_that_cannot_be_interrupted_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)  # reading it waits for somebody who writes nothing
    writers: list[int] = []

    def is_being_read(text: str) -> bool:
        try:
            writers.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:  # nobody reads it yet
            return False
        return True

    exit_code, shown, printed = interrupt_when(
        is_being_read, ["transcribe", str(pipe)], tmp_path, again_when="Ctrl-C again leaves at once"
    )
    os.close(writers[0])
    assert (exit_code, printed) == (130, "")
    assert shown.rindex(SHOW_CURSOR) > shown.rindex(HIDE_CURSOR)
    assert shown.rstrip().endswith("audio2img: stopped")
    assert "Traceback" not in shown


def test_the_cursor_comes_back_whenever_ctrl_c_strikes(tmp_path: Path) -> None:
    exit_code, shown, _ = interrupt_when(
        lambda text: HIDE_CURSOR in text, ["generate", "a red house", "--steps", "900"], tmp_path
    )
    assert exit_code == 130
    assert shown.rindex(SHOW_CURSOR) > shown.rindex(HIDE_CURSOR)


class Terminal(io.StringIO):
    """Stands for stderr, where somebody presses Ctrl-C in the middle of the first line with `word`."""

    def __init__(self, word: str = "") -> None:
        super().__init__()
        self._word = word

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self._word and self._word in text:
            self._word = ""
            signal.raise_signal(signal.SIGINT)
        return super().write(text)


def strike_at_line(n_lines: int) -> Callable[[FrameType, str, Any], Any]:
    """What traces Python so that Ctrl-C is pressed when so many lines of rich have been run."""
    n_left = n_lines

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal n_left
        if event == "line" and "rich" in frame.f_code.co_filename:
            n_left -= 1
            if n_left == 0:
                signal.raise_signal(signal.SIGINT)
        return trace

    return trace


@pytest.mark.parametrize("n_lines", [*range(1, 40), *range(390, 430), *range(450, 1600, 50)])
@pytest.mark.parametrize("struck", ["add_task", "stop"])
def test_the_cursor_comes_back_wherever_in_a_line_ctrl_c_strikes(
    monkeypatch: pytest.MonkeyPatch, struck: str, n_lines: int
) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", terminal)
    progress = open_progress()
    usual = sys.gettrace()
    try:
        sys.settrace(strike_at_line(n_lines))
        progress.add_task("drawing") if struck == "add_task" else progress.stop()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(usual)
        progress.stop()
    shown = terminal.getvalue()
    assert shown.rindex(SHOW_CURSOR) > shown.rindex(HIDE_CURSOR)


def test_how_a_command_ended_is_said_whole_however_often_ctrl_c_is_pressed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal("audio2img: stopped")
    monkeypatch.setattr("sys.stderr", terminal)
    usual = signal.getsignal(signal.SIGINT)
    outcome = Outcome()
    try:
        with outcome:
            raise KeyboardInterrupt
    finally:
        signal.signal(signal.SIGINT, usual)
    assert outcome.exit_code == 130
    assert terminal.getvalue() == "audio2img: stopped\n"
