"""Text as it is shown to people: it steers no terminal, and no message fills more than a screen."""

from __future__ import annotations

import re

LINE_LIMIT = 1200  # characters; a small terminal shows 24 lines of 80

# Controls (C0, DEL, C1) but for tab and newline; what turns the direction of a line or breaks it;
# bytes of a file name that were no text.
_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: str) -> str:
    """`text` with each character that a terminal would obey written out, such as \\x1b for escape."""
    return _HARMFUL.sub(_written_out, text)


def shorten(text: str, limit: int = LINE_LIMIT) -> str:
    """`text` in at most `limit` characters: of a longer one the middle is left out."""
    if len(text) <= limit:
        return text
    left_out = f" … ({len(text) - limit:,} characters left out) … "
    kept = max(limit - len(left_out), 2)
    return text[: kept - kept // 3] + left_out + text[-(kept // 3) :]


def clean_json(text: str) -> str:
    """JSON `text` with the same characters as \\uXXXX: it stays JSON, and means the same."""
    return _HARMFUL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _written_out(found: re.Match[str]) -> str:
    number = ord(found[0])
    if 0xDC80 <= number <= 0xDCFF:
        number -= 0xDC00  # the byte that was no text
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
