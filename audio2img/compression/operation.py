"""A compressed weight in a program: the operation constexpr_lut_to_dense, and what it has in the weight file.

It is described in coremltools' documentation, in the form of iOS 16 (macOS 13) and, for programs for that
system, of iOS 18 (macOS 15). Field numbers are those of apple/coremltools mlmodel/format/MIL.proto.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping

from audio2img.mlprogram.mil import BlobReference, DataType, TensorType
from audio2img.mlprogram.protobuf import bytes_field, int_field, map_entry
from audio2img.mlprogram.weights import element_bits

PALETTE_OPERATION = "constexpr_lut_to_dense"

PALETTE_TYPES = {
    1: DataType.UINT1,
    2: DataType.UINT2,
    4: DataType.UINT4,
    6: DataType.UINT6,
    8: DataType.UINT8,
}
"""Bits a weight that Core ML has palettes for since macOS 13 -> the type of an index."""


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
    parts = stored_parts(tensor, bits, modern=False).values()
    return sum(math.prod(part.shape) * element_bits(part.dtype) // 8 for part in parts)


def encode_operation(
    name: str,
    tensor: TensorType,
    parts: Mapping[str, TensorType],
    places: Mapping[str, BlobReference],
    modern: bool,
) -> bytes:
    """The operation whose result is the weight `name`, its parts being at `places`.

    iOS 18 binds parameters as inputs, iOS 16 as attributes, of which the shape is one.
    """
    values = {parameter: _stored_value(kind, places[parameter]) for parameter, kind in parts.items()}
    attributes = {"name": _value(TensorType(DataType.STRING, ()), 4, name)}
    inputs = values if modern else {}
    if not modern:
        rank = len(tensor.shape)
        shape = _value(TensorType(DataType.UINT32, (rank,)), 7, struct.pack(f"<{rank}I", *tensor.shape))
        attributes = dict(sorted({**values, **attributes, "shape": shape}.items()))
    fields = [bytes_field(1, PALETTE_OPERATION)]
    fields += [map_entry(2, key, bytes_field(1, bytes_field(2, value))) for key, value in inputs.items()]
    fields += [bytes_field(3, bytes_field(1, name) + bytes_field(2, _value_type(tensor)))]
    fields += [map_entry(5, key, value) for key, value in attributes.items()]
    return b"".join(fields)


def _value_type(tensor: TensorType) -> bytes:
    """A ValueType: a tensor of fixed shape."""
    sizes = b"".join(bytes_field(3, bytes_field(1, int_field(1, size))) for size in tensor.shape)
    rank = int_field(2, len(tensor.shape)) if tensor.shape else b""
    return bytes_field(1, int_field(1, tensor.dtype) + rank + sizes)


def _stored_value(tensor: TensorType, reference: BlobReference) -> bytes:
    """A Value in the weight file."""
    place = bytes_field(1, reference.file_name) + int_field(2, reference.offset)
    return bytes_field(2, _value_type(tensor)) + bytes_field(5, place)


def _value(tensor: TensorType, kind: int, content: bytes | str) -> bytes:
    """A Value in the program itself. kind: the field of TensorValue, 4 for texts, 7 for packed bytes."""
    immediate = bytes_field(1, bytes_field(kind, bytes_field(1, content)))
    return bytes_field(2, _value_type(tensor)) + bytes_field(3, immediate)
