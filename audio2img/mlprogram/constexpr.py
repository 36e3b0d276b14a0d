"""Compressed constants of ML programs, made dense: the `constexpr_*` operations, in NumPy.

Each takes its parameters by name, as arrays, and gives one array or a tuple of them. What the
operations mean is written in coremltools' documentation of their iOS 16 and iOS 18 forms.
Parameters that contradict each other raise ModelError.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio2img.errors import ModelError
from audio2img.mlprogram.weights import CORE_ML_ONLY, REMEDY, unpack_bits

Array = NDArray[Any]
Parameters = Mapping[str, "Array | str"]

MAX_ELEMENTS = 1 << 31


def materialize(kind: str, parameters: Parameters) -> tuple[Array, ...]:
    """The dense results of the operation `kind`. Raises ModelError for an unknown kind or bad parameters."""
    form = FORMS.get(kind)
    if form is None:
        raise ModelError(f"constants of the form {kind} are not supported", CORE_ML_ONLY)
    try:
        result = form(parameters)
    except (KeyError, ValueError, IndexError, TypeError, ZeroDivisionError, OverflowError) as error:
        raise ModelError(f"a constant of the form {kind} is damaged: {error}", REMEDY) from error
    return result if isinstance(result, tuple) else (result,)


def _array(parameters: Parameters, name: str) -> Array:
    value = parameters[name]
    if isinstance(value, str):
        raise ModelError(f"a constant's {name} is a text", REMEDY)
    return value


def _optional(parameters: Parameters, name: str) -> Array | None:
    return _array(parameters, name) if name in parameters else None


def _shape(parameters: Parameters) -> tuple[int, ...]:
    shape = tuple(int(size) for size in _array(parameters, "shape"))
    if math.prod(shape) > MAX_ELEMENTS:
        raise ModelError(f"a constant of shape {list(shape)}", REMEDY)
    return shape


def _lut_to_dense(parameters: Parameters) -> Array:
    """A palette (look-up table) and an index into it per element, or per vector of elements."""
    lut, indices = _array(parameters, "lut"), _array(parameters, "indices")
    if "shape" in parameters:  # iOS 16: one palette, the indices packed into bytes
        return _packed_lut_to_dense(lut, indices, _shape(parameters))
    axis = _optional(parameters, "vector_axis")
    return _blockwise_lut_to_dense(lut, indices, None if axis is None else int(axis))


def _packed_lut_to_dense(lut: Array, packed: Array, shape: tuple[int, ...]) -> Array:
    """lut: (2**bits,); packed: ceil(bits * elements / 8) bytes, uint8."""
    bits = lut.size.bit_length() - 1
    count = math.prod(shape)
    if lut.ndim != 1 or lut.size != 1 << bits or bits not in (1, 2, 4, 6, 8):
        raise ModelError(f"a palette of {lut.size} values", REMEDY)
    if packed.dtype != np.uint8 or packed.shape != (-(-bits * count // 8),):
        raise ModelError(f"{packed.size} bytes of indices for {count} elements of {bits} bits", REMEDY)
    dense: Array = lut[unpack_bits(packed, bits, count)]
    return dense.reshape(shape)


def _blockwise_lut_to_dense(lut: Array, indices: Array, vector_axis: int | None) -> Array:
    """lut: (blocks along each axis of indices..., 2**bits, vector size): a palette per block of indices."""
    n_palette, vector_size = lut.shape[-2:]
    if lut.ndim != indices.ndim + 2 or (vector_size > 1 and vector_axis is None):
        raise ModelError(f"a palette of shape {lut.shape} for indices of shape {indices.shape}", REMEDY)
    if indices.size and int(indices.max()) >= n_palette:
        raise ModelError("an index beyond its palette", REMEDY)
    tables = lut.reshape(-1, n_palette, vector_size)
    table_numbers = np.arange(len(tables)).reshape(lut.shape[:-2])
    vectors = tables[_spread(table_numbers, indices.shape), indices]  # (*indices.shape, vector_size)
    if vector_axis is None or vector_size == 1:
        return vectors[..., 0]
    axis = range(indices.ndim)[vector_axis]
    shape = list(indices.shape)
    shape[axis] *= vector_size
    return np.moveaxis(vectors, -1, axis + 1).reshape(shape)


def _spread(blocks: Array, shape: tuple[int, ...]) -> Array:
    """`blocks`, one value per block, repeated so that every element of `shape` has the value of its block."""
    if blocks.ndim != len(shape):
        raise ModelError(f"blocks of shape {blocks.shape} for {shape}", REMEDY)
    for axis, size in enumerate(shape):
        if size % blocks.shape[axis]:
            raise ModelError(f"blocks of shape {blocks.shape} for {shape}", REMEDY)
        if 1 < blocks.shape[axis] < size:
            blocks = np.repeat(blocks, size // blocks.shape[axis], axis)
    return np.broadcast_to(blocks, shape)


def _affine_dequantize(parameters: Parameters) -> Array:
    """scale * (data - zero point), both scalars or vectors along `axis`; reckoned in float32."""
    data, scale = _array(parameters, "quantized_data"), _array(parameters, "scale")
    axis = int(_array(parameters, "axis"))
    vector_shape = [1] * data.ndim
    vector_shape[axis] = -1

    def along_axis(parameter: Array) -> Array:
        return parameter if parameter.ndim == 0 else parameter.reshape(vector_shape)

    zero_point = along_axis(_array(parameters, "zero_point")).astype(np.float32)
    result = (data.astype(np.float32) - zero_point) * along_axis(scale)
    if result.shape != data.shape:
        raise ModelError(f"a scale of shape {scale.shape} for data of shape {data.shape}", REMEDY)
    return result.astype(scale.dtype)


def _blockwise_shift_scale(parameters: Parameters) -> Array:
    """scale * (data - offset), one scale and offset per block; reckoned in the type of scale."""
    return _shift_scale(
        _array(parameters, "data"), _array(parameters, "scale"), _optional(parameters, "offset")
    )


def _shift_scale(data: Array, scale: Array, offset: Array | None) -> Array:
    values = data.astype(scale.dtype)
    if offset is not None:
        values = (values - _spread(offset, data.shape)).astype(scale.dtype)
    result: Array = _spread(scale, data.shape) * values
    return result


def _cast(parameters: Parameters) -> Array:
    if parameters["output_dtype"] != "fp32":
        raise ModelError(f"a cast to {parameters['output_dtype']}", REMEDY)
    return _array(parameters, "source_val").astype(np.float32)


def _sparse_to_dense(parameters: Parameters) -> Array:
    """The non-zero elements in order, and a mask of where they are: packed bits (iOS 16), or 0 and 1."""
    mask = _array(parameters, "mask")
    if "shape" in parameters:
        shape = _shape(parameters)
        count = math.prod(shape)
        if mask.dtype != np.uint8 or mask.shape != (-(-count // 8),):
            raise ModelError(f"a mask of {mask.size} bytes for {count} elements", REMEDY)
        mask = unpack_bits(mask, 1, count).reshape(shape)
    return _scatter(_array(parameters, "nonzero_data"), mask)


def _scatter(nonzero: Array, mask: Array) -> Array:
    if nonzero.shape != (np.count_nonzero(mask),):
        raise ModelError(f"{nonzero.size} elements for {np.count_nonzero(mask)} places", REMEDY)
    dense = np.zeros(mask.shape, dtype=nonzero.dtype)
    dense[mask != 0] = nonzero
    return dense


def _lut_to_sparse(parameters: Parameters) -> tuple[Array, Array]:
    """Palette indices of the non-zero elements: gives the mask (widened for vectors) and the elements."""
    mask, lut = _array(parameters, "indices_mask"), _array(parameters, "lut")
    indices = _scatter(_array(parameters, "indices_nonzero_data"), mask)
    axis = _optional(parameters, "vector_axis")
    dense = _blockwise_lut_to_dense(lut, indices, None if axis is None else int(axis))
    if axis is not None and lut.shape[-1] > 1:
        mask = np.repeat(mask, lut.shape[-1], axis=int(axis))
    return mask, dense[mask != 0]


def _sparse_blockwise_shift_scale(parameters: Parameters) -> tuple[Array, Array]:
    """As constexpr_blockwise_shift_scale on the non-zero elements: gives the mask and the elements."""
    mask = _array(parameters, "data_mask")
    data = _scatter(_array(parameters, "nonzero_data"), mask)
    dense = _shift_scale(data, _array(parameters, "scale"), _optional(parameters, "offset"))
    return mask, dense[mask != 0]


FORMS: dict[str, Callable[[Parameters], Array | tuple[Array, ...]]] = {
    "constexpr_affine_dequantize": _affine_dequantize,
    "constexpr_blockwise_shift_scale": _blockwise_shift_scale,
    "constexpr_cast": _cast,
    "constexpr_lut_to_dense": _lut_to_dense,
    "constexpr_lut_to_sparse": _lut_to_sparse,
    "constexpr_sparse_blockwise_shift_scale": _sparse_blockwise_shift_scale,
    "constexpr_sparse_to_dense": _sparse_to_dense,
}
