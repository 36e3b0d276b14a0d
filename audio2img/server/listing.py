"""Which files of a folder may be pictures, newest first, and whether that has changed."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from audio2img.errors import Audio2ImgError, InputError, MachineError, reason_of
from audio2img.output.pictures import BY_SUFFIX

MAX_NAME_BYTES = 255

# What separates folders, drives and streams on any system, and what no person can see or type.
_NOT_IN_A_NAME = re.compile(r"[/\\:\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SUFFIXES = tuple(BY_SUFFIX)

_COARSEST_CLOCK_NS = 2_000_000_000  # of FAT; two changes within one tick look like one
_REST = 30
"""A folder that looks unchanged is left alone for this many times what reading it took, so that asking
all day takes 3 % of a core at most, however large the folder is and however slow its disk."""


class FileVersion(NamedTuple):
    """A file as it was at one time. changed_ns: also moves where a file takes another's place by name."""

    name: str
    mtime_ns: int
    size_bytes: int
    changed_ns: int

    @classmethod
    def of(cls, name: str, status: os.stat_result) -> FileVersion:
        return cls(name, status.st_mtime_ns, status.st_size, status.st_ctime_ns)


@dataclass(frozen=True)
class Listing:
    """version: the same text for the same files; files: newest first, those of one time by name."""

    version: str
    files: tuple[FileVersion, ...]


def is_picture_name(name: str) -> bool:
    """Whether a picture in the folder itself may have this name, on every system."""
    return (
        name.lower().endswith(_SUFFIXES)
        and not name.startswith(".")
        and not _NOT_IN_A_NAME.search(name)
        and len(name.encode()) <= MAX_NAME_BYTES
    )


def explain(error: OSError, folder: Path) -> Audio2ImgError:
    """What a person can do where `folder`, or a file in it, cannot be read."""
    if is_exhausted(error):
        return MachineError(
            f"cannot read {folder} now: {reason_of(error)}", "close other tabs, and try again"
        )
    return InputError(f"cannot read the pictures in {folder}: {reason_of(error)}", "check its permissions")


def is_exhausted(error: OSError) -> bool:
    """Whether nothing at all can be opened just now, whichever file it is."""
    return error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class PictureFolder:
    """A folder that others write to as well. Any thread may look; each sees what was there when it asked,
    but for a file that was written anew in its place: that may take `_REST` to be seen."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._listing = _make_listing([])
        self._found: list[FileVersion] = []
        self._folder: tuple[int, ...] | None = None
        self._began_s = self._ended_s = float("-inf")

    def look(self) -> Listing:
        """The regular files with a picture's name. A folder that does not exist has none.

        Raises what `explain` makes of a folder that cannot be read.
        """
        asked_s = time.monotonic()
        with self._lock:
            # Of many who wait here, one reads the folder for all who asked before it began.
            if self._began_s <= asked_s and not self._is_unchanged(asked_s):
                self._read()
            return self._listing

    def _is_unchanged(self, now_s: float) -> bool:
        if self._folder is None or now_s - self._ended_s > _REST * (self._ended_s - self._began_s):
            return False
        return _state(self.path) == self._folder

    def _read(self) -> None:
        began_s = time.monotonic()
        folder = _state(self.path)
        found = _find_files(self.path)
        if found != self._found:  # in the order of the folder, which an unchanged one keeps
            self._found, self._listing = found, _make_listing(found)
        self._folder, self._began_s, self._ended_s = folder, began_s, time.monotonic()


def _state(folder: Path) -> tuple[int, ...] | None:
    """What changes when a file comes, goes or is renamed; None while a further change might not show."""
    try:
        status = os.stat(folder)
    except OSError:
        return None
    if time.time_ns() - status.st_mtime_ns < _COARSEST_CLOCK_NS:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def _find_files(folder: Path) -> list[FileVersion]:
    found = {}  # a folder that changes meanwhile may name one twice
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_picture_name(entry.name):
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except OSError:  # gone meanwhile
                        continue
                    if stat.S_ISREG(status.st_mode):
                        found[entry.name] = FileVersion.of(entry.name, status)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise explain(error, folder) from error
    return list(found.values())


def _make_listing(found: list[FileVersion]) -> Listing:
    files = sorted(found, key=lambda file: (-file.mtime_ns, file.name))
    digest = hashlib.blake2b(digest_size=12)
    for file in files:
        digest.update(f"{file.name}\n{file.mtime_ns} {file.size_bytes} {file.changed_ns}\n".encode())
    return Listing(digest.hexdigest(), tuple(files))
