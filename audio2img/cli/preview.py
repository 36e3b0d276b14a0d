"""Small pictures in terminals that can show them, while the real one is being drawn.

Two protocols: iTerm2's inline images (iterm2.com/documentation-images.html) and kitty's graphics
protocol (sw.kovidgoyal.net/kitty/graphics-protocol).
"""

from __future__ import annotations

import base64
import io
import os
import time
from collections.abc import Callable, Mapping
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from audio2img.diffusion import Pixels


ROWS, COLUMNS = 10, 20  # in characters, which are about twice as high as wide
SIDE_PX = 160
EVERY_S = 0.25
KITTY_CHUNK = 4096  # bytes of base64 in one escape sequence, at most
KITTY_IMAGE_ID = 2114  # any: a preview replaces the one before of the same number

Encoder = Callable[[bytes, int], str]
"""(PNG file, number of the place where it stands) to the sequences that show it at the cursor."""


def find_encoder(environment: Mapping[str, str] = os.environ) -> Encoder | None:
    """What turns a PNG file into the escape sequences of this terminal; None where it shows no pictures."""
    program = environment.get("TERM_PROGRAM", "")
    if environment.get("TMUX") or environment.get("TERM", "").startswith(("screen", "tmux")):
        return None  # passes neither protocol on
    if "KITTY_WINDOW_ID" in environment or "kitty" in environment.get("TERM", "") or program == "ghostty":
        return encode_for_kitty
    if program in ("iTerm.app", "WezTerm") or environment.get("LC_TERMINAL") == "iTerm2":
        return encode_for_iterm2
    return None


def encode_for_iterm2(png: bytes, place: int = 0) -> str:
    """The sequence that shows `png` at the cursor."""
    options = f"inline=1;size={len(png)};width={COLUMNS};height={ROWS};preserveAspectRatio=1"
    return f"\x1b]1337;File={options}:{base64.b64encode(png).decode()}\x07"


def encode_for_kitty(png: bytes, place: int = 0) -> str:
    """The sequences that show `png` at the cursor, which stays where it is, instead of the last one there."""
    text = base64.b64encode(png).decode()
    chunks = [text[start : start + KITTY_CHUNK] for start in range(0, len(text), KITTY_CHUNK)]
    control = f"a=T,f=100,q=2,i={KITTY_IMAGE_ID + place},p=1,c={COLUMNS},r={ROWS},C=1"
    sequences = []
    for number, chunk in enumerate(chunks):
        more = int(number < len(chunks) - 1)
        sequences.append(f"\x1b_G{control if number == 0 else 'q=2'},m={more};{chunk}\x1b\\")
    return "".join(sequences)


class PreviewScreen:
    """A space of some lines above the progress bar, where previews replace each other."""

    def __init__(self, stream: IO[str], make_room: Callable[[int], None], encode: Encoder) -> None:
        """make_room: prints so many empty lines above the line that the cursor is on."""
        self._stream, self._make_room, self._encode = stream, make_room, encode
        self._has_room = False
        self._place = 0
        self._shown_at = 0.0

    def leave(self) -> None:
        """What is shown stays there; the next preview gets a space of its own, below what is printed now."""
        if self._has_room:
            self._has_room = False
            self._place += 1

    def show(self, preview: Callable[[], Pixels]) -> None:
        """Show the preview, unless the last one is only a moment old."""
        now = time.monotonic()
        if now - self._shown_at < EVERY_S:
            return
        self._shown_at = now
        if not self._has_room:
            self._make_room(ROWS)
            self._has_room = True
        # One write, so that nothing of the progress bar comes between: save the cursor, go up, restore it.
        picture = self._encode(_to_png(preview()), self._place)
        self._stream.write(f"\x1b7\x1b[{ROWS}A\r{picture}\x1b8")
        self._stream.flush()


def _to_png(pixels: Pixels) -> bytes:
    from PIL import Image

    image = Image.fromarray(pixels)
    scale = SIDE_PX / max(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.BICUBIC).save(buffer, format="PNG")
    return buffer.getvalue()
