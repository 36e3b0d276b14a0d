"""Seeded Gaussian noise: the same numbers as NumPy's legacy generator and Apple's Swift pipeline.

Apple's Swift code carries a copy of NumPy's `RandomState` (Mersenne Twister MT19937 with
the polar Box-Muller method) as its default random source, and NumPy has frozen that
stream for good (NEP 19). So one seed gives one picture in both, on every machine.
"""

from __future__ import annotations

import operator

import numpy as np
from numpy.typing import NDArray

from audio2img.errors import UsageError

GENERATOR_NAME = "numpy-mt19937"
"""Recorded with every picture: a seed means nothing without its generator."""

MAX_SEED = 2**32 - 1


class NoiseStream:
    """Standard normal numbers, one after the other, from one seed (0 to 2**32 - 1).

    stream: 0 is the seed's own, the one that Swift has too; others are further ones of the same seed.
    Raises UsageError for any other seed.
    """

    def __init__(self, seed: int, stream: int = 0) -> None:
        number = check_seed(seed)
        self._state = np.random.RandomState([number, stream] if stream else number)

    def draw(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """The next prod(shape) numbers in C order, drawn as float64 and rounded to float32."""
        return np.asarray(self._state.standard_normal(shape), dtype=np.float32)


def check_seed(seed: int) -> int:
    """`seed` as a plain int; raises UsageError unless it is a whole number from 0 to 2**32 - 1."""
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if not 0 <= number <= MAX_SEED:
        raise UsageError(
            f"the seed {seed!r} is not a whole number from 0 to {MAX_SEED}", "try: `seed=42`, or leave it out"
        )
    return number


def initial_latents(seed: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The noise pictures start from: `shape` float32, unit variance, the first numbers of the stream.

    For several pictures of one seed `shape` starts with their number: as in Swift, the second
    picture's noise follows the first one's. Multiply by the scheduler's `init_noise_sigma`.
    Raises UsageError for a bad seed.
    """
    return NoiseStream(seed).draw(shape)
