"""JPEG files: what they remember stands in EXIF, for viewers, and in XMP, with our JSON.

A segment of a JPEG holds 64 kB. A longer record goes into several, as the XMP specification says
(part 3, 1.1.3.1: extended XMP).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO

from audio2img.output.memory import Memory, make_exif, opened, read_comment
from audio2img.output.record import PictureRecord
from audio2img.output.xmp import extended_guid, extended_xmp, format_xmp, record_in

if TYPE_CHECKING:
    from audio2img.output.pixels import Pixels

QUALITY = 95  # with every pixel's own colour: letters and thin lines stay sharp

_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_EXTENDED = b"http://ns.adobe.com/xmp/extension/\0"
_EXTENDED_HEAD = struct.Struct(">32sII")  # MD5 (hex) and length of the whole, offset of this piece
_MAX_SEGMENT_BYTES = 65_533
_MAX_PIECE_BYTES = _MAX_SEGMENT_BYTES - len(_EXTENDED) - _EXTENDED_HEAD.size


def is_jpeg(head: bytes) -> bool:
    """Whether a file that begins with `head` claims to be a JPEG."""
    return head.startswith(b"\xff\xd8\xff")


def encode_jpeg(pixels: Pixels, record: PictureRecord) -> bytes:
    """The file, for (height, width, 3) uint8 RGB."""
    from PIL import Image

    buffer = io.BytesIO()
    segments = b"".join(_segment(body) for body in _xmp_segments(record))
    Image.fromarray(pixels).save(
        buffer, format="JPEG", quality=QUALITY, subsampling=0, exif=make_exif(record), extra=segments
    )
    return buffer.getvalue()


def read_jpeg(file: BinaryIO, name: str) -> Memory:
    """What a JPEG remembers. Raises InputError when it cannot be read."""
    with opened(file, name, "JPEG") as image:
        bodies: list[bytes] = [body for name, body in getattr(image, "applist", ()) if name == "APP1"]
        packet = next((body[len(_XMP) :] for body in bodies if body.startswith(_XMP)), b"")
        record = record_in(packet)
        if not record and (guid := extended_guid(packet)):
            record = record_in(_join_extended(bodies, guid.encode()))
        return Memory(record, read_comment(image))


def _xmp_segments(record: PictureRecord) -> Iterator[bytes]:
    import hashlib

    packet = format_xmp(record, with_record=True).encode()
    if len(_XMP) + len(packet) <= _MAX_SEGMENT_BYTES:
        yield _XMP + packet
        return
    extended = extended_xmp(record).encode()
    guid = hashlib.md5(extended, usedforsecurity=False).hexdigest().upper()
    yield _XMP + format_xmp(record, max_letters=2_000, guid=guid).encode()
    for offset in range(0, len(extended), _MAX_PIECE_BYTES):
        head = _EXTENDED_HEAD.pack(guid.encode(), len(extended), offset)
        yield _EXTENDED + head + extended[offset : offset + _MAX_PIECE_BYTES]


def _segment(body: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def _join_extended(bodies: Iterable[bytes], guid: bytes) -> bytes:
    """The extended packet of that name from its pieces, which may stand in any order; b"" unless whole."""
    import hashlib

    pieces: dict[int, bytes] = {}
    start = len(_EXTENDED) + _EXTENDED_HEAD.size
    for body in bodies:
        if body.startswith(_EXTENDED) and len(body) >= start:
            found, _length, offset = _EXTENDED_HEAD.unpack_from(body, len(_EXTENDED))
            if found == guid:
                pieces[offset] = body[start:]
    whole = b"".join(pieces[offset] for offset in sorted(pieces))
    digest = hashlib.md5(whole, usedforsecurity=False).hexdigest().upper()
    return whole if digest.encode() == guid else b""
