"""Where Apple's package lives, what is installed there, and how to call it.

The pins are those of apple/ml-stable-diffusion's setup.py at COMMIT, plus what they need of
Python: its numpy<1.24 has no wheels for 3.12.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import platformdirs

from audio2img.errors import MachineError, ModelError

COMMIT = "e12202c1f6405b83918b58a5d097cd61e3e1f702"
"""The newest commit of apple/ml-stable-diffusion in November 2026 (of 2025-07-03)."""

REPOSITORY = "https://github.com/apple/ml-stable-diffusion"
PYTHON_VERSION = "3.11"
REQUIREMENTS = (
    f"python_coreml_stable_diffusion @ git+{REPOSITORY}@{COMMIT}",
    # What setup.py leaves open, held at what was current with its pins.
    "coremltools>=8.0,<9",
    "torch==2.5.0",
    "scikit-learn==1.5.1",
)
ENVIRONMENT_VARIABLE = "AUDIO2IMG_APPLE_ENV"
STDERR = 2  # its number
CONVERTER = "python_coreml_stable_diffusion.torch2coreml"
PRE_ANALYSIS = "python_coreml_stable_diffusion.mixed_bit_compression_pre_analysis"
REMEDY = "make it: python scripts/apple_env.py"


def environment_folder() -> Path:
    """Where scripts/apple_env.py makes the environment: AUDIO2IMG_APPLE_ENV, or among our data."""
    chosen = os.environ.get(ENVIRONMENT_VARIABLE)
    return (
        Path(chosen) if chosen else Path(platformdirs.user_data_dir("audio2img", appauthor=False)) / "apple"
    )


def environment_python() -> Path:
    """The Python of Apple's environment. Raises MachineError, saying how to make it, where there is none."""
    python = environment_folder() / "bin" / "python"
    if not python.is_file():
        raise MachineError(f"Apple's package has no environment in {environment_folder()}", REMEDY)
    return python


def run_module(module: str, arguments: Sequence[str]) -> None:
    """`python -m module arguments` in the environment, its words on stderr.

    Raises MachineError without the environment, ModelError if it fails.
    """
    command = [str(environment_python()), "-m", module, *arguments]
    # stdout is ours, for results; this is progress.
    code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=STDERR, check=False).returncode
    if code != 0:
        raise ModelError(f"Apple's {module} failed with exit code {code}", "its last lines above say why")


def pre_analysis_arguments(model: str, folder: Path, default_bits: int = 16, n_recipes: int = 7) -> list[str]:
    """What mixed_bit_compression_pre_analysis is called with: recipes for `model` as JSON into `folder`.

    default_bits: of the layers that a recipe does not name; 16 leaves them as they are.
    """
    arguments = ["--model-version", model, "-o", str(folder)]
    return [*arguments, "--default-nbits", str(default_bits), "--num-recipes", str(n_recipes)]
