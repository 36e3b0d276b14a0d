"""What a model's files are, in one number."""

from __future__ import annotations

import hashlib
from pathlib import Path

from audio2img.errors import ModelError


def hash_files(path: Path) -> str:
    """SHA-256 (hex) of a file, or over names, sizes and contents of a folder's files.

    Hidden files, which systems leave behind, do not count. Raises ModelError if one cannot be read.
    """
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    digest = hashlib.sha256()
    try:
        for file in sorted(files, key=lambda one: one.relative_to(path).as_posix()):
            if file.name.startswith("."):
                continue
            digest.update(file.relative_to(path).as_posix().encode("utf-8") + b"\0")
            digest.update(file.stat().st_size.to_bytes(8, "little"))
            with file.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    digest.update(chunk)
    except OSError as error:
        raise ModelError(f"the model file {path} cannot be read: {error}", "get the model again") from error
    return digest.hexdigest()
