"""The options of drawing, on the real command: from a picture, several, long prompts, little memory."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

Command = Callable[..., subprocess.CompletedProcess[str]]
Check = Callable[..., None]

LONG = "a red house at night and a yellow moon " * 10


def pixels(path: str | Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    y, x = np.mgrid[:120, :90]
    disc = (x - 45) ** 2 + (y - 60) ** 2 < 900
    path = tmp_path / "my photo.jpg"
    Image.fromarray(np.where(disc[..., None], (240, 200, 30), (40, 80, 160)).astype(np.uint8)).save(path)
    return path


def test_from_a_picture_and_again(
    audio2img: Command, tmp_path: Path, photo: Path, assert_fails: Check
) -> None:
    words = ("generate", "a yellow sun", "--steps", 8, "--seed", 3)
    done = audio2img(*words, "--init-image", photo, "--strength", 0.5, "-o", tmp_path / "a.png")
    assert done.returncode == 0, done.stderr
    audio2img(*words, "-o", tmp_path / "plain.png")
    assert not np.array_equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "plain.png"))
    shown = audio2img("show", tmp_path / "a.png").stdout
    assert "my photo.jpg, strength 0.5" in shown
    with Image.open(tmp_path / "a.png") as image:
        assert "Denoising strength: 0.5" in image.info["parameters"]

    again = audio2img("run", "--from", tmp_path / "a.png", "--init-image", photo, "-o", tmp_path / "b.png")
    assert again.returncode == 0, again.stderr
    assert np.array_equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png"))

    assert_fails(audio2img("run", "--from", tmp_path / "a.png"), 6, "my photo.jpg", "--init-image")
    other = tmp_path / "a.png"
    assert_fails(
        audio2img("run", "--from", tmp_path / "a.png", "--init-image", other), 6, "is not the picture"
    )
    plain = audio2img("run", "--from", tmp_path / "plain.png", "--init-image", photo)
    assert_fails(plain, 2, "not drawn from another picture")


def test_each_of_several_pictures_is_drawn_again_alone(audio2img: Command, tmp_path: Path) -> None:
    done = audio2img("generate", "a cat", "--count", 3, "--steps", 3, "--seed", 8, "-o", tmp_path / "some")
    paths = done.stdout.split()
    assert len({pixels(path).tobytes() for path in paths}) == 3
    assert "8, picture 3 of 3" in audio2img("show", paths[2]).stdout
    audio2img("run", "--from", paths[2], "-o", tmp_path / "again.png")
    assert np.array_equal(pixels(tmp_path / "again.png"), pixels(paths[2]))


def test_a_long_prompt_is_cut_with_a_word_or_taken_whole(audio2img: Command, tmp_path: Path) -> None:
    cut = audio2img("generate", LONG, "--steps", 2, "--seed", 1, "-o", tmp_path / "cut.png")
    assert "left out: " in cut.stderr
    assert "--long-prompt chunk" in cut.stderr
    whole = audio2img(
        "generate", LONG, "--steps", 2, "--seed", 1, "--long-prompt", "chunk", "-o", tmp_path / "whole.png"
    )
    assert whole.returncode == 0
    assert "left out" not in whole.stderr
    assert not np.array_equal(pixels(tmp_path / "cut.png"), pixels(tmp_path / "whole.png"))
    again = audio2img("run", "--from", tmp_path / "whole.png", "-o", tmp_path / "again.png")
    assert again.returncode == 0
    assert np.array_equal(pixels(tmp_path / "whole.png"), pixels(tmp_path / "again.png"))


def test_little_memory_draws_the_same_picture(audio2img: Command, tmp_path: Path) -> None:
    words = ("generate", "a cat", "--steps", 2, "--seed", 1)
    audio2img(*words, "-o", tmp_path / "a.png")
    done = audio2img(*words, "--low-memory", "--compute-units", "CPU_ONLY", "-o", tmp_path / "b.png")
    assert done.returncode == 0, done.stderr
    assert np.array_equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png"))


def test_a_refusal_of_the_safety_checker_is_said(
    audio2img: Command, tmp_path: Path, mini_bundle: Path, assert_fails: Check
) -> None:
    """A model with a damaged safety checker is refused whole: no picture leaves unchecked."""
    folder = Path(shutil.copytree(mini_bundle, tmp_path / "model"))
    (folder / "SafetyChecker.mlpackage").mkdir()
    assert_fails(audio2img("generate", "a cat", "--model", folder, "-o", tmp_path), 4, "SafetyChecker")
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize(
    ("options", "exit_code", "words"),
    [
        (("--strength", 0.5), 2, ("--init-image",)),
        (("--init-image", "PHOTO", "--strength", 1.5), 2, ("strength",)),
        (("--init-image", "PHOTO", "--strength", 0), 2, ("strength",)),
        (("--init-image", "PHOTO", "--strength", 0.01), 2, ("--strength",)),
        (("--init-image", "missing.png"), 6, ("missing.png",)),
        (("--init-image", "."), 6, ("cannot read",)),
        (("--init-image", "TEXT"), 6, ("no picture",)),
        (("--init-image", "CUT"), 6, ("no picture",)),
        (("--compute-units", "GPU"), 2, ("CPU_AND_GPU",)),
        (("--count", 0), 2, ()),
    ],
)
def test_bad_options_are_refused(
    audio2img: Command, tmp_path: Path, photo: Path, assert_fails: Check,
    options: tuple[str, ...], exit_code: int, words: tuple[str, ...],
) -> None:  # fmt: skip
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "cut.jpg").write_bytes(photo.read_bytes()[:400])
    places = {"PHOTO": photo, "TEXT": tmp_path / "text.png", "CUT": tmp_path / "cut.jpg"}
    given = [places.get(option, option) for option in options]
    done = audio2img("generate", "a cat", "--steps", 3, "-o", tmp_path / "out", *given)
    assert_fails(done, exit_code, *words)
    assert not (tmp_path / "out").exists()


def test_json_tells_which_picture(audio2img: Command, tmp_path: Path) -> None:
    done = audio2img("generate", "a cat", "--count", 2, "--steps", 1, "--json", "-o", tmp_path)
    assert [picture["index"] for picture in json.loads(done.stdout)["pictures"]] == [0, 1]
