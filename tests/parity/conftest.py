"""The mini model in all its forms, for comparison: the diffusers folder, and packages converted from it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DIFFUSERS_FOLDER = Path(os.environ.get("AUDIO2IMG_TEST_DIFFUSERS", ROOT / "models" / "mini" / "diffusers"))


@pytest.fixture(scope="session")
def mini_diffusers() -> Path:
    """The mini model as a diffusers folder."""
    if not (DIFFUSERS_FOLDER / "model_index.json").is_file():
        pytest.skip(f"needs a diffusers folder in {DIFFUSERS_FOLDER}")
    return DIFFUSERS_FOLDER


@pytest.fixture(scope="session")
def converted_mini(mini_diffusers: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """converted_mini(bits): the bundle that our own script makes of it, once per number of bits."""
    made: dict[int, Path] = {}

    def convert(bits: int) -> Path:
        if bits not in made:
            dest = tmp_path_factory.mktemp(f"coreml-{bits}") / "mini"
            command = [sys.executable, str(ROOT / "scripts" / "convert_mini.py")]
            command += ["--source", str(mini_diffusers), "--dest", str(dest), "--bits", str(bits)]
            subprocess.run(command, check=True, timeout=800, stdout=subprocess.DEVNULL)
            made[bits] = dest
        return made[bits]

    return convert
