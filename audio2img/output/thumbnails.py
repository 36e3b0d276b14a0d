"""Small pictures of pictures, for lists of them."""

from __future__ import annotations

import io
from typing import BinaryIO

from audio2img.errors import InputError
from audio2img.output.memory import opened

QUALITY = 80


def encode_thumbnail(file: BinaryIO, name: str, max_side: int) -> bytes:
    """A WebP of the PNG, JPEG or WebP in `file`, upright, of at most `max_side` pixels a side.

    name: of the file, for messages. Raises InputError when it cannot be read whole, or has too many
    pixels.
    """
    from PIL import ImageOps

    from audio2img.output.pixels import MAX_PIXELS

    buffer = io.BytesIO()
    with opened(file, name, "PNG", "JPEG", "WEBP") as image:
        if image.width * image.height > MAX_PIXELS:
            raise InputError(f"{name} has too many pixels: {image.size}", "use a smaller picture")
        image.thumbnail((max_side, max_side))
        ImageOps.exif_transpose(image, in_place=True)
        small = image.convert("RGBA" if image.has_transparency_data else "RGB")
        small.save(buffer, format="WEBP", quality=QUALITY)
    return buffer.getvalue()
