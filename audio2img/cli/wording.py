"""What the package says of its arguments, in the words of the command line.

Messages and remedies name a setting as Python has it, between backquotes: `low_memory=True`.
"""

from __future__ import annotations

import re

_ARGUMENT = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]*))?`")
_NAMES = {"loras": "lora", "target": "output"}


def as_options(text: str) -> str:
    """The text with options where it names arguments: --low-memory, --scheduler lcm."""
    return _ARGUMENT.sub(lambda found: _as_option(found[1], found[2]), text)


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
