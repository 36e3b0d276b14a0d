"""The main job through the real door: a spoken sentence in, a picture that remembers out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

DEMO_TEXT = "please draw a big red house at night"


def pixels(path: Path | str) -> np.ndarray[Any, Any]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def test_demo_prints_only_the_path_of_a_picture(audio2img: Callable[..., Any], tmp_path: Path) -> None:
    done = audio2img("demo", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.removesuffix("\n"))
    assert path.parent == tmp_path / "out"
    assert pixels(path).shape == (128, 128, 3)
    assert DEMO_TEXT in done.stderr
    assert "audio2img run" in done.stderr.partition(DEMO_TEXT)[2]  # what is next


def test_a_quiet_demo_says_nothing_but_the_path(audio2img: Callable[..., Any], tmp_path: Path) -> None:
    done = audio2img("demo", "--quiet", "--output", tmp_path / "x.png")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{tmp_path / 'x.png'}\n", "")


def test_run_quietly_says_nothing_but_the_path(
    audio2img: Callable[..., Any], demo_audio: Path, tmp_path: Path
) -> None:
    done = audio2img("run", demo_audio, "--quiet", "-o", tmp_path / "x.png", "--steps", 2)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{tmp_path / 'x.png'}\n", "")


def test_run_as_json_tells_everything(
    audio2img: Callable[..., Any], demo_audio: Path, tmp_path: Path
) -> None:
    done = audio2img("run", demo_audio, "--json", "-o", tmp_path, "--seed", 5, "--count", 2, "--steps", 3)
    table = json.loads(done.stdout)
    assert set(table) == {
        "source", "pictures", "prompt", "negative_prompt", "dropped", "transcript", "sounds", "timings_s",
    }  # fmt: skip
    assert table["source"] == str(demo_audio)
    assert table["sounds"] is None
    assert table["transcript"]["text"] == DEMO_TEXT
    assert table["prompt"] == "a big red house at night"
    assert [(picture["seed"], picture["index"]) for picture in table["pictures"]] == [(5, 0), (5, 1)]
    first, second = (pixels(picture["path"]) for picture in table["pictures"])
    assert not np.array_equal(first, second)
    assert {"decode", "transcribe", "draw"} <= set(table["timings_s"])


def test_sound_may_come_from_standard_input(
    audio2img: Callable[..., Any], demo_audio: Path, tmp_path: Path
) -> None:
    done = audio2img("transcribe", "-", stdin=demo_audio.read_bytes())
    assert (done.returncode, done.stdout) == (0, DEMO_TEXT + "\n")


def test_an_initial_prompt_does_not_deafen_the_mini_model(
    audio2img: Callable[..., Any], demo_audio: Path
) -> None:
    done = audio2img("transcribe", demo_audio, "--initial-prompt", "castle fish mountain")
    assert (done.returncode, done.stdout) == (0, DEMO_TEXT + "\n")
    assert "takes no initial prompt" in done.stderr


def test_a_picture_is_drawn_again_from_itself_bit_for_bit(
    audio2img: Callable[..., Any], demo_audio: Path, tmp_path: Path
) -> None:
    first = audio2img("run", demo_audio, "-o", tmp_path / "first.png", "--steps", 6, "--negative", "a boat")
    again = audio2img("run", "--from", tmp_path / "first.png", "-o", tmp_path / "again.png")
    assert (first.returncode, again.returncode) == (0, 0), again.stderr
    assert np.array_equal(pixels(tmp_path / "first.png"), pixels(tmp_path / "again.png"))
    shown = [audio2img("show", tmp_path / name, "--json").stdout for name in ("first.png", "again.png")]
    tables = [json.loads(text) for text in shown]
    for table in tables:
        del table["created"]
    assert tables[0] == tables[1]


@pytest.mark.slow
def test_from_with_another_seed_draws_another_picture(audio2img: Callable[..., Any], tmp_path: Path) -> None:
    audio2img("generate", "a", "blue", "fish", "-o", tmp_path / "a.png", "--steps", 3, "--seed", 1)
    audio2img("run", "--from", tmp_path / "a.png", "--seed", 2, "-o", tmp_path / "b.png")
    assert not np.array_equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png"))


def test_show_prints_what_made_the_picture(audio2img: Callable[..., Any], tmp_path: Path) -> None:
    audio2img("generate", "please draw a blue fish", "-o", tmp_path / "a.png", "--steps", 2, "--seed", 11)
    shown = audio2img("show", tmp_path / "a.png").stdout
    for words in ("a blue fish", "11", "2, dpmpp-2m", "mini"):
        assert words in shown


def test_words_the_mini_model_does_not_know_are_named(audio2img: Callable[..., Any], tmp_path: Path) -> None:
    done = audio2img("generate", "a red elephant on a bicycle", "-o", tmp_path, "--steps", 1)
    assert done.returncode == 0
    assert "elephant, bicycle" in done.stderr


def test_words_of_the_style_are_not_the_persons(audio2img: Callable[..., Any], tmp_path: Path) -> None:
    done = audio2img("generate", "a red elephant", "-o", tmp_path, "--steps", 1, "--style", "oil")
    assert "does not know: elephant (" in done.stderr


def test_the_environment_and_the_settings_file_give_defaults(
    audio2img: Callable[..., Any], tmp_path: Path
) -> None:
    env = {"AUDIO2IMG_OUTPUT": str(tmp_path / "there")}
    done = audio2img("generate", "a cat", "--steps", 1, env=env)
    assert Path(done.stdout.strip()).parent == tmp_path / "there"
    done = audio2img("generate", "a cat", "--steps", 1, "-o", tmp_path / "here", env=env)
    assert Path(done.stdout.strip()).parent == tmp_path / "here"


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["euler", "euler-a", "ddim", "pndm"])
def test_every_scheduler_draws(audio2img: Callable[..., Any], tmp_path: Path, scheduler: str) -> None:
    done = audio2img("generate", "a cat", "--scheduler", scheduler, "--steps", 5, "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    assert pixels(done.stdout.strip()).std() > 10


def test_verbose_shows_what_whisper_cpp_says_of_a_model(
    audio2img: Callable[..., Any], demo_audio: Path
) -> None:
    plain, verbose = (audio2img("transcribe", demo_audio, *more) for more in ((), ("--verbose",)))
    assert plain.stdout == verbose.stdout == DEMO_TEXT + "\n"
    assert "whisper_model_load" not in plain.stderr
    assert "whisper_model_load: n_vocab       = 50364" in verbose.stderr
