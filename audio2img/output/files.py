"""Writing a file whole or not at all, and never over another one."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from audio2img.errors import Audio2ImgError, MachineError, UsageError

_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_REMEDY = "choose another place with --output"


def write_new_file(folder: Path, names: Iterator[str], data: bytes) -> Path:
    """Write `data` under the first of `names` that is free in `folder` (made where missing); the path.

    The data goes to a hidden temporary file first and is synced; the name appears only when
    all of it is there. Two processes that want one name get different ones. Whatever goes wrong,
    Ctrl-C included, leaves nothing behind. Raises MachineError when the disk or its permissions
    refuse, UsageError when the path cannot be a folder.
    """
    made: list[Path] = []
    temporary = folder / f".audio2img-{secrets.token_hex(8)}.part"
    try:
        try:
            _make_folders(folder, made)
            _write_synced(temporary, data)
            path = _publish(temporary, folder, names)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
    except BaseException as error:
        for one in reversed(made):
            with contextlib.suppress(OSError):
                one.rmdir()
        if isinstance(error, OSError):
            raise explain(error, folder, len(data)) from error
        raise
    _sync_folder(folder)
    return path


def explain(error: OSError, folder: Path, size_bytes: int) -> Audio2ImgError:
    """What a person can do about a failure to write `size_bytes` into `folder`."""
    if error.errno in _DISK_FULL:
        megabytes = max(1, round(size_bytes / 1e6))
        return MachineError(f"the disk of {folder} is full", f"free {megabytes} MB there, or {_REMEDY}")
    if error.errno == errno.EFBIG:
        return MachineError(f"a file in {folder} may not grow to {size_bytes} bytes", _REMEDY)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return MachineError(f"no permission to write into {folder}", _REMEDY)
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return UsageError(f"{folder} is not a folder", _REMEDY)
    if error.errno in (errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP):
        return UsageError(f"{folder} cannot be the name of a folder: {error.strerror}", _REMEDY)
    return MachineError(f"cannot write into {folder}: {error.strerror or error}", _REMEDY)


def _make_folders(folder: Path, made: list[Path]) -> None:
    """Make `folder` and the missing ones above it, noting each in `made`."""
    missing = []
    one = folder
    while not one.exists() and one != one.parent:
        missing.append(one)
        one = one.parent
    for one in reversed(missing):
        with contextlib.suppress(FileExistsError):  # somebody else made it meanwhile
            one.mkdir()
            made.append(one)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _publish(temporary: Path, folder: Path, names: Iterator[str]) -> Path:
    """Give the finished file the first free name: link, which fails where the name is taken."""
    for name in names:
        path = folder / name
        try:
            try:
                os.link(temporary, path)
            except OSError as error:
                if error.errno not in _NO_HARD_LINKS:
                    raise
                _move_without_links(temporary, path)
        except FileExistsError:
            continue
        return path
    raise FileExistsError(errno.EEXIST, "every name is taken", str(folder))


def _move_without_links(temporary: Path, path: Path) -> None:
    """For file systems without hard links (exFAT, some network shares). Raises FileExistsError."""
    if os.name == "nt":
        os.rename(temporary, path)  # refuses an existing name there
        return
    # Taking the name with an empty file keeps every other process off it until the real one is moved in.
    with path.open("xb"):
        pass
    try:
        os.replace(temporary, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a power cut, where the system can."""
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
