"""Reading a picture that somebody gives us, to start from."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audio2img.config import expand_path
from audio2img.errors import InputError
from audio2img.files import regular_size

Pixels = NDArray[np.uint8]

MAX_FILE_BYTES = 256 << 20
MAX_PIXELS = 100_000_000


def read_pixels(path: str | Path) -> tuple[Pixels, str]:
    """(pixels (height, width, 3) uint8 RGB, SHA-256 (hex) of the file), turned as the camera meant it.

    Transparent parts become white. Raises InputError when it is no picture that Pillow can read whole.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    picture = expand_path(path)
    try:
        if regular_size(picture) > MAX_FILE_BYTES:
            raise InputError(f"the picture {picture} is larger than {MAX_FILE_BYTES >> 20} MB", _REMEDY)
        data = picture.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the picture {picture}: {error.strerror}", _REMEDY) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the large pictures refused below, and of odd metadata
            with Image.open(io.BytesIO(data)) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise InputError(f"the picture {picture} has too many pixels: {image.size}", _REMEDY)
                upright = ImageOps.exif_transpose(image).convert("RGBA")
    except InputError:
        raise
    except UnidentifiedImageError as error:  # whose own words name an object of ours
        raise InputError(
            f"{picture} is no picture that can be read: it is of no known kind", _REMEDY
        ) from error
    except Exception as error:  # Pillow's plugins raise many kinds on damaged files
        raise InputError(f"{picture} is no picture that can be read: {error}", _REMEDY) from error
    paper = Image.new("RGBA", upright.size, "white")
    pixels = np.asarray(Image.alpha_composite(paper, upright).convert("RGB"), dtype=np.uint8)
    return pixels, hashlib.sha256(data).hexdigest()


_REMEDY = "give a PNG or JPEG picture"
