"""What any picture file remembers, and how EXIF carries it in JPEG and WebP files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from audio2img.errors import InputError
from audio2img.output.parameters import format_parameters, without_controls
from audio2img.output.record import PictureRecord

if TYPE_CHECKING:
    from PIL.Image import Exif, Image

MAX_FILE_BYTES = 128 << 20
MAX_COMMENT_BYTES = 60_000  # a JPEG holds 65,533 of EXIF; a longer comment is left out, XMP has it all
MAX_DESCRIPTION_BYTES = 2_000

# Exif 2.32: ImageDescription, Software, the pointer to the Exif part, and UserComment in it.
_DESCRIPTION, _SOFTWARE, _EXIF_PART, _USER_COMMENT = 0x010E, 0x0131, 0x8769, 0x9286
_UNICODE = b"UNICODE\0"


@dataclass(frozen=True)
class Memory:
    """The texts that a picture file was found to hold, each "" where it has none.

    record: our JSON, see `PictureRecord`; parameters: the web UI's text.
    """

    record: str
    parameters: str


def make_exif(record: PictureRecord) -> Exif:
    """EXIF as the web UI writes it, for viewers: the prompt as description, `parameters` as user comment."""
    from PIL import Image

    exif = Image.Exif()
    exif.endian = ">"  # so that the byte order of the comment and that of EXIF agree
    exif[_DESCRIPTION] = without_controls(record.request.prompt).encode()[:MAX_DESCRIPTION_BYTES]
    exif[_SOFTWARE] = f"audio2img {record.audio2img_version}".strip()
    comment = _UNICODE + format_parameters(record).encode("utf-16-be")
    if len(comment) <= MAX_COMMENT_BYTES:
        exif[_EXIF_PART] = {_USER_COMMENT: comment}
    return exif


def read_comment(image: Image) -> str:
    """The user comment in the EXIF of `image`, "" where there is none."""
    comment = image.getexif().get_ifd(_EXIF_PART).get(_USER_COMMENT, b"")
    if not isinstance(comment, bytes):
        return ""
    code, text = comment[:8], comment[8:]
    if code == _UNICODE:  # of either byte order: writers do not agree
        little = text[1:2] == b"\0"
        return text.decode("utf-16-le" if little else "utf-16-be", "replace").rstrip("\0")
    return text.decode("utf-8", "replace").strip("\0 ")


@contextmanager
def opened(file: BinaryIO, name: str, *kinds: str) -> Iterator[Image]:
    """A picture file, read by Pillow as far as its metadata, without its pixels.

    name: of the file, for messages; kinds: the formats it may have, as Pillow calls them. Raises
    InputError for whatever cannot be read in it, also inside the `with`.
    """
    from PIL import Image

    remedy = "use another copy of the picture"
    try:
        if file.seek(0, os.SEEK_END) > MAX_FILE_BYTES:
            raise InputError(f"{name} is larger than {MAX_FILE_BYTES >> 20} MB", remedy)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of many pixels, which nobody unpacks, and of odd metadata
            with Image.open(file, formats=kinds) as image:
                yield image
    except InputError:
        raise
    except Exception as error:  # Pillow raises many kinds on damaged metadata
        raise InputError(f"{name} is damaged: {error}", remedy) from error
