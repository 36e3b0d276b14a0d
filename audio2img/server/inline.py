"""Small pictures inside of messages."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL.Image import Image


def as_address(image: Image, form: Literal["JPEG", "WEBP"], quality: int) -> str:
    """The picture as a data address (RFC 2397)."""
    buffer = io.BytesIO()
    image.save(buffer, form, quality=quality)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
