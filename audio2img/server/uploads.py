"""What visitors bring: recordings, and pictures to start from; gone when they were used."""

from __future__ import annotations

import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from audio2img.errors import InputError, MachineError, reason_of
from audio2img.files import remove, temporary_path
from audio2img.server.jobs import Visitor

MARK = "upload:"
KEPT = 4  # pictures of one tab

_UNFIT = re.compile(r"[^\w .()-]+")


class Uploads:
    """folder: of the gallery; nothing of ours lies anywhere else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: set[Path] = set()

    def new_recording(self, name: str) -> BinaryIO:
        """An empty file to fill, which the system removes when it is closed; messages call it `name`.

        Raises MachineError.
        """
        with self.filling():
            self._folder.mkdir(parents=True, exist_ok=True)  # somebody may have removed it
            file = tempfile.TemporaryFile(dir=self._folder, prefix=".audio2img-")  # noqa: SIM115
        raw = getattr(file, "raw", None)
        if raw is not None:
            raw.name = name  # what messages call it
        return cast(BinaryIO, file)

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Around writing what is sent: raises MachineError where the disk is full, or gone."""
        try:
            yield
        except OSError as error:
            raise MachineError(
                f"what was sent cannot be kept in {self._folder}: {reason_of(error)}",
                "make room, or check its permissions",
            ) from error

    def keep_picture(self, visitor: Visitor, name: str, data: bytes) -> str:
        """Keep a picture to start from; what to ask for it by. Raises InputError for what is no picture."""
        from audio2img.output.pixels import read_pixels

        folder = temporary_path(self._folder)
        path = folder / (clean_name(name) or "picture")
        try:
            with self.filling():
                folder.mkdir(parents=True)
                path.write_bytes(data)
            read_pixels(path)
        except InputError as error:
            remove(folder)
            message = error.message.replace(str(path), name)
            raise InputError(message, error.remedy) from None
        except BaseException:
            remove(folder)
            raise
        token = f"{MARK}{secrets.token_urlsafe(12)}"
        self._kept.add(folder)
        visitor.uploads[token] = path
        for old in list(visitor.uploads)[:-KEPT]:
            self._drop(visitor.uploads.pop(old))
        return token

    def find(self, visitor: Visitor, token: str) -> Path | None:
        """The picture of that tab; None for what is no token. Raises InputError for one that is gone."""
        if not token.startswith(MARK):
            return None
        path = visitor.uploads.get(token)
        if path is None or not path.is_file():
            raise InputError("the picture to start from is not here any more", "give it again")
        return path

    def forget(self, visitor: Visitor) -> None:
        for path in visitor.uploads.values():
            self._drop(path)
        visitor.uploads.clear()

    def close(self) -> None:
        for folder in list(self._kept):
            remove(folder)
        self._kept.clear()

    def _drop(self, path: Path) -> None:
        remove(path.parent)
        self._kept.discard(path.parent)


def clean_name(name: str) -> str:
    """The last part of a file's name as somebody else's machine calls it, fit to be one here."""
    last = re.split(r"[/\\\\]", name)[-1]
    return _UNFIT.sub("_", last).strip(" .")[-100:]
