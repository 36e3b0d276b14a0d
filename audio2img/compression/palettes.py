"""One weight as a palette: 2**bits values, and for every element the number of the nearest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audio2img.compression.kmeans import Histogram, count_values, find_centers
from audio2img.mlprogram.weights import unpack_bits

Weights = NDArray[np.floating]

MIN_ELEMENTS = 2048  # up to here a palette costs more than it saves; coremltools' own threshold
CHUNK = 1 << 20  # elements worked on at once


@dataclass(frozen=True)
class Fit:
    """How near a palette is: sums over a weight's elements of the squared weight and squared error."""

    signal: float
    error: float

    @property
    def relative_error(self) -> float:
        """Error over signal; 0 where nothing was lost."""
        return self.error / self.signal if self.signal else 0.0

    @property
    def snr_db(self) -> float:
        """Ratio of signal to error in dB; infinite where nothing was lost."""
        return -10 * math.log10(self.relative_error) if self.error else math.inf


@dataclass(frozen=True, eq=False)
class Palettized:
    """indices: uint8, packed as `pack_bits` does; palette: (2**bits,) of the weight's type."""

    indices: NDArray[np.uint8]
    palette: Weights
    fit: Fit

    def decode(self, shape: tuple[int, ...]) -> Weights:
        """The weight of this shape as a reader of the compressed package has it."""
        bits = len(self.palette).bit_length() - 1
        decoded: Weights = self.palette[unpack_bits(self.indices, bits, math.prod(shape))]
        return decoded.reshape(shape)


def palettize(weights: Weights, bits: int) -> Palettized:
    """The palette of float16 or float32 `weights`, which are finite, and of any shape."""
    histogram = count_values(weights)
    palette = make_palette(histogram, bits, weights.dtype)
    indices = pack_bits(assign(weights, palette).reshape(-1), bits)
    return Palettized(indices, palette, measure(histogram, palette))


def palette_errors(weights: Weights, bits: tuple[int, ...]) -> list[float]:
    """Squared error over squared weights, at each number of bits."""
    histogram = count_values(weights)
    fits = [measure(histogram, make_palette(histogram, one, weights.dtype)) for one in bits]
    return [fit.relative_error for fit in fits]


def make_palette(histogram: Histogram, bits: int, dtype: np.dtype[np.floating]) -> Weights:
    """(2**bits,) of `dtype`, ascending; unused places at the end repeat the last value."""
    centers = find_centers(histogram, 1 << bits).astype(dtype)
    return np.concatenate([centers, np.full((1 << bits) - len(centers), centers[-1])])


def nearest(values: NDArray[np.floating], palette: Weights) -> NDArray[np.uint8]:
    """The index of the nearest palette entry for each value; the lower one of two equally near."""
    wide = np.unique(palette.astype(np.float64))  # ascending; drops the repetitions at the end
    found = np.searchsorted((wide[1:] + wide[:-1]) / 2, values)
    return found.astype(np.uint8)


def assign(weights: Weights, palette: Weights) -> NDArray[np.uint8]:
    """`nearest`, element by element; float16 goes through a table of all its bit patterns."""
    if weights.dtype != np.float16:
        return nearest(weights, palette)
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    table = nearest(every.astype(np.float64), palette)
    codes = np.ascontiguousarray(weights).reshape(-1).view(np.uint16)
    result = np.empty(len(codes), dtype=np.uint8)
    for start in range(0, len(codes), CHUNK):
        np.take(table, codes[start : start + CHUNK], out=result[start : start + CHUNK])
    return result.reshape(weights.shape)


def measure(histogram: Histogram, palette: Weights) -> Fit:
    """How near the nearest palette entries are to the values of `histogram`."""
    nearest_values = palette.astype(np.float64)[nearest(histogram.values, palette)]
    error = histogram.counts * np.square(histogram.values - nearest_values)
    signal = histogram.counts * np.square(histogram.values)
    return Fit(float(signal.sum()), float(error.sum()))


def pack_bits(numbers: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """(n,) integers below 2**bits, one after the other from the lowest bit of the first byte up.

    The inverse of audio2img.mlprogram.weights.unpack_bits: ceil(n * bits / 8) bytes, the last ones
    filled up with zeros.
    """
    if bits == 8:
        return numbers
    row = math.lcm(bits, 8) // bits  # the fewest integers that fill whole bytes
    n_rows = -(-len(numbers) // row)
    padded = numbers
    if len(numbers) % row:
        padded = np.zeros(n_rows * row, dtype=np.uint8)
        padded[: len(numbers)] = numbers
    columns = padded.reshape(n_rows, row)
    packed = np.zeros((n_rows, row * bits // 8), dtype=np.uint8)
    for index in range(row):
        byte, shift = divmod(index * bits, 8)
        packed[:, byte] |= columns[:, index] << shift
        if shift + bits > 8:
            packed[:, byte + 1] |= columns[:, index] >> (8 - shift)
    return packed.reshape(-1)[: -(-len(numbers) * bits // 8)]
