"""The text inside a PNG file, read without decoding the picture (PNG specification, third edition)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from audio2img.errors import InputError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_TEXT_BYTES = 32 * 1024 * 1024
"""Of all texts of a file together, unpacked; more is refused: a few bytes can unpack into gigabytes."""

_REMEDY = "use another copy of the picture"
_TOO_LONG = f"with all texts before it, it is longer than {MAX_TEXT_BYTES >> 20} MB"
_BLOCK_BYTES = 1 << 20


def read_texts(file: BinaryIO, name: str) -> dict[str, str]:
    """Keyword to text of every tEXt, zTXt and iTXt chunk; of two with one keyword, the first.

    Checks the whole file: every checksum, and that it ends where a PNG ends.
    name: of the file, for messages. Raises InputError when it is not a whole PNG, and OSError.
    """
    texts: dict[str, str] = {}
    left = MAX_TEXT_BYTES
    for kind, body in _walk(file, name):
        keyword, text, size = _parse_text(kind, body, left, name)
        texts.setdefault(keyword, text)
        left -= size
    return texts


def _walk(file: BinaryIO, name: str) -> Iterator[tuple[bytes, bytes]]:
    """(kind, body) of each text chunk, with all the others checked on the way."""
    if file.read(len(SIGNATURE)) != SIGNATURE:
        raise InputError(f"{name} is not a PNG picture", "give a picture that audio2img wrote")
    kind = b""
    while kind != b"IEND":
        length, kind = struct.unpack(">I4s", _read_exactly(file, 8, name))
        wanted = kind in (b"tEXt", b"zTXt", b"iTXt")
        if wanted and length > MAX_TEXT_BYTES:
            raise InputError(f"{name} holds an implausibly long text", _REMEDY)
        checksum, body = zlib.crc32(kind), []
        for size in _block_sizes(length):
            block = _read_exactly(file, size, name)
            checksum = zlib.crc32(block, checksum)
            if wanted:
                body.append(block)
        if _read_exactly(file, 4, name) != struct.pack(">I", checksum):
            raise InputError(f"{name} is damaged: a checksum in it is wrong", _REMEDY)
        if wanted:
            yield kind, b"".join(body)


def _block_sizes(length: int) -> Iterator[int]:
    while length > 0:
        yield min(length, _BLOCK_BYTES)
        length -= _BLOCK_BYTES


def _read_exactly(file: BinaryIO, size: int, name: str) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise InputError(f"{name} is cut short", _REMEDY)
    return data


def _parse_text(kind: bytes, body: bytes, max_bytes: int, name: str) -> tuple[str, str, int]:
    """(keyword, text, bytes of the text) of a text chunk."""
    keyword, _, rest = body.partition(b"\0")
    encoding = "utf-8" if kind == b"iTXt" else "latin-1"
    packed = kind == b"zTXt"
    if kind == b"iTXt":
        packed = rest[:1] == b"\1"
        _language, _, rest = rest[2:].partition(b"\0")
        _translated, _, rest = rest.partition(b"\0")
    elif kind == b"zTXt":
        rest = rest[1:]
    try:
        data = _unpack(rest, max_bytes) if packed else rest
        if len(data) > max_bytes:
            raise ValueError(_TOO_LONG)
        return keyword.decode("latin-1"), data.decode(encoding), len(data)
    except (zlib.error, ValueError) as error:
        raise InputError(f"{name} holds a damaged text: {error}", _REMEDY) from error


def _unpack(data: bytes, max_bytes: int) -> bytes:
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(data, max_bytes + 1)
    if len(text) > max_bytes:
        raise ValueError(_TOO_LONG)
    if not unpacker.eof:
        raise ValueError("the packed text is cut short")
    return text
