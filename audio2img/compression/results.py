"""What a compression did: sizes before and after, and what was lost, weight by weight and as a whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audio2img.compression.drawing import PICTURE_PEAK, Probe, ProbeDrawing, psnr_db
from audio2img.compression.search import mean_db


@dataclass(frozen=True)
class LayerResult:
    """A weight before and after.

    treatment: "" where it stayed as it was; size_bytes: after; snr_db: of its values.
    """

    name: str
    shape: tuple[int, ...]
    treatment: str
    bits_before: int
    size_bytes: int
    snr_db: float

    @property
    def n_elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bits(self) -> float:
        """What an element takes after, palettes included."""
        return 8 * self.size_bytes / self.n_elements


def average_bits(layers: Sequence[LayerResult]) -> float:
    """Bits that a weight of `layers` takes after, palettes included."""
    return 8 * sum(layer.size_bytes for layer in layers) / sum(layer.n_elements for layer in layers)


@dataclass(frozen=True)
class PartResult:
    """A part before and after; sizes are those of the whole package."""

    name: str
    size_before: int
    size_after: int
    layers: tuple[LayerResult, ...]

    @property
    def average_bits(self) -> float:
        """Bits that a weight takes after, palettes included."""
        return average_bits(self.layers)


@dataclass(frozen=True, eq=False)
class ProbeResult:
    """A probe before and after."""

    probe: Probe
    before: ProbeDrawing
    after: ProbeDrawing

    @property
    def latents_db(self) -> float:
        return psnr_db(self.before.latents, self.after.latents)

    @property
    def picture_db(self) -> float:
        assert self.before.pixels is not None
        assert self.after.pixels is not None
        return psnr_db(self.before.pixels, self.after.pixels, PICTURE_PEAK)


@dataclass(frozen=True, eq=False)
class Result:
    """All of it.

    scheme: what was asked for; wished_db: the signal that mixed bits had to keep; probes: empty where
    nothing was drawn, and then unmeasured says why; runtime: what drew them.
    """

    folder: Path
    scheme: str
    wished_db: float | None
    parts: tuple[PartResult, ...]
    probes: tuple[ProbeResult, ...]
    unmeasured: str
    source_hash: str
    runtime: str = ""

    @property
    def size_before(self) -> int:
        return sum(part.size_before for part in self.parts)

    @property
    def size_after(self) -> int:
        return sum(part.size_after for part in self.parts)

    @property
    def average_bits(self) -> float:
        """Bits that a weight of the compressed parts takes, palettes included."""
        return average_bits([layer for part in self.parts for layer in part.layers])

    @property
    def latents_db(self) -> float | None:
        """The mean of the probes."""
        return mean_db([probe.latents_db for probe in self.probes]) if self.probes else None

    @property
    def picture_db(self) -> float | None:
        """The mean of the probes."""
        return mean_db([probe.picture_db for probe in self.probes]) if self.probes else None
