"""What a model's files are, in one number."""

from __future__ import annotations

import hashlib
from pathlib import Path

from audio2img.errors import ModelError, reason_of
from audio2img.files import regular_size


def hash_files(path: Path) -> str:
    """SHA-256 (hex) of a file, or over names, sizes and contents of a folder's files.

    Hidden files, which systems leave behind, do not count. Raises ModelError if one cannot be read, as no
    pipe, device or link to nothing can.
    """
    digest = hashlib.sha256()
    try:
        files = [one for one in path.rglob("*") if not one.is_dir()] if path.is_dir() else [path]
        for file in sorted(files, key=lambda one: one.relative_to(path).as_posix()):
            if file.name.startswith("."):
                continue
            size = regular_size(file)
            digest.update(file.relative_to(path).as_posix().encode("utf-8") + b"\0")
            digest.update(size.to_bytes(8, "little"))
            with file.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    digest.update(chunk)
    except OSError as error:
        place = error.filename or path
        raise ModelError(
            f"the model file {place} cannot be read: {reason_of(error)}", "get the model again"
        ) from error
    return digest.hexdigest()
