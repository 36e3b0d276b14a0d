"""The programs of macOS that are called here, each with a time limit: some of them may never return."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

PBS = "/System/Library/CoreServices/pbs"  # keeps the list of services
SHORTCUTS = "/usr/bin/shortcuts"
OPEN = "/usr/bin/open"
PLUTIL = "/usr/bin/plutil"
OSASCRIPT = "/usr/bin/osascript"
ZSH = "/bin/zsh"

LIMIT_S = 30.0
SIGN_LIMIT_S = 90.0  # asks iCloud


@dataclass(frozen=True)
class Answer:
    """ok: it ended well. text: what it printed, or, when it did not, why not in one line."""

    ok: bool
    text: str


def is_macos() -> bool:
    return sys.platform == "darwin"


def ask(program: str, *arguments: str | Path, limit_s: float = LIMIT_S) -> Answer:
    """Run a program of the system and wait for it, at most `limit_s` seconds."""
    import subprocess

    name = Path(program).name
    try:
        done = subprocess.run(
            [program, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(False, f"{name} did not return within {limit_s:g} seconds")
    except OSError as error:
        return Answer(False, f"{program} cannot be run: {error.strerror}")
    if done.returncode == 0:
        return Answer(True, done.stdout.decode(errors="replace"))
    said = " ".join((done.stderr or done.stdout).decode(errors="replace").split())
    return Answer(False, f"{name} ended with {done.returncode}{': ' + said if said else ''}")
