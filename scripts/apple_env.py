#!/usr/bin/env python3
"""Make the environment of Apple's package python_coreml_stable_diffusion, on your own machine.

    python scripts/apple_env.py            make it, or do nothing if it is there as it should be
    python scripts/apple_env.py --check    only say whether it is
    python scripts/apple_env.py --analyze MODEL --output FOLDER [--bits 16] [--recipes 7]
                                           Apple's mixed-bit pre-analysis of a model, in that environment

Apple's package lives on GitHub only and pins packages of 2024, so it gets Python 3.11 and an
environment of its own, by uv, in audio2img's data folder (or AUDIO2IMG_APPLE_ENV). It serves
`audio2img models convert --with apple` and the comparison with Apple's pipeline.

It needs the network, GitHub included. The machines this was written on reach no GitHub: what is
installed was never tried there, only what is asked of uv, and what happens without uv or network.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

from audio2img.conversion.apple_tools import environment
from audio2img.errors import Audio2ImgError, MachineError

MARKER = "audio2img-environment.json"  # written last: the environment was wholly made of these
PROBE = "import coremltools, diffusers, python_coreml_stable_diffusion.coreml_model as _"


def wanted() -> dict[str, object]:
    """What the marker of an environment must say."""
    return {"python": environment.PYTHON_VERSION, "requirements": list(environment.REQUIREMENTS)}


def uv_commands(uv: str, folder: Path) -> list[list[str]]:
    """The calls of uv that make the environment in `folder`."""
    python = str(folder / "bin" / "python")
    return [
        [uv, "venv", "--clear", "--python", environment.PYTHON_VERSION, str(folder)],
        [uv, "pip", "install", "--python", python, *environment.REQUIREMENTS],
    ]


def state(folder: Path) -> str:
    """ "" if the environment is there as it should be, else what is wrong with it."""
    marker = folder / MARKER
    if not (folder / "bin" / "python").is_file():
        return f"there is no environment in {folder}"
    try:
        found = json.loads(marker.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"the environment in {folder} was not finished"
    if found != wanted():
        return f"the environment in {folder} is of other versions"
    probe = subprocess.run(
        [folder / "bin" / "python", "-c", PROBE], capture_output=True, text=True, check=False
    )
    if probe.returncode != 0:
        return (
            f"the environment in {folder} does not work: {(probe.stderr.strip().splitlines() or ['?'])[-1]}"
        )
    return ""


def make(folder: Path) -> None:
    """Make the environment. Raises MachineError, saying what to do, if uv or the network is missing."""
    uv = shutil.which("uv")
    if uv is None:
        raise MachineError("uv is not installed", "run: python -m pip install uv")
    folder.parent.mkdir(parents=True, exist_ok=True)
    for command in uv_commands(uv, folder):
        print(" ".join(command), file=sys.stderr)
        if subprocess.run(command, stdout=sys.stderr.fileno(), check=False).returncode != 0:
            raise MachineError(
                f"uv could not do: {' '.join(command[1:3])}",
                "its last lines say why; it needs the network and github.com; then run this again",
            )
    (folder / MARKER).write_text(json.dumps(wanted(), indent=2) + "\n", encoding="utf-8")
    if problem := state(folder):
        raise MachineError(problem, "report it with what uv said")


def analyze(model: str, output: Path, bits: int, n_recipes: int) -> None:
    """Apple's mixed-bit pre-analysis of a diffusers folder or hub model; recipes as JSON into `output`."""
    output.mkdir(parents=True, exist_ok=True)
    arguments = environment.pre_analysis_arguments(model, output, bits, n_recipes)
    environment.run_module(environment.PRE_ANALYSIS, arguments)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="only say whether it is there and works")
    parser.add_argument("--analyze", metavar="MODEL", help="mixed-bit pre-analysis of this model")
    parser.add_argument("--output", type=Path, help="where the recipes go")
    parser.add_argument(
        "--bits", type=int, choices=(1, 2, 4, 6, 8, 16), default=16, help="of layers not named"
    )
    parser.add_argument("--recipes", type=int, default=7, help="how many recipes at most")
    options = parser.parse_args(argv)
    if options.analyze and options.output is None:
        parser.error("--analyze needs --output")
    return options


def main(argv: list[str] | None = None) -> int:
    """Read the command line and do it; the exit code."""
    options = parse(argv)
    folder = environment.environment_folder()
    try:
        if options.analyze:
            analyze(options.analyze, options.output, options.bits, options.recipes)
            return 0
        problem = state(folder)
        if problem and options.check:
            raise MachineError(problem, "make it: python scripts/apple_env.py")
        if problem:
            make(folder)
    except Audio2ImgError as error:
        print(f"{error.message} — {error.remedy}", file=sys.stderr)
        return error.exit_code
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
