"""Recordings that arrive in a folder: which are there, which are new, and which of those are whole."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from audio2img.errors import InputError, reason_of

# What names of sound and video files end in; what still arrives is called otherwise (.part, .crdownload,
# .icloud, .tmp).
ENDINGS = frozenset(
    (
        ".3gp", ".aac", ".aif", ".aiff", ".amr", ".avi", ".caf", ".flac", ".m4a", ".m4b", ".m4v", ".mka",
        ".mkv", ".mov", ".mp3", ".mp4", ".oga", ".ogg", ".opus", ".wav", ".webm", ".wma", ".wv",
    )
)  # fmt: skip


@dataclass(frozen=True)
class State:
    """What changes while a file is being written."""

    size_bytes: int
    modified_ns: int


@dataclass(frozen=True)
class _Known:
    """A file that was there at the start, or has been handed on. digest: None where it was not read."""

    state: State
    digest: bytes | None = None


def list_recordings(folder: Path) -> dict[Path, State]:
    """The files of `folder` itself that are called as sound files are, none of them hidden.

    Raises InputError for a folder that is not there, or cannot be read.
    """
    found = {}
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError as error:
        raise InputError(f"no such folder: {folder}", "check the name, or make the folder first") from error
    except NotADirectoryError as error:
        raise InputError(f"{folder} is a file, not a folder", "name the folder it is in") from error
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {folder}: {reason_of(error)}", "check its permissions") from error
    for name in names:
        path = folder / name
        if name.startswith(".") or path.suffix.lower() not in ENDINGS:
            continue
        try:
            status = path.stat()
        except OSError:  # gone meanwhile
            continue
        if stat.S_ISREG(status.st_mode):
            found[path] = State(status.st_size, status.st_mtime_ns)
    return found


def arrivals(folder: Path, there: Mapping[Path, State], wait: Callable[[], None]) -> Iterator[Path]:
    """Each recording that comes into `folder`, once it is whole, for ever.

    there: what `list_recordings` found before, which is left alone until its size changes. wait: is called
    before each look. A file is whole when two looks find it the same, and not empty. One that is changed
    afterwards comes again; one that is only touched does not. Raises what `list_recordings` raises.
    """
    known = {path: _Known(state) for path, state in there.items()}
    before: Mapping[Path, State] = there
    while True:
        wait()
        now = list_recordings(folder)
        whole = [path for path, state in now.items() if before.get(path) == state and state.size_bytes]
        for path in sorted(whole, key=lambda one: now[one].modified_ns):
            last = known.get(path)
            if last is not None and last.state == now[path]:
                continue
            known[path] = fresh = _look_closely(path, now[path], last)
            if last is None or not _is_same(fresh, last):
                yield path
        before = now


def _look_closely(path: Path, state: State, last: _Known | None) -> _Known:
    """With its content, but for a file that was there at the start, of which there is none to compare."""
    if last is not None and last.digest is None and last.state.size_bytes == state.size_bytes:
        return _Known(state)
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError:  # whoever wants to hear it will say why; when it can be read, it is another one
        return _Known(state, b"")
    return _Known(state, digest.digest())


def _is_same(one: _Known, other: _Known) -> bool:
    return one.state.size_bytes == other.state.size_bytes and one.digest == other.digest
