"""`audio2img show`, and drawing again from whatever it reads."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo


def foreign(path: Path, parameters: str) -> Path:
    """A PNG as a Stable Diffusion web UI writes it."""
    texts = PngInfo()
    texts.add_text("parameters", parameters)
    Image.new("RGB", (8, 8)).save(path, pnginfo=texts)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["jpg", "webp"])
def test_other_formats_remember_as_much(audio2img: Callable[..., Any], ending: str, tmp_path: Path) -> None:
    drawn = audio2img("generate", "a blue fish", "-o", tmp_path / f"a.{ending}", "--steps", 2, "--seed", 3)
    assert Path(drawn.stdout.strip()) == tmp_path / f"a.{ending}", drawn.stderr
    again = audio2img("run", "--from", tmp_path / f"a.{ending}", "-o", tmp_path / "b.png")
    assert again.returncode == 0, again.stderr
    shown = [json.loads(audio2img("show", name, "--json").stdout) for name in (f"a.{ending}", "b.png")]
    assert shown[0]["request"] == shown[1]["request"]
    with Image.open(tmp_path / f"a.{ending}") as lossy, Image.open(tmp_path / "b.png") as exact:
        difference = np.asarray(lossy.convert("RGB")).astype(float) - np.asarray(exact.convert("RGB"))
    assert np.abs(difference).mean() < 4


def test_a_path_with_another_ending_is_no_folder(
    audio2img: Callable[..., Any], assert_fails: Callable[..., None], tmp_path: Path
) -> None:
    # Said before anything else: the model is not on this machine.
    done = audio2img("generate", "a blue fish", "-o", tmp_path / "out.gif", "-q", "--model", "sd21")
    assert_fails(done, 2, ".gif", ".png, .jpg, .jpeg, .webp")
    assert not (tmp_path / "out.gif").exists()


def test_the_command_to_draw_again_can_be_pasted(audio2img: Callable[..., Any], tmp_path: Path) -> None:
    audio2img("generate", "a blue fish", "-o", tmp_path / "it's mine; $(ls).png", "--steps", 1)
    last = audio2img("show", "it's mine; $(ls).png").stdout.splitlines()[-1]
    assert shlex.split(last) == ["again:", "audio2img", "run", "--from", "it's mine; $(ls).png"]


def test_what_is_not_repeated_of_a_foreign_picture_is_said(
    audio2img: Callable[..., Any], tmp_path: Path
) -> None:
    foreign(
        tmp_path / "a.png", "a cat\nSteps: 20, Sampler: Euler, Seed: 5, Size: 8x8, Clip skip: 2, Model: v1"
    )
    assert "Clip skip: 2" in audio2img("show", "a.png").stdout


@pytest.mark.parametrize("scale", ["nan", "inf"])
def test_settings_that_are_no_numbers(
    audio2img: Callable[..., Any], assert_fails: Callable[..., None], scale: str, tmp_path: Path
) -> None:
    foreign(tmp_path / "a.png", f"a cat\nSteps: 20, Seed: 5, Size: 8x8, CFG scale: {scale}, Model: mini")
    assert_fails(audio2img("show", "a.png"), 6, "guidance")
    assert json.loads(audio2img("show", "a.png", "--json").stderr)["error"]["exit_code"] == 6
    assert_fails(audio2img("run", "--from", "a.png", "-q"), 6, "guidance")


def test_last_is_the_newest_picture_of_ours(audio2img: Any, assert_fails: Any, tmp_path: Path) -> None:
    pictures = {"AUDIO2IMG_OUTPUT": str(tmp_path / "pictures")}
    assert_fails(audio2img("show", "last", env=pictures), 6, "there is no picture of ours in")
    for number, words in enumerate(("a red house", "a blue boat")):
        done = audio2img("generate", words, "--steps", "1", "--seed", "1", env=pictures)
        os.utime(done.stdout.strip(), (1000 + number, 1000 + number))
    Image.new("RGB", (8, 8)).save(tmp_path / "pictures" / "of-somebody-else.png")
    assert "a blue boat" in audio2img("show", "last", env=pictures).stdout
    again = audio2img("run", "--from", "last", "--seed", "2", env=pictures)
    assert "a-blue-boat-2" in again.stdout, again.stderr
