"""On a real terminal: nothing that has a hostile name steers it, whichever command prints it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from audio2img.config import config_dir, settings_file

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX terminal, not Windows"),
]

# Sets the window's title; begins a control sequence as one C1 character; goes back to the line's start.
DEMO = Path(__file__).parents[2] / "models" / "mini" / "demo.flac"
EVIL = "owned\x1b]0;title\x07\x9b31m\rX\u202eY"
MARK = b"owned"
FORBIDDEN = (b"\x1b]", b"\x07", "\x9b".encode(), b"\rX", "\u202e".encode())

Shown = Callable[..., tuple[int, bytes]]

OWN_CATALOG = f"""
[[model]]
name = "mine"
kind = "speech"
format = "ggml"
title = {json.dumps(EVIL)}
purpose = {json.dumps(EVIL)}
licence = {json.dumps(EVIL)}
licence_url = "https://example.org/licence"
memory_bytes = 1000
mirrors = [{{ url = "https://example.org/mine.bin" }}]
files = [{{ path = "mine.bin" }}]
"""


@pytest.fixture
def hostile_home(tmp_path: Path) -> None:
    """Files, a folder, a picture, a style and a model that are named by somebody who means ill."""
    (tmp_path / f"{EVIL}.wav").write_bytes(b"no sound")
    (tmp_path / f"{EVIL}.safetensors").write_bytes(b"no weights")
    texts = PngInfo()
    texts.add_itxt(
        "parameters", f"{EVIL} house\nSteps: 4, Sampler: Euler, CFG scale: 7, Seed: 1, Model: {EVIL}"
    )
    Image.new("RGB", (64, 64)).save(tmp_path / f"{EVIL}.png", pnginfo=texts)
    (config_dir() / "styles").mkdir(parents=True)
    (config_dir() / "styles" / f"{EVIL}.toml").write_text('prompt = "{prompt}"\n')
    (config_dir() / "models.toml").write_text(OWN_CATALOG)


CASES: dict[str, list[str]] = {
    "unknown command": [EVIL],
    "unknown option": ["generate", "a house", f"--{EVIL}"],
    "option's value": ["generate", "a house", "--size", EVIL],
    "sound that is none": ["run", f"{EVIL}.wav"],
    "sound that is missing": ["transcribe", f"no-{EVIL}.wav"],
    "speech model": ["transcribe", str(DEMO), "--speech-model", f"./{EVIL}"],
    "sound model": ["classify", str(DEMO), "--sound-model", f"./{EVIL}.wav"],
    "image model": ["generate", "a house", "--model", EVIL],
    "image model by path": ["generate", "a house", "--model", f"./{EVIL}.safetensors"],
    "backend": ["generate", "a house", "--backend", EVIL],
    "scheduler": ["generate", "a house", "--scheduler", EVIL],
    "style": ["generate", "a house", "--style", EVIL],
    "styles there are": ["generate", "a house", "--style", "nonesuch"],
    "template": ["generate", "a house", "--template", f"{{prompt}} {{{EVIL}}}"],
    "LoRA": ["generate", "a house", "--backend", "diffusers", "--lora", f"no-{EVIL}.safetensors"],
    "picture to start from": ["generate", "a house", "--init-image", f"{EVIL}.wav"],
    "words to draw": ["generate", f"a {EVIL} house", "--steps", "1", "-o", "out.png"],
    "output": ["generate", "a house", "--steps", "1", "-o", EVIL],
    "output, as JSON": ["generate", "a house", "--steps", "1", "-o", EVIL, "--json"],
    "error, as JSON": ["generate", "a house", "--model", EVIL, "--json"],
    "record of a picture": ["show", f"{EVIL}.png"],
    "record of a picture, as JSON": ["show", f"{EVIL}.png", "--json"],
    "record of no picture": ["show", f"{EVIL}.wav"],
    "catalogue": ["models", "list"],
    "catalogue, as JSON": ["models", "list", "--json"],
    "row of the catalogue": ["models", "show", "mine"],
    "unknown model": ["models", "path", EVIL],
    "model to get": ["models", "get", EVIL],
    "model to remove": ["models", "remove", EVIL],
    "model to verify": ["models", "verify", EVIL],
    "model to convert": ["models", "convert", f"./{EVIL}", "converted"],
    "actions": ["actions", "list", "--dest", EVIL],
    "action": ["actions", "install", EVIL],
    "microphone": ["devices", "--use", EVIL],
    "traceback": ["show", f"{EVIL}.wav", "--verbose"],
}  # fmt: skip


@pytest.mark.parametrize("arguments", CASES.values(), ids=CASES)
def test_hostile_names_are_shown_and_do_nothing(
    shown: Shown, hostile_home: None, arguments: list[str]
) -> None:
    exit_code, seen = shown(*arguments)
    assert exit_code != 1, seen
    assert [what for what in FORBIDDEN if what in seen] == [], seen
    if arguments[-2:] != ["--dest", EVIL] and arguments != CASES["microphone"]:
        assert MARK in seen


@pytest.mark.parametrize("text", [f"{json.dumps(EVIL)} = 1", f"steps = {json.dumps(EVIL)}"])
def test_hostile_settings_are_shown_and_do_nothing(shown: Shown, text: str) -> None:
    settings_file().parent.mkdir(parents=True)
    settings_file().write_text(text)
    exit_code, seen = shown("generate", "a house")
    assert exit_code == 2
    assert [what for what in FORBIDDEN if what in seen] == [], seen
    assert MARK in seen


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux: elsewhere names are text")
def test_a_name_that_is_no_text_is_written_out_on_a_terminal(shown: Shown, tmp_path: Path) -> None:
    exit_code, seen = shown("show", b"owned\x9b31m.png")
    assert exit_code == 6
    assert rb"owned\x9b31m.png" in seen


def test_a_path_in_a_pipe_is_the_path(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "audio2img", "generate", "a red house", "--steps", "1", "-o", EVIL],
        capture_output=True, cwd=tmp_path, env={**os.environ, "AUDIO2IMG_MODEL": "mini"}, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [picture] = (tmp_path / EVIL).iterdir()
    assert done.stdout == os.fsencode(f"{EVIL}/{picture.name}\n")


def test_json_in_a_pipe_is_harmless_and_means_the_same(audio2img: Any, tmp_path: Path) -> None:
    done = audio2img("generate", "a red house", "--steps", "1", "-o", EVIL, "--json")
    assert "\x9b" not in done.stdout
    [picture] = (tmp_path / EVIL).iterdir()
    assert json.loads(done.stdout)["pictures"][0]["path"] == f"{EVIL}/{picture.name}"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["generate", "a house", "--model", "nonesuch"], 4, "nonesuch"),
        (["generate", "a house", "--size", "big"], 2, "512x512"),
        (["generate", "--nonesuch"], 2, "--nonesuch"),
        (["show", "nothing.png"], 6, "nothing.png"),
    ],
)
def test_with_json_errors_are_json(audio2img: Any, arguments: list[str], exit_code: int, words: str) -> None:
    done = audio2img(*arguments, "--json")
    assert (done.returncode, done.stdout) == (exit_code, "")
    assert done.stderr.count("\n") == 1
    error = json.loads(done.stderr)["error"]
    assert set(error) == {"message", "remedy", "exit_code"}
    assert error["exit_code"] == exit_code
    assert words in error["message"]
    assert error["remedy"]


@pytest.mark.parametrize("name", ["generate", "run", "show", "transcribe", "models show", "classify"])
def test_no_message_fills_more_than_a_screen(audio2img: Any, name: str) -> None:
    done = audio2img(*name.split(), "x" * 100_000 if name != "generate" else "y", *["--nonesuch"] * 2000)
    assert done.returncode == 2
    assert len(done.stderr) < 1920
    long = audio2img(*name.split(), "~" + "x" * 100_000 if name != "generate" else "--style=" + "x" * 100_000)
    assert long.returncode in (2, 4, 6)
    assert len(long.stderr) < 1920
