"""Pictures as files that remember how they were made, whatever their format."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from audio2img.config import expand_path
from audio2img.errors import InputError, UsageError, reason_of
from audio2img.files import regular_size
from audio2img.output.files import write_new_file
from audio2img.output.jpeg import encode_jpeg, is_jpeg, read_jpeg
from audio2img.output.memory import Memory
from audio2img.output.naming import numbered_names, picture_names
from audio2img.output.parameters import ignored_settings, parse_parameters
from audio2img.output.png import encode_png, is_png, read_png
from audio2img.output.record import PictureRecord
from audio2img.output.webp import encode_webp, is_webp, read_webp
from audio2img.types import ImageResult

if TYPE_CHECKING:
    from audio2img.output.pixels import Pixels


@dataclass(frozen=True)
class PictureFormat:
    """suffixes: the endings of its names; is_one: tells by a file's first 16 bytes."""

    name: str
    suffixes: tuple[str, ...]
    is_one: Callable[[bytes], bool]
    encode: Callable[[Pixels, PictureRecord], bytes]
    read: Callable[[BinaryIO, str], Memory]

    @property
    def media_type(self) -> str:
        return f"image/{self.name.lower()}"


FORMATS = (
    PictureFormat("PNG", (".png",), is_png, encode_png, read_png),
    PictureFormat("JPEG", (".jpg", ".jpeg"), is_jpeg, encode_jpeg, read_jpeg),
    PictureFormat("WebP", (".webp",), is_webp, encode_webp, read_webp),
)
BY_SUFFIX = {suffix: one for one in FORMATS for suffix in one.suffixes}


def format_of(target: str | Path) -> PictureFormat | None:
    """The format of the picture file that `target` names; None where it names a folder.

    Raises UsageError for a name with another ending, unless there is a folder of that name, or the
    ending is a number ("2026.11").
    """
    path = expand_path(target)
    suffix = path.suffix.lower()
    if path.is_dir() or not suffix[1:2].isalpha():
        return None
    if suffix not in BY_SUFFIX:
        raise UsageError(
            f"no picture can be written to {path}: it ends in {suffix}",
            f"choose an ending of {', '.join(BY_SUFFIX)}, or make a folder of that name first",
        )
    return BY_SUFFIX[suffix]


def check_target(target: str | Path, count: int = 1) -> None:
    """Raise UsageError, before anything is drawn, where `count` pictures cannot be written to `target`."""
    if format_of(target) is not None and count > 1:
        raise UsageError(f"{count} pictures do not fit into {target}", "give a folder as `target`")


def write_picture(
    image: ImageResult, record: PictureRecord, target: str | Path, words: str | None = None
) -> Path:
    """Write `image` with its `record` into a folder, or to a path with the ending of a format; the path.

    A folder is made where it is missing; the name in it comes from `words`, or else the prompt, and the
    seed, and the format is PNG. A name that is taken gets -2, -3, ...: nothing is ever overwritten. The
    file appears whole or not at all. Raises MachineError when the disk refuses, UsageError for a path
    that cannot be.
    """
    path = expand_path(target)
    chosen = format_of(path)
    data = encode_picture(image, record, chosen or FORMATS[0])
    if chosen is not None:
        return write_new_file(path.parent, numbered_names(path.name), data)
    words = image.request.prompt if words is None else words
    return write_new_file(path, picture_names(words, image.request.seed), data)


def encode_picture(image: ImageResult, record: PictureRecord, to: PictureFormat = FORMATS[0]) -> bytes:
    """The file of that format. Raises UsageError for pixels that are not (height, width, 3) uint8."""
    pixels = image.pixels
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != "uint8" or 0 in pixels.shape:
        raise UsageError(
            f"a picture is (height, width, 3) uint8, not {pixels.shape} {pixels.dtype}",
            "convert the pixels first",
        )
    return to.encode(pixels, record)


def read_record(path: str | Path) -> PictureRecord:
    """How the picture at `path` was made.

    Of a picture by another program that wrote `parameters`, what those tell. Raises InputError when
    the file is missing, is not whole, or says nothing that can be understood.
    """
    memory = _read_memory(path)
    return PictureRecord.from_json(memory.record) if memory.record else parse_parameters(memory.parameters)


def read_own_record(file: BinaryIO, name: str) -> PictureRecord:
    """How a picture that audio2img wrote was made, read from an open file alone.

    name: of the file, for messages. Raises InputError for every other file, and when it is not whole.
    """
    memory = _memory_in(file, name)
    if not memory.record:
        raise InputError(f"audio2img did not write {name}", "give a picture that audio2img wrote")
    return PictureRecord.from_json(memory.record)


def recognize(file: BinaryIO) -> PictureFormat | None:
    """The format that a file claims to have by its first bytes; stays at its beginning. Raises OSError."""
    file.seek(0)
    head = file.read(16)
    file.seek(0)
    return next((one for one in FORMATS if one.is_one(head)), None)


def read_ignored(path: str | Path) -> tuple[str, ...]:
    """What the picture at `path` says of its making that we cannot do again: "Clip skip: 2".

    Empty for our own pictures. Raises InputError as `read_record` does.
    """
    memory = _read_memory(path)
    return () if memory.record else ignored_settings(memory.parameters)


def newest_picture(folder: Path) -> Path:
    """The picture of ours in `folder` that was written last. Raises InputError where there is none."""
    try:
        files = [one for one in folder.iterdir() if one.suffix.lower() in BY_SUFFIX]
        files.sort(key=lambda one: one.stat().st_mtime_ns, reverse=True)
    except OSError:
        files = []
    for file in files:
        with contextlib.suppress(InputError):
            if _read_memory(file).record:
                return file
    raise InputError(f"there is no picture of ours in {folder}", "draw one first, or name a picture")


def _read_memory(path: str | Path) -> Memory:
    """The texts of the picture at `path`, not all of them empty."""
    picture = expand_path(path)
    try:
        regular_size(picture)
        file = picture.open("rb")
    except (OSError, ValueError) as error:
        raise _unreadable(str(picture), error) from error
    with file:
        return _memory_in(file, str(picture))


def _memory_in(file: BinaryIO, name: str) -> Memory:
    """The texts of an open picture, not all of them empty."""
    try:
        form = recognize(file)
        if form is None:
            raise InputError(f"{name} is not a PNG, JPEG or WebP picture", "give one that audio2img wrote")
        memory = form.read(file, name)
    except OSError as error:
        raise _unreadable(name, error) from error
    if not (memory.record or memory.parameters):
        raise InputError(
            f"{name} does not say how it was made",
            "give a picture that audio2img wrote and no other program saved",
        )
    return memory


def _unreadable(name: str, error: Exception) -> InputError:
    return InputError(f"cannot read {name}: {reason_of(error)}", "check the path")
