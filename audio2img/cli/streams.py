"""Whatever is printed gets through: a path that is made must not end in an error of its encoding."""

from __future__ import annotations

import codecs
import io
import os
import sys

ERRORS = "audio2img"  # the name of our way with characters that an encoding lacks


def prepare_streams() -> None:
    """Have stdout and stderr print every text; into files and pipes on Windows, too, in UTF-8.

    There Python would take the code page of the country (until 3.15, PEP 686), in which no JSON is.
    PYTHONIOENCODING chooses another.
    """
    codecs.register_error(ERRORS, _give_way)
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue
        is_free = sys.platform == "win32" and not stream.isatty() and not os.environ.get("PYTHONIOENCODING")
        stream.reconfigure(encoding="utf-8" if is_free else stream.encoding, errors=ERRORS)


def _give_way(error: UnicodeError) -> tuple[str | bytes, int]:
    """The bytes of a file name that were no text are printed as they are; other characters escaped."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeEncodeError:
        return codecs.lookup_error("backslashreplace")(error)
