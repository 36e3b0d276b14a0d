"""What the package says of its arguments and of itself, in the words of the command line.

Messages and remedies name a setting as Python has it, between backquotes: `low_memory=True`. They call
the program by its name, which no shell knows where it is started by its path (.venv/bin/audio2img).
"""

from __future__ import annotations

import re
import sys

PROGRAM = "audio2img"

_ARGUMENT = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]*))?`")
_NAMES = {"loras": "lora", "target": "output"}
_CALL = re.compile(rf"(?<=: ){PROGRAM}(?= [a-z])")


def as_options(text: str) -> str:
    """The text with options where it names arguments: --low-memory, --scheduler lcm."""
    return _ARGUMENT.sub(lambda found: _as_option(found[1], found[2]), text)


def as_typed(text: str) -> str:
    """The text with what is to be typed where it says "run: audio2img doctor"."""
    return _CALL.sub(lambda _: own_command(), text)


def own_command() -> str:
    """What calls this program: its name, or its path where the name leads to no program or another."""
    import os
    import shlex
    import shutil

    called = sys.argv[0]
    if os.path.splitext(os.path.basename(called))[0] != PROGRAM:
        return PROGRAM  # python -m audio2img, or a program of somebody else's
    found = shutil.which(PROGRAM)
    if found is not None and os.path.realpath(found) == os.path.realpath(called):
        return PROGRAM
    return shlex.quote(called)


def _as_option(name: str, value: str | None) -> str:
    if name == "task":
        return f"--{value}"
    option = _NAMES.get(name, name).replace("_", "-")
    if value in (None, "True"):
        return f"--{option}"
    if value == "False":
        return f"--no-{option}"
    plain = str(value).strip("\"'")
    return f"--{option} {plain}"
