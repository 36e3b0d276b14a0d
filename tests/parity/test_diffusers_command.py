"""The command itself with the diffusers backend, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = [pytest.mark.slow]

pytest.importorskip("diffusers")


def call(home: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "audio2img", *map(str, arguments)]
    environment = {**os.environ, "HOME": str(home)}
    return subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=home, env=environment)


def pixels(path: str | Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_picture_and_the_same_again(private_home: Path, tmp_path: Path) -> None:
    words = ("generate", "a red house", "--model", "mini", "--backend", "diffusers", "--count", 2)
    done = call(private_home, *map(str, words), "--steps", "3", "--seed", "1", "--json", "-v", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    pictures = json.loads(done.stdout)["pictures"]
    assert [picture["backend"] for picture in pictures] == ["diffusers"] * 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, "nothing of the libraries' own"
    assert lines[0].startswith("mini ready in ")
    assert "precision" in lines[0]
    again = call(private_home, "run", "--from", pictures[1]["path"], "-o", tmp_path / "again.png")
    assert again.returncode == 0, again.stderr
    assert again.stderr == ""
    assert np.array_equal(pixels(pictures[1]["path"]), pixels(tmp_path / "again.png"))


def test_the_default_off_macos_is_a_model_that_draws_anything(private_home: Path) -> None:
    done = call(private_home, "generate", "a lighthouse")
    if sys.platform == "darwin":
        pytest.skip("needs Windows or Linux")
    assert done.returncode == 4
    assert "sd21-base-diffusers must be downloaded first" in done.stderr
    assert "--model mini" in done.stderr
