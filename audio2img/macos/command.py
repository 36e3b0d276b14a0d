"""The program that the actions call, by an absolute path: what macOS starts knows no PATH of ours."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from audio2img.config import expand_path
from audio2img.errors import MachineError

NAME = "audio2img"


def find_command(given: str | None = None) -> Path:
    """The absolute path of the installed command: `given`, or the one that is running now.

    Links stay as they are: the one in `bin` outlives an update, what it points to may not.
    Raises MachineError when there is none, or when its path cannot be written into an action.
    """
    if given is not None:
        path = Path(os.path.abspath(expand_path(given)))
        if not is_command(path):
            raise MachineError(f"{path} is not a program that can be run", "give --command its path")
        return _checked(path)
    for candidate in _candidates():
        path = Path(os.path.abspath(candidate))
        if is_command(path):
            return _checked(path)
    raise MachineError(
        "the command audio2img is not installed where it could be found",
        "run: make install; or say where it is with --command",
    )


def is_command(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _candidates() -> Iterator[Path]:
    import sysconfig

    started = Path(sys.argv[0])
    if started.name == NAME:
        yield started
    yield Path(sysconfig.get_path("scripts")) / NAME
    if found := shutil.which(NAME):
        yield Path(found)


def _checked(path: Path) -> Path:
    """Refuse what an XML property list cannot hold unchanged."""
    text = str(path)
    if not text.isprintable():  # control characters, and bytes that are not UTF-8
        raise MachineError(
            f"the path of the command has characters that macOS cannot keep in an action: {text!r}",
            "install audio2img in another folder: make install PREFIX=FOLDER",
        )
    return path
