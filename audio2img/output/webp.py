"""WebP files: what they remember stands in EXIF, for viewers, and in XMP, with our JSON."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO

from audio2img.errors import MachineError, UsageError
from audio2img.output.memory import Memory, make_exif, opened, read_comment
from audio2img.output.record import PictureRecord
from audio2img.output.xmp import format_xmp, record_in

if TYPE_CHECKING:
    from audio2img.output.pixels import Pixels

QUALITY = 95
MAX_SIDE = 16_383  # pixels, fixed by the format


def is_webp(head: bytes) -> bool:
    """Whether a file that begins with `head` claims to be a WebP."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def encode_webp(pixels: Pixels, record: PictureRecord) -> bytes:
    """The file, for (height, width, 3) uint8 RGB. Raises UsageError where a side is too long for WebP."""
    from PIL import Image, features

    if not features.check("webp"):
        raise MachineError("this Pillow cannot write WebP", "choose a name that ends in .png or .jpg")
    if max(pixels.shape) > MAX_SIDE:
        raise UsageError(f"a WebP has {MAX_SIDE} pixels a side at most", "choose a name that ends in .png")
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(
        buffer,
        format="WEBP",
        quality=QUALITY,
        exif=make_exif(record).tobytes(),
        xmp=format_xmp(record, with_record=True).encode(),
    )
    return buffer.getvalue()


def read_webp(file: BinaryIO, name: str) -> Memory:
    """What a WebP remembers. Raises InputError when it cannot be read."""
    with opened(file, name, "WEBP") as image:
        return Memory(record_in(image.info.get("xmp", b"")), read_comment(image))
