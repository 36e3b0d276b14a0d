"""A writer of the protobuf wire format, and of the few MIL messages that a compressed weight needs.

The counterpart of audio2img.mlprogram.protobuf. Field numbers are those of apple/coremltools
mlmodel/format/MIL.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from audio2img.mlprogram.mil import BlobReference, DataType, TensorType
from audio2img.mlprogram.protobuf import BYTES, UINT64_MASK, VARINT


def encode_varint(number: int) -> bytes:
    """An integer as a varint; negative ones as 64-bit two's complement."""
    number &= UINT64_MASK
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def encode_field(number: int, wire_type: int, value: int | bytes | memoryview) -> bytes:
    """One field as audio2img.mlprogram.protobuf.iter_fields gives it."""
    key = encode_varint(number << 3 | wire_type)
    if isinstance(value, int):
        return key + encode_varint(value)
    length = encode_varint(len(value)) if wire_type == BYTES else b""
    return key + length + bytes(value)


def int_field(number: int, value: int) -> bytes:
    return encode_field(number, VARINT, value)


def bytes_field(number: int, content: bytes | str) -> bytes:
    return encode_field(number, BYTES, content.encode("utf-8") if isinstance(content, str) else content)


def map_entry(number: int, key: str, value: bytes) -> bytes:
    return bytes_field(number, bytes_field(1, key) + bytes_field(2, value))


def encode_value_type(tensor: TensorType) -> bytes:
    """A ValueType: a tensor of fixed shape."""
    sizes = b"".join(bytes_field(3, bytes_field(1, int_field(1, size))) for size in tensor.shape)
    rank = int_field(2, len(tensor.shape)) if tensor.shape else b""
    return bytes_field(1, int_field(1, tensor.dtype) + rank + sizes)


def stored(tensor: TensorType, reference: BlobReference) -> bytes:
    """A Value in the weight file."""
    place = bytes_field(1, reference.file_name) + int_field(2, reference.offset)
    return bytes_field(2, encode_value_type(tensor)) + bytes_field(5, place)


def immediate_shape(shape: tuple[int, ...]) -> bytes:
    """A Value of uint32 numbers in the program itself, as packed bytes."""
    tensor = TensorType(DataType.UINT32, (len(shape),))
    content = bytes_field(7, bytes_field(1, struct.pack(f"<{len(shape)}I", *shape)))
    return bytes_field(2, encode_value_type(tensor)) + bytes_field(3, bytes_field(1, content))


def immediate_text(text: str) -> bytes:
    """A Value of type string in the program itself."""
    tensor = TensorType(DataType.STRING, ())
    content = bytes_field(4, bytes_field(1, text))
    return bytes_field(2, encode_value_type(tensor)) + bytes_field(3, bytes_field(1, content))


def encode_operation(
    kind: str,
    output: str,
    result: TensorType,
    inputs: Mapping[str, bytes],
    attributes: Mapping[str, bytes],
) -> bytes:
    """An Operation of one result; inputs and attributes are Values, by parameter, written in their order."""
    parts = [bytes_field(1, kind)]
    for parameter, value in inputs.items():
        parts.append(map_entry(2, parameter, bytes_field(1, bytes_field(2, value))))
    parts.append(bytes_field(3, bytes_field(1, output) + bytes_field(2, encode_value_type(result))))
    for parameter, value in attributes.items():
        parts.append(map_entry(5, parameter, value))
    return b"".join(parts)
