"""From blocks of any rate and any number of channels to mono at 16 kHz, piece by piece, through soxr."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio2img.errors import InputError
from audio2img.types import SAMPLE_RATE_HZ

Floats = NDArray[np.float32]

MIN_RATE_HZ = 1_000  # below it no word can be understood, and a few bytes would become hours
MAX_RATE_HZ = 3_000_000  # above the fastest there is: DSD512, which is decoded at 2.8 MHz


def check_rate(rate_hz: int, name: str) -> None:
    """Raise InputError where `name` has a rate that no recording of sound has."""
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise InputError(
            f"{name} claims {rate_hz} samples a second, which no recording of speech has",
            "export it again from the program that made it, at 16000 or 44100 Hz",
        )


def to_16_khz(blocks: Iterable[NDArray[Any]], rate_hz: int, name: str = "the sound") -> Iterator[Floats]:
    """Blocks from a source of sound elsewhere, such as a browser, as the chunks that listening takes.

    blocks: (n,) or (n, channels), int16 at full scale or float32 in [-1, 1], at `rate_hz`.
    Gives (n,) float32 at 16 kHz, one chunk for each block and one for the end. Raises InputError for a
    rate that no recording has.
    """
    check_rate(rate_hz, name)
    mixer, resampler = Mixer(), Resampler(rate_hz)
    for block in blocks:
        full_scale = np.float32(32768 if block.dtype == np.int16 else 1)
        floats: Floats = block.astype(np.float32) / full_scale
        yield resampler.feed(mixer.mix(floats if floats.ndim == 2 else floats[:, None]))
    yield resampler.finish()


class Resampler:
    """One stream of mono sound on its way to 16 kHz; level, pitch and time stay as they are."""

    def __init__(self, rate_hz: int) -> None:
        import soxr

        self.rate_hz = rate_hz
        self._stream = (
            None if rate_hz == SAMPLE_RATE_HZ else soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, "float32")
        )

    def feed(self, block: Floats) -> Floats:
        """What is ready after the next samples: (n,) float32 at `rate_hz` -> (m,) at 16 kHz."""
        return block if self._stream is None else self._stream.resample_chunk(block)

    def finish(self) -> Floats:
        """The last (m,) samples, which waited for what might follow."""
        nothing = np.zeros(0, np.float32)
        return nothing if self._stream is None else self._stream.resample_chunk(nothing, last=True)


class Mixer:
    """The mean of those channels that have carried something so far.

    The empty second input of an interface then does not halve the first. A channel that begins to
    sound is let in over one block and stays in: a pause in it changes no level.
    """

    def __init__(self) -> None:
        self._gains: Floats | None = None

    def mix(self, block: Floats) -> Floats:
        """(n, channels) float32, the same channels each time -> (n,)."""
        sounds = block.any(axis=0)
        before = self._gains
        if before is not None:
            sounds |= before > 0
        if not sounds.any():
            return np.zeros(len(block), np.float32)
        self._gains = (sounds / sounds.sum()).astype(np.float32)
        if before is None or np.array_equal(before, self._gains):
            return np.asarray(block @ self._gains, np.float32)
        share = np.linspace(0, 1, len(block), dtype=np.float32)[:, None]
        mixed: Floats = (block * (before + share * (self._gains - before))).sum(axis=1, dtype=np.float32)
        return mixed
