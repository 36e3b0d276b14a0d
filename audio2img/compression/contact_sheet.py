"""The picture of a report: a sheet of drawings before and after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from audio2img.compression.results import ProbeResult
from audio2img.diffusion import Pixels

TILE = 256  # pixels: pictures are shown no larger, small ones enlarged by whole numbers
GAP = 8
CAPTION = 18
INK, PAPER = (40, 40, 40), (255, 255, 255)


def save_contact_sheet(probes: Sequence[ProbeResult], path: Path) -> None:
    """A PNG with a row for each probe: before, after, and what the latents kept."""
    height = CAPTION + GAP + len(probes) * (TILE + CAPTION + GAP)
    sheet = Image.new("RGB", (2 * TILE + 3 * GAP, height), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    pen.text((GAP, GAP // 2), "before", INK, font)
    pen.text((TILE + 2 * GAP, GAP // 2), "after", INK, font)
    for index, one in enumerate(probes):
        top = CAPTION + GAP + index * (TILE + CAPTION + GAP)
        assert one.before.pixels is not None
        assert one.after.pixels is not None
        sheet.paste(_tile(one.before.pixels), (GAP, top))
        sheet.paste(_tile(one.after.pixels), (TILE + 2 * GAP, top))
        kept = "exact" if math.isinf(one.picture_db) else f"{one.picture_db:.1f} dB"
        caption = f"{_printable(one.probe.prompt)[:48]} (seed {one.probe.seed}): {kept}"
        pen.text((GAP, top + TILE + 2), caption, INK, font)
    sheet.save(path)


def _tile(pixels: Pixels) -> Image.Image:
    """The picture, TILE pixels high and wide at most; a small one keeps its pixels as blocks."""
    image = Image.fromarray(pixels)
    longest = max(image.size)
    if longest > TILE:
        image.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
        return image
    factor = TILE // longest
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _printable(text: str) -> str:
    """`text` in the letters that Pillow's own font has."""
    return text.encode("latin-1", "replace").decode("latin-1")
