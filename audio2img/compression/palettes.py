"""One weight as a palette: 2**bits values, and for every element the number of the nearest.

Core ML has palettes as the operation constexpr_lut_to_dense, described in coremltools' documentation:
in the form of iOS 16 (macOS 13), and in that of iOS 18 (macOS 15) in programs for that system.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audio2img.compression import wire
from audio2img.compression.kmeans import Histogram, count_values, find_centers
from audio2img.mlprogram.mil import BlobReference, DataType, TensorType
from audio2img.mlprogram.weights import element_bits

Weights = NDArray[np.floating]

PALETTE_TYPES = {
    1: DataType.UINT1,
    2: DataType.UINT2,
    4: DataType.UINT4,
    6: DataType.UINT6,
    8: DataType.UINT8,
}
"""Bits a weight that Core ML has palettes for since macOS 13 -> the type of an index."""

PALETTE_OPERATION = "constexpr_lut_to_dense"
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
    """numbers: uint8, in the weight's shape; palette: (2**bits,) of the weight's type."""

    numbers: NDArray[np.uint8]
    palette: Weights
    fit: Fit

    def decode(self) -> Weights:
        """The weight as a reader of the compressed package has it."""
        return self.palette[self.numbers]


def palettize(weights: Weights, bits: int) -> Palettized:
    """The palette of float16 or float32 `weights`, which are finite, and of any shape."""
    histogram = count_values(weights)
    palette = make_palette(histogram, bits, weights.dtype)
    return Palettized(assign(weights, palette), palette, measure(histogram, palette))


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


def stored_bytes(tensor: TensorType) -> int:
    """The size of a tensor in the weight file, without its metadata."""
    return -(-math.prod(tensor.shape) * element_bits(tensor.dtype) // 8)


def stored_parts(tensor: TensorType, bits: int, modern: bool) -> dict[str, TensorType]:
    """What of a weight of type `tensor` is in the weight file: parameter -> its type, in file order.

    modern: the program is one for iOS 18 or later. Either form has the same bytes.
    """
    size, rank = 1 << bits, len(tensor.shape)
    if modern:
        indices = TensorType(PALETTE_TYPES[bits], tensor.shape)
        return {"indices": indices, "lut": TensorType(tensor.dtype, (*(1,) * rank, size, 1))}
    packed = -(-math.prod(tensor.shape) * bits // 8)
    indices = TensorType(DataType.UINT8, (packed,))
    return {"indices": indices, "lut": TensorType(tensor.dtype, (size,))}


def palette_bytes(tensor: TensorType, bits: int) -> int:
    """The size of a weight of type `tensor` with its palette in the weight file, without metadata."""
    return sum(map(stored_bytes, stored_parts(tensor, bits, modern=False).values()))


def encode_operation(
    name: str,
    tensor: TensorType,
    parts: dict[str, TensorType],
    places: dict[str, BlobReference],
    modern: bool,
) -> bytes:
    """The operation that gives the weight `name`, its parts being at `places`.

    iOS 18 binds parameters as inputs, iOS 16 as attributes, of which the shape is one.
    """
    values = {parameter: wire.stored(kind, places[parameter]) for parameter, kind in parts.items()}
    named = {"name": wire.immediate_text(name)}
    if modern:
        return wire.encode_operation(PALETTE_OPERATION, name, tensor, values, named)
    values = {**values, **named, "shape": wire.immediate_shape(tensor.shape)}
    return wire.encode_operation(PALETTE_OPERATION, name, tensor, {}, dict(sorted(values.items())))
