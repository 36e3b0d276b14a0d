"""What a weight becomes: a palette, 8-bit integers, or itself; and which weight becomes what.

Palettes and scales for a whole tensor or channel fit every Core ML since macOS 13. A palette per
group of channels, and palettes of 8 values (3 bits), need the newer forms of macOS 15.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from audio2img.errors import UsageError

PALETTE_BITS = (1, 2, 3, 4, 6, 8)
"""Bits per weight that Core ML has palettes for."""

UNCOMPRESSED_BITS = 16
MIN_ELEMENTS = 2048  # up to here a palette costs more than it saves; coremltools' own threshold


@dataclass(frozen=True)
class Palette:
    """2**bits values and an index per element; group_size: output channels that share one, 0 for all."""

    bits: int
    group_size: int = 0

    def __post_init__(self) -> None:
        if self.bits not in PALETTE_BITS:
            choices = ", ".join(map(str, PALETTE_BITS))
            raise UsageError(f"there are no palettes of {self.bits} bits", f"choose from: {choices}")
        if self.group_size < 0:
            raise UsageError(f"a group of {self.group_size} channels", "try: --group-size 16")

    @property
    def needs_macos15(self) -> bool:
        return self.group_size > 0 or self.bits == 3

    def __str__(self) -> str:
        return f"{self.bits} bits" + (f", {self.group_size} channels a palette" if self.group_size else "")


@dataclass(frozen=True)
class Linear:
    """8-bit integers and one scale per output channel."""

    bits = 8
    needs_macos15 = False

    def __str__(self) -> str:
        return "8 bits, linear"


Treatment = Palette | Linear
"""What is done to one weight. Where nothing is done there is none."""

Treatments = Mapping[str, Treatment]
"""By the name of the weight in its program; weights that are not named stay as they are."""


def parse_treatment(text: str) -> Treatment:
    """The treatment that `write_treatment` wrote. Raises UsageError for anything else."""
    if text == "linear8":
        return Linear()
    bits, _, group = text.removeprefix("palette").partition("/")
    if not text.startswith("palette") or not bits.isdecimal() or not (group or "0").isdecimal():
        raise UsageError(
            f"there is no way to compress called {text!r}", "try: palette6, palette4/16, linear8"
        )
    return Palette(int(bits), int(group or 0))


def write_treatment(treatment: Treatment) -> str:
    """A short name: palette6, palette4/16 (16 channels a palette), linear8."""
    if isinstance(treatment, Linear):
        return "linear8"
    return f"palette{treatment.bits}" + (f"/{treatment.group_size}" if treatment.group_size else "")
