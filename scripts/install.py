"""`make install` and `make uninstall`: the command in an environment of its own, and on the PATH.

The environment is made by uv or pipx where they are, else it is a venv of our own under the prefix.
A receipt under the prefix remembers what was done, so that uninstall removes that and nothing else.
Where an extra brings torch and no NVIDIA card is found, torch's build for the processor is taken.
Needs Python's own library only: it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAME = "audio2img"
WAYS = ("uv", "pipx", "venv")
USUAL_INDEX = "usual"
ANSWER_LIMIT_S = 20


class InstallError(Exception):
    """What is not done, and why."""


@dataclass(frozen=True)
class Receipt:
    """way: who made the environment. made: folders that were not there before, outermost first."""

    way: str
    made: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Prefix:
    """The folder that `make install` works in."""

    path: Path

    @property
    def launcher(self) -> Path:
        return self.path / "bin" / NAME

    @property
    def share(self) -> Path:
        return self.path / "share" / NAME

    @property
    def venv(self) -> Path:
        return self.share / "venv"

    def read(self) -> Receipt | None:
        """What was installed here; None where nothing was. Raises InstallError for a damaged receipt."""
        path = self.share / "install.json"
        try:
            return Receipt(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise InstallError(f"{path} cannot be read: {error}") from error

    def write(self, receipt: Receipt) -> None:
        self.share.mkdir(parents=True, exist_ok=True)
        fresh = self.share / ".install.json.new"
        fresh.write_text(json.dumps(asdict(receipt), indent=2), encoding="utf-8")
        fresh.replace(self.share / "install.json")


def install(prefix: Prefix, wanted: str, extras: str, torch_index: str = "") -> None:
    """Install, or bring up to date in place. Raises InstallError; a first one that fails leaves nothing.

    torch_index: where torch is taken from, see `choose_torch_index`.
    """
    before = prefix.read()
    way = choose_way(wanted, before)
    if before is None:
        _refuse_what_is_not_ours(prefix, way)
    elif before.way != way:
        remove(prefix, before)
        before = None
    index = choose_torch_index(torch_index, extras)
    receipt = before or Receipt(way, _missing_folders(prefix))
    prefix.write(receipt)
    spec = f"{ROOT}[{extras}]" if extras else str(ROOT)
    _say(f"installing {NAME} with {way} ({'several minutes' if index else 'a minute or so'}) ...")
    try:
        prefix.launcher.parent.mkdir(parents=True, exist_ok=True)
        _fill(prefix, way, spec, before is not None, index)
        if way == "venv":
            _link(prefix)
        _run([str(prefix.launcher), "--version"], prefix)
    except BaseException:
        if before is None:
            with contextlib.suppress(InstallError):
                remove(prefix, receipt)
        raise


def uninstall(prefix: Prefix) -> bool:
    """Remove the actions and the environment; False where nothing was installed. Raises InstallError."""
    receipt = prefix.read()
    if receipt is None:
        return False
    if os.access(prefix.launcher, os.X_OK):
        with contextlib.suppress(InstallError):  # a broken environment is removed all the same
            _run([str(prefix.launcher), "actions", "uninstall", "--quiet"], prefix)
    remove(prefix, receipt)
    return True


def remove(prefix: Prefix, receipt: Receipt) -> None:
    """Remove the environment, the launcher, the receipt, and the folders that were made, once empty."""
    if receipt.way == "venv":
        if prefix.launcher.is_symlink() and os.readlink(prefix.launcher) == str(prefix.venv / "bin" / NAME):
            prefix.launcher.unlink()
        if prefix.venv.exists():
            shutil.rmtree(prefix.venv)
    elif _knows(receipt.way, prefix):
        verb = ["tool", "uninstall"] if receipt.way == "uv" else ["uninstall"]
        _run([_program(receipt.way), *verb, NAME], prefix)
    (prefix.share / "install.json").unlink()
    for folder in reversed([*receipt.made, str(prefix.share)]):
        with contextlib.suppress(OSError):  # something else is in it
            Path(folder).rmdir()


def choose_way(wanted: str, before: Receipt | None) -> str:
    """The one that is asked for, else the one of last time, else the first that is there."""
    if wanted != "auto":
        return wanted
    if before is not None and (before.way == "venv" or shutil.which(before.way)):
        return before.way
    return next((way for way in WAYS if shutil.which(way)), "venv")


def choose_torch_index(wanted: str, extras: str) -> str | None:
    """The index that torch is taken from, if not from the usual one.

    wanted: "" chooses PyTorch's index for the processor where an extra brings torch, PyPI's torch would
    bring CUDA's libraries, and there is no NVIDIA card; USUAL_INDEX never does; else the address of one.
    """
    from audio2img.installation import TORCH_FOR_CPU, WITH_TORCH, needs_torch_for_cpu

    chosen = [extra.strip() for extra in extras.split(",")]
    index = wanted or (TORCH_FOR_CPU if needs_torch_for_cpu(chosen) else USUAL_INDEX)
    if index == USUAL_INDEX or not set(WITH_TORCH) & set(chosen):
        return None
    if reason := _why_unreachable(index):
        _say(f"{index}: {reason}; torch comes from the usual index, with 5 GB for NVIDIA's cards on Linux")
        return None
    if not wanted:
        _say(f"there is no NVIDIA card here (TORCH_INDEX={USUAL_INDEX} takes torch as on machines with one)")
    _say(f"torch is taken from {index}")
    return index


def _why_unreachable(index: str) -> str:
    """What is wrong with an index of packages; "" where it has torch, or wants to know first who asks."""
    try:
        with urllib.request.urlopen(f"{index.rstrip('/')}/torch/", timeout=ANSWER_LIMIT_S):
            return ""
    except urllib.error.HTTPError as error:
        return "" if error.code in (401, 403, 407) else f"HTTP status {error.code}"
    except (OSError, ValueError) as error:  # ValueError: no address at all, or one with a password in it
        return "" if "@" in index else f"cannot be reached ({getattr(error, 'reason', error)})"


def _fill(prefix: Prefix, way: str, spec: str, is_update: bool, index: str | None) -> None:
    """Run what installs; where that fails with torch from `index`, once more without it."""
    # Else uv, also below pipx, takes a package from the first index that has it, however old it is there.
    newest = {"UV_INDEX_STRATEGY": "unsafe-best-match"} if index else {}
    try:
        for command in install_commands(prefix, way, spec, is_update, index):
            _run(command, prefix, newest)
    except InstallError as error:
        if index is None:
            raise
        _say(f"{error}; once more, with torch from the usual index ...")
        _fill(prefix, way, spec, is_update, None)


def install_commands(
    prefix: Prefix, way: str, spec: str, is_update: bool, index: str | None = None
) -> list[list[str]]:
    """What is run to install `spec`, a path with extras. index: where torch is taken from.

    Of two indexes the newest version is taken, which 2.9.1+cpu is, set beside 2.9.1 (PEP 440).
    """
    force = ["--force"] if is_update else []
    if way == "uv":
        again = [*force, "--reinstall-package", NAME, *(_torch_by_uv(index) if index else [])]
        return [[_program("uv"), "tool", "install", *again, "--python", sys.executable, spec]]
    if way == "pipx":
        from_index = [f"--pip-args=--extra-index-url {index}"] if index else []
        return [[_program("pipx"), "install", *force, *from_index, "--python", sys.executable, spec]]
    pip = [str(prefix.venv / "bin" / "python"), "-m", "pip", "install"]
    pip += ["--quiet", "--disable-pip-version-check"]
    # What torch needs comes with the rest: an index of torch may lack it, or have it old.
    torch = [[*pip, "--index-url", index, "--no-deps", "torch"]] if index else []
    return [
        [sys.executable, "-m", "venv", str(prefix.venv)],
        *torch,
        [*pip, "--upgrade", spec],
    ]  # not cleared: the old one works until then


def _torch_by_uv(index: str) -> list[str]:
    """uv 0.9.18 and later know PyTorch's index, and take nothing but torch from it."""
    from audio2img.installation import TORCH_FOR_CPU

    if index == TORCH_FOR_CPU:
        told = subprocess.run(
            [_program("uv"), "tool", "install", "--help"], capture_output=True, text=True, check=False
        )
        if "--torch-backend" in told.stdout:
            return ["--torch-backend", "cpu"]
    return ["--extra-index-url", index]


