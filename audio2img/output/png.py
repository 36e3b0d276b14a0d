"""Pictures as PNG files that remember how they were made.

Three texts in each, for three readers: `parameters` for people and picture viewers, XMP for
catalogues and newsrooms, and our own JSON, from which alone a picture is drawn again.
"""

from __future__ import annotations

import io
from pathlib import Path

from audio2img.errors import InputError, UsageError
from audio2img.output.chunks import read_texts
from audio2img.output.files import write_new_file
from audio2img.output.naming import numbered_names, picture_names
from audio2img.output.parameters import format_parameters, parse_parameters
from audio2img.output.record import PictureRecord
from audio2img.output.xmp import format_xmp
from audio2img.types import ImageResult

RECORD_KEYWORD = "audio2img"
XMP_KEYWORD = "XML:com.adobe.xmp"  # fixed by the XMP specification, part 3
PARAMETERS_KEYWORD = "parameters"
SUFFIX = ".png"


def write_picture(image: ImageResult, record: PictureRecord, target: str | Path) -> Path:
    """Write `image` with its `record` into a folder, or to a path that ends in ".png"; the file's path.

    A folder is made where it is missing, and the name comes from the prompt and the seed. A name
    that is taken gets -2, -3, ...: nothing is ever overwritten. The file appears whole or not at
    all. Raises MachineError when the disk refuses, UsageError for a path that cannot be.
    """
    path = Path(target).expanduser()
    data = encode_picture(image, record)
    if path.suffix.lower() == SUFFIX and not path.is_dir():
        return write_new_file(path.parent, numbered_names(path.name), data)
    return write_new_file(path, picture_names(image.request.prompt, image.request.seed), data)


def encode_picture(image: ImageResult, record: PictureRecord) -> bytes:
    """The PNG file: the same bytes for the same pixels and record. Raises UsageError for other pixels."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    pixels = image.pixels
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != "uint8" or 0 in pixels.shape:
        raise UsageError(
            f"a picture is (height, width, 3) uint8, not {pixels.shape} {pixels.dtype}",
            "convert the pixels first",
        )
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
    Image.fromarray(pixels).save(buffer, format="PNG", pnginfo=texts)
    return buffer.getvalue()


def read_record(path: str | Path) -> PictureRecord:
    """How the picture at `path` was made.

    Of a PNG by another program that wrote `parameters`, what those tell. Raises InputError when
    the file is missing, is not a whole PNG, or says nothing that can be understood.
    """
    picture = Path(path).expanduser()
    texts = read_texts(picture)
    if RECORD_KEYWORD in texts:
        return PictureRecord.from_json(texts[RECORD_KEYWORD])
    if PARAMETERS_KEYWORD in texts:
        return parse_parameters(texts[PARAMETERS_KEYWORD])
    raise InputError(
        f"{picture} does not say how it was made",
        "give a picture that audio2img wrote and no other program saved",
    )


def _is_latin1(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True
