"""One weight tensor compressed: where its parts are stored, and their bytes.

The forms are operations of MIL, described in coremltools' documentation: constexpr_lut_to_dense
and constexpr_affine_dequantize of iOS 16 (macOS 13), which the newer constexpr_lut_to_dense and
constexpr_blockwise_shift_scale of iOS 18 (macOS 15) replace in programs for that system.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audio2img.compression import wire
from audio2img.compression.kmeans import Histogram, count_values, find_centers
from audio2img.compression.schemes import Linear, Palette, Treatment
from audio2img.mlprogram import constexpr
from audio2img.mlprogram.mil import BlobReference, DataType, TensorType
from audio2img.mlprogram.weights import decode_elements, element_bits

Array = NDArray[np.generic]
Doubles = NDArray[np.float64]
Weights = NDArray[np.floating]

CHUNK = 1 << 20  # elements worked on at once; a multiple of 8, so that packed chunks end at whole bytes
INDEX_TYPES = {
    1: DataType.UINT1,
    2: DataType.UINT2,
    3: DataType.UINT3,
    4: DataType.UINT4,
    6: DataType.UINT6,
    8: DataType.UINT8,
}
MAX_INT8 = 127


@dataclass(frozen=True)
class Form:
    """How a compressed weight stands in a program.

    kind: the operation; stored: the type of each parameter in the weight file, in file order;
    inline: parameters in the program itself; as_inputs: iOS 18 binds parameters as inputs,
    iOS 16 as attributes.
    """

    kind: str
    stored: dict[str, TensorType]
    inline: dict[str, Array]
    as_inputs: bool

    @property
    def size_bytes(self) -> int:
        return sum(stored_bytes(tensor) for tensor in self.stored.values())


@dataclass(frozen=True)
class Fit:
    """How near a compressed weight is: sums over its elements of the squared weight and squared error."""

    n_elements: int
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


def stored_bytes(tensor: TensorType) -> int:
    """The size of a tensor in the weight file, without its metadata."""
    return -(-math.prod(tensor.shape) * element_bits(tensor.dtype) // 8)


def n_groups(treatment: Palette, shape: tuple[int, ...], axis: int) -> int:
    """How many palettes a weight has: one where its channels do not fall into whole groups."""
    size = treatment.group_size
    return shape[axis] // size if size and shape[axis] % size == 0 else 1


def plan_form(tensor: TensorType, axis: int, treatment: Treatment, modern: bool) -> Form:
    """How a weight of type `tensor` with output channels along `axis` is written.

    modern: the program is one for iOS 18 or later.
    """
    shape, rank = tensor.shape, len(tensor.shape)
    if isinstance(treatment, Linear):
        data = TensorType(DataType.INT8, shape)
        channels = tuple(shape[axis] if index == axis else 1 for index in range(rank))
        if modern:
            stored = {"data": data, "scale": TensorType(tensor.dtype, channels)}
            return Form("constexpr_blockwise_shift_scale", stored, {}, True)
        stored = {"quantized_data": data, "scale": TensorType(tensor.dtype, (shape[axis],))}
        inline: dict[str, Array] = {
            "zero_point": np.array(0, dtype=np.int8),
            "axis": np.array(axis, dtype=np.int32),
        }
        return Form("constexpr_affine_dequantize", stored, inline, False)
    bits = treatment.bits
    if modern:
        groups = n_groups(treatment, shape, axis)
        lut_shape = (*(groups if index == axis else 1 for index in range(rank)), 1 << bits, 1)
        stored = {
            "indices": TensorType(INDEX_TYPES[bits], shape),
            "lut": TensorType(tensor.dtype, lut_shape),
        }
        return Form("constexpr_lut_to_dense", stored, {}, True)
    packed = -(-math.prod(shape) * bits // 8)
    stored = {
        "indices": TensorType(DataType.UINT8, (packed,)),
        "lut": TensorType(tensor.dtype, (1 << bits,)),
    }
    return Form("constexpr_lut_to_dense", stored, {"shape": np.array(shape, dtype=np.uint32)}, False)


def encode_operation(name: str, tensor: TensorType, form: Form, places: dict[str, BlobReference]) -> bytes:
    """The operation that gives the weight `name`, its parts being at `places`."""
    values = {parameter: wire.stored(kind, places[parameter]) for parameter, kind in form.stored.items()}
    values |= {parameter: wire.immediate(array) for parameter, array in form.inline.items()}
    named = {"name": wire.immediate_text(name)}
    if form.as_inputs:
        return wire.encode_operation(form.kind, name, tensor, values, named)
    return wire.encode_operation(form.kind, name, tensor, {}, dict(sorted({**values, **named}.items())))


def encode_weights(weights: Weights, axis: int, treatment: Treatment) -> tuple[list[bytes], Fit]:
    """The bytes of each stored part, in the order of Form.stored, and how near they are.

    weights: float16 or float32, finite. Either form of a treatment has the same bytes.
    """
    if isinstance(treatment, Linear):
        return _encode_linear(weights, axis)
    return _encode_palettes(weights, axis, treatment)


def approximate(weights: Weights, axis: int, treatment: Treatment) -> tuple[Weights, Fit]:
    """What `weights` become for a reader of the compressed package, and how near that is."""
    dtype = DataType.FLOAT16 if weights.dtype == np.float16 else DataType.FLOAT32
    form = plan_form(TensorType(dtype, weights.shape), axis, treatment, modern=True)
    parts, fit = encode_weights(weights, axis, treatment)
    parameters: dict[str, Array | str] = {
        name: decode_elements(np.frombuffer(data, dtype=np.uint8), tensor)
        for (name, tensor), data in zip(form.stored.items(), parts, strict=True)
    }
    (decoded,) = constexpr.materialize(form.kind, parameters)
    return decoded, fit


def _encode_linear(weights: Weights, axis: int) -> tuple[list[bytes], Fit]:
    """Integers of -127 to 127 and a scale per channel, the least at which nothing is clipped."""
    numbers = np.empty(weights.shape, dtype=np.int8)
    scales, signal, error = [], 0.0, 0.0
    n_blocks = max(1, min(weights.shape[axis], weights.size // CHUNK))
    for part, target in zip(
        np.array_split(weights, n_blocks, axis), np.array_split(numbers, n_blocks, axis), strict=True
    ):
        exact = np.moveaxis(part, axis, 0).astype(np.float64)
        scale = _int8_scale(np.abs(exact).max(axis=tuple(range(1, exact.ndim)), keepdims=True), weights.dtype)
        rounded = np.clip(np.rint(exact / scale), -MAX_INT8, MAX_INT8)
        target[...] = np.moveaxis(rounded, 0, axis)
        scales.append(scale.reshape(-1).astype(weights.dtype))
        signal += float(np.square(exact).sum())
        error += float(np.square(exact - (rounded * scale).astype(weights.dtype)).sum())
    return [numbers.tobytes(), np.concatenate(scales).tobytes()], Fit(weights.size, signal, error)


def _int8_scale(largest: Doubles, dtype: np.dtype[np.floating]) -> Doubles:
    """The least scale of type `dtype` that reaches `largest` with 127; 1 for channels of zeros."""
    scale = (largest / MAX_INT8).astype(dtype)
    too_small = scale.astype(np.float64) * MAX_INT8 < largest
    scale = np.where(too_small, np.nextafter(scale, np.array(np.inf, dtype)), scale)
    return np.where(largest == 0, 1.0, scale.astype(np.float64))


def _encode_palettes(weights: Weights, axis: int, treatment: Palette) -> tuple[list[bytes], Fit]:
    """A palette for each group of channels, in the order of the channels."""
    groups = n_groups(treatment, weights.shape, axis)
    numbers = np.empty(weights.shape, dtype=np.uint8)
    palettes, signal, error = [], 0.0, 0.0
    for part, target in zip(np.split(weights, groups, axis), np.split(numbers, groups, axis), strict=True):
        histogram = count_values(part)
        palette = make_palette(histogram, treatment.bits, weights.dtype)
        target[...] = assign(part, palette)
        fit = measure(histogram, palette)
        signal, error = signal + fit.signal, error + fit.error
        palettes.append(palette)
    packed = pack_bits(numbers.reshape(-1), treatment.bits)
    return [packed.tobytes(), np.concatenate(palettes).tobytes()], Fit(weights.size, signal, error)


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
    return Fit(int(histogram.counts.sum()), float(signal.sum()), float(error.sum()))


def palette_errors(weights: Weights, bits: tuple[int, ...]) -> list[float]:
    """Squared error over squared weights, of one palette for all of `weights` at each number of bits."""
    histogram = count_values(weights)
    fits = [measure(histogram, make_palette(histogram, one, weights.dtype)) for one in bits]
    return [fit.relative_error for fit in fits]


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