def _refuse_what_is_not_ours(prefix: Prefix, way: str) -> None:
    if os.path.lexists(prefix.launcher):
        raise InstallError(
            f"{prefix.launcher} is there already, and not from make install: remove it first, "
            "or choose another folder with PREFIX=FOLDER"
        )
    if prefix.venv.exists():
        raise InstallError(f"{prefix.venv} is there already, and not from make install: remove it first")
    if way != "venv" and _knows(way, prefix):
        raise InstallError(f"{way} has {NAME} already, and not from make install: uninstall it there first")


def _knows(way: str, prefix: Prefix) -> bool:
    """Whether uv or pipx has the package among its tools."""
    verb = ["tool", "list"] if way == "uv" else ["list", "--short"]
    done = subprocess.run(
        [_program(way), *verb], capture_output=True, text=True, check=False, env=_environment(prefix)
    )
    return any(line.split()[:1] == [NAME] for line in done.stdout.splitlines())


def _program(way: str) -> str:
    found = shutil.which(way)
    if found is None:
        raise InstallError(f"{way} is not on the PATH: install it, or take WAY=venv")
    return found


def _environment(prefix: Prefix) -> dict[str, str]:
    """Ours, with the prefix's bin as the place of launchers, for uv and for pipx."""
    folder = str(prefix.launcher.parent)
    return {**os.environ, "UV_TOOL_BIN_DIR": folder, "PIPX_BIN_DIR": folder}


