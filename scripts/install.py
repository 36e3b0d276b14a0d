"""`make install` and `make uninstall`: the command in an environment of its own, and on the PATH.

The environment is made by uv or pipx where they are, else it is a venv of our own under the prefix.
A receipt under the prefix remembers what was done, so that uninstall removes that and nothing else.
Needs Python's own library only: it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAME = "audio2img"
WAYS = ("uv", "pipx", "venv")


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


def install(prefix: Prefix, wanted: str, extras: str) -> None:
    """Install, or bring up to date in place. Raises InstallError; a first one that fails leaves nothing."""
    before = prefix.read()
    way = choose_way(wanted, before)
    if before is None:
        _refuse_what_is_not_ours(prefix, way)
    elif before.way != way:
        remove(prefix, before)
        before = None
    receipt = before or Receipt(way, _missing_folders(prefix))
    prefix.write(receipt)
    spec = f"{ROOT}[{extras}]" if extras else str(ROOT)
    _say(f"installing {NAME} with {way} (a minute or so) ...")
    try:
        prefix.launcher.parent.mkdir(parents=True, exist_ok=True)
        for command in install_commands(prefix, way, spec, is_update=before is not None):
            _run(command, prefix)
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


def install_commands(prefix: Prefix, way: str, spec: str, is_update: bool) -> list[list[str]]:
    """What is run to install `spec`, a path with extras."""
    force = ["--force"] if is_update else []
    if way == "uv":
        again = [*force, "--reinstall-package", NAME]
        return [[_program("uv"), "tool", "install", *again, "--python", sys.executable, spec]]
    if way == "pipx":
        return [[_program("pipx"), "install", *force, "--python", sys.executable, spec]]
    python = str(prefix.venv / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade", spec]
    return [
        [sys.executable, "-m", "venv", str(prefix.venv)],
        pip,
    ]  # not cleared: the old one works until then


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


def _run(command: Sequence[str], prefix: Prefix) -> None:
    """Run a command with what it prints on standard error. Raises InstallError when it fails."""
    try:
        done = subprocess.run(command, stdout=sys.stderr, check=False, env=_environment(prefix))
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
    print(text, file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("install", "uninstall"))
    parser.add_argument("--prefix", type=Path, default=Path("~/.local"))
    parser.add_argument("--way", choices=("auto", *WAYS), default="auto")
    parser.add_argument("--extras", default="", help="such as diffusers or convert,sounds")
    options = parser.parse_args(argv)
    prefix = Prefix(Path(os.path.abspath(options.prefix.expanduser())))
    try:
        if options.what == "install":
            _check_python()
            install(prefix, options.way, options.extras)
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
