"""Arguments as a person at the command line knows them."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

from audio2img.wording import as_options


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("leave `init_image` out", "leave --init-image out"),
        ('choose `scheduler="euler-a"`, or more `steps`', "choose --scheduler euler-a, or more --steps"),
        ("draw with `low_memory=True`", "draw with --low-memory"),
        ("draw with `compile=False`", "draw with --no-compile"),
        ("leave `task=translate` out", "leave --translate out"),
        ("give `loras=my light.safetensors:0.6`", "give --lora my light.safetensors:0.6"),
        ("choose another `target`", "choose another --output"),
        ("give the same `loras`", "give the same --lora"),
        ("`memo.m4a` and `x y` are no arguments", "`memo.m4a` and `x y` are no arguments"),
        ("nothing to change", "nothing to change"),
    ],
)
def test_arguments_are_named_as_options(said: str, words: str) -> None:
    assert as_options(said) == words


@pytest.mark.parametrize("is_on_path", [True, False])
def test_a_remedy_names_the_command_as_the_shell_finds_it(
    is_on_path: bool, private_home: Path, tmp_path: Path
) -> None:
    installed = Path(sysconfig.get_path("scripts")) / "audio2img"
    if not installed.exists():
        pytest.skip("the package is not installed with its command")
    launcher = tmp_path / "my tools" / "audio2img"
    launcher.parent.mkdir()
    launcher.symlink_to(installed)
    path = f"{launcher.parent}{os.pathsep}{os.defpath}" if is_on_path else os.defpath
    done = subprocess.run(
        [launcher, "models", "get", "whisper-tiny", "--offline", "--accept-license"],
        env={**os.environ, "HOME": str(private_home), "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 4
    words = "audio2img models get whisper-tiny" if is_on_path else f"'{launcher}' models get whisper-tiny"
    assert done.stderr.rstrip().endswith(f"run: {words}")
