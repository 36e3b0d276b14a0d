"""PNG files: what they remember stands in three texts before the pixels.

`parameters` is for people and picture viewers, XMP for catalogues and newsrooms, and our own JSON
is what a picture is drawn again from.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO

from audio2img.output.chunks import SIGNATURE, read_texts
from audio2img.output.memory import Memory
from audio2img.output.parameters import format_parameters
from audio2img.output.record import PictureRecord
from audio2img.output.xmp import format_xmp

if TYPE_CHECKING:
    from audio2img.output.pixels import Pixels

RECORD_KEYWORD = "audio2img"
XMP_KEYWORD = "XML:com.adobe.xmp"  # fixed by the XMP specification, part 3
PARAMETERS_KEYWORD = "parameters"
COMPRESS_LEVEL = 1  # three to four times as fast as zlib's usual 6, for 7 to 13 % more bytes


def is_png(head: bytes) -> bool:
    """Whether a file that begins with `head` claims to be a PNG."""
    return head.startswith(SIGNATURE)


def encode_png(pixels: Pixels, record: PictureRecord) -> bytes:
    """The file: the same bytes for the same pixels, (height, width, 3) uint8 RGB, and record."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    texts = PngInfo()
    # tEXt, the only kind that several viewers look into, holds Latin-1. Words beyond it go into iTXt,
    # as the web UI itself writes them: UTF-8 put into tEXt would read back as other letters.
    parameters = format_parameters(record)
    if _is_latin1(parameters):
        texts.add_text(PARAMETERS_KEYWORD, parameters)
    else:
        texts.add_itxt(PARAMETERS_KEYWORD, parameters)
    texts.add_itxt(XMP_KEYWORD, format_xmp(record))
    texts.add_itxt(RECORD_KEYWORD, record.to_json())
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", pnginfo=texts, compress_level=COMPRESS_LEVEL)
    return buffer.getvalue()


def read_png(file: BinaryIO, name: str) -> Memory:
    """What a PNG remembers. Raises InputError when it is not a whole PNG, and OSError."""
    texts = read_texts(file, name)
    return Memory(texts.get(RECORD_KEYWORD, ""), texts.get(PARAMETERS_KEYWORD, ""))


def _is_latin1(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True
