"""An error about a value names the place where that value was set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audio2img.config import settings_file

pytestmark = pytest.mark.slow

Command = Callable[..., Any]


@pytest.fixture
def write_settings(private_home: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = settings_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ('scheduler = "nonesuch"', "there is no scheduler"),
        ('style = "nonesuch"', "there is no style"),
        ('backend = "nonesuch"', "there is no backend"),
        ("steps = 0", "0 steps"),
        ('hear = "nonesuch"', "nonesuch"),
    ],
)
def test_an_error_about_a_setting_names_the_file(
    audio2img: Command, assert_fails: Callable[..., None], write_settings: Any, setting: str, words: str
) -> None:
    path = write_settings(setting)
    name = setting.split(" ")[0]
    done = audio2img("generate", "a red house")
    assert_fails(done, 2, words, f"({name} is set by {path})")
    assert f"--{name}" not in done.stderr


def test_an_error_about_a_variable_names_the_variable(
    audio2img: Command, assert_fails: Callable[..., None]
) -> None:
    done = audio2img("generate", "a red house", env={"AUDIO2IMG_MODEL": "nonesuch"})
    assert_fails(done, 4, "nonesuch", "(model is set by AUDIO2IMG_MODEL)")


def test_an_option_hides_a_bad_setting(audio2img: Command, write_settings: Any) -> None:
    write_settings("steps = 0")
    done = audio2img("generate", "a red house", "--steps", "1", "--seed", "1", "--model", "mini")
    assert done.returncode == 0, done.stderr


def test_an_error_about_an_option_names_no_file(
    audio2img: Command, assert_fails: Callable[..., None], write_settings: Any
) -> None:
    path = write_settings("steps = 5")
    done = audio2img("generate", "a red house", "--steps", "0")
    assert_fails(done, 2, "0 steps")
    assert str(path) not in done.stderr


def test_settings_break_no_command_that_does_not_use_them(
    audio2img: Command, write_settings: Any, demo_audio: Path
) -> None:
    path = write_settings(
        'vad_model = "silero-vad"\nprecision = "half"\ncompute_units = "cuda"\nsilence = -3\n'
    )
    done = audio2img("generate", "a red house", "--steps", "1", "--seed", "1")
    assert done.returncode == 0, done.stderr
    assert "precision = 'half' is left out" in done.stderr
    assert "compute_units = 'cuda' is left out" in done.stderr
    assert f"(set by {path})" in done.stderr
    write_settings('silence = -3\nsteps = 0\nprecision = "half"\nhear = "nonesuch"\nbackend = "nonesuch"\n')
    done = audio2img("transcribe", demo_audio)
    assert done.returncode == 0, done.stderr


def test_the_same_as_an_option_is_refused(audio2img: Command, assert_fails: Callable[..., None]) -> None:
    assert_fails(audio2img("generate", "a house", "--precision", "half"), 2, "precision")
