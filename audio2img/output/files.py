"""Writing what was made under a free name, in words for people when the disk refuses."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

from audio2img.errors import Audio2ImgError, MachineError, UsageError

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_REMEDY = "choose another `target`"


def write_new_file(folder: Path, names: Iterator[str], data: bytes) -> Path:
    """Write `data` under the first of `names` that is free in `folder` (made where missing); the path.

    As files.create_file does: whole or not at all, and never over another file. Raises MachineError
    when the disk or its permissions refuse, UsageError when the path cannot be a folder.
    """
    from audio2img import files

    try:
        return files.create_file(folder, names, data)
    except OSError as error:
        raise explain(error, folder, len(data)) from error


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
