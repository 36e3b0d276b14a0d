"""The file of a recording: whether it can be one, said before anything is loaded for it, and opening it."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from audio2img.errors import InputError, reason_of


def check_recording(path: Path) -> None:
    """Raises InputError for what is not there, is a folder or empty, or may not be looked at. Opens nothing:
    a pipe would wait for whoever writes into it."""
    with _in_words(path):
        status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path} is a folder, not a recording", "name one audio file in it")
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise empty_recording(str(path))


def open_recording(path: Path) -> BinaryIO:
    """The file, open to be read. Raises InputError as `check_recording` does, or where it may not be read."""
    check_recording(path)
    with _in_words(path):
        return path.open("rb")


def empty_recording(name: str) -> InputError:
    """The error for a recording without a single byte."""
    return InputError(f"{name} is empty", "record it again, or check that it was copied completely")


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise InputError(
            f"no such file: {path}", "check the name; a - in its place reads standard input"
        ) from None
    except PermissionError:
        raise InputError(
            f"{path} may not be read: permission denied", f"allow it with: chmod u+r '{path}'"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise InputError(
            f"{str(path)!r} cannot be opened: {reason_of(error)}", "check the name and the disk"
        ) from None