def _run(command: Sequence[str], prefix: Prefix, more: Mapping[str, str] | None = None) -> None:
    """Run a command with what it prints on standard error. Raises InstallError when it fails."""
    env = {**_environment(prefix), **(more or {})}
    try:
        done = subprocess.run(command, stdout=sys.stderr, check=False, env=env)
    except OSError as error:
        raise InstallError(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode:
        raise InstallError(f"this ended with {done.returncode}: {' '.join(command)}")


def _link(prefix: Prefix) -> None:
    fresh = prefix.launcher.with_name(f".{NAME}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(prefix.venv / "bin" / NAME)
    fresh.replace(prefix.launcher)


def _missing_folders(prefix: Prefix) -> list[str]:
    wanted = (prefix.launcher.parent, prefix.share)
    missing = {one for folder in wanted for one in (folder, *folder.parents) if not one.exists()}
    return sorted(map(str, missing), key=len)


def _say(text: str) -> None:
    """Tell a person, without the names and passwords that addresses of indexes may carry."""
    print(re.sub(r"://[^/\s@]*@", "://", text), file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("install", "uninstall"))
    parser.add_argument("--prefix", type=Path, default=Path("~/.local"))
    parser.add_argument("--way", choices=("auto", *WAYS), default="auto")
    parser.add_argument("--extras", default="", help="such as diffusers or convert,sounds")
    parser.add_argument("--torch-index", default="", metavar="URL", help=f"where torch is, or {USUAL_INDEX}")
    options = parser.parse_args(argv)
    prefix = Prefix(Path(os.path.abspath(options.prefix.expanduser())))
    try:
        if options.what == "install":
            _check_python()
            sys.path.insert(0, str(ROOT))
            install(prefix, options.way, options.extras, options.torch_index)
            _after_install(prefix)
        elif uninstall(prefix):
            _say(f"removed {prefix.launcher}; models, settings and pictures stay where they are")
        else:
            _say(f"make install put nothing under {prefix.path}")
    except (InstallError, OSError) as error:
        _say(f"{options.what}: {error}")
        return 1
    except KeyboardInterrupt:
        _say(f"{options.what}: stopped")
        return 130
    return 0


def _check_python() -> None:
    if not (3, 10) <= sys.version_info[:2] <= (3, 13):
        raise InstallError("audio2img needs Python 3.10-3.13; run: make install PYTHON=python3.12")


def _after_install(prefix: Prefix) -> None:
    print(prefix.launcher)
    folder = prefix.launcher.parent
    if str(folder) not in os.environ.get("PATH", "").split(os.pathsep):
        _say(f'{folder} is not on your PATH: add to your shell\'s profile: export PATH="{folder}:$PATH"')
    if sys.platform == "darwin":
        _say("next: make shortcuts adds pictures to Finder, the Services menu and the Shortcuts app")


if __name__ == "__main__":
    sys.exit(main())
