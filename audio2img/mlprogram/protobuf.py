"""The protobuf wire format read and written, for the few messages of a Core ML model that are needed.

The format is published at https://protobuf.dev/programming-guides/encoding/: a message is a row
of fields, each a varint key (field number * 8 + wire type) and a value. Unknown fields are
skipped, as protobuf demands; anything malformed raises WireError and nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

Field = tuple[int, int, "int | memoryview"]
"""Field number, wire type, value: an int for a varint, else the bytes of the value."""

VARINT = 0
FIXED64 = 1
BYTES = 2
FIXED32 = 5

MAX_VARINT_BYTES = 10
UINT64_MASK = (1 << 64) - 1


class WireError(ValueError):
    """The bytes are not a protobuf message of the expected shape."""


def read_varint(data: memoryview, position: int) -> tuple[int, int]:
    """The unsigned integer at `position`, at most 64 bits, and the position after it."""
    result = 0
    for index in range(MAX_VARINT_BYTES):
        if position >= len(data):
            raise WireError("a number is cut off")
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return result & UINT64_MASK, position
    raise WireError("a number is too long")


def iter_fields(data: memoryview) -> Iterator[Field]:
    """The fields of a message in file order. Raises WireError on damage, after the sound fields."""
    position, end = 0, len(data)
    while position < end:
        key = data[position]
        if key < 0x80:
            position += 1
        else:
            key, position = read_varint(data, position)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise WireError("a field has the number 0")
        if wire_type == BYTES:
            size, position = read_varint(data, position)
        elif wire_type == VARINT:
            value, position = read_varint(data, position)
            yield number, wire_type, value
            continue
        elif wire_type == FIXED32:
            size = 4
        elif wire_type == FIXED64:
            size = 8
        else:
            raise WireError(f"a field has the unknown wire type {wire_type}")
        if size > end - position:
            raise WireError("a field reaches past the end")
        yield number, wire_type, data[position : position + size]
        position += size


def as_int(value: int | memoryview) -> int:
    """The value of a varint field."""
    if not isinstance(value, int):
        raise WireError("a number was expected")
    return value


def as_signed(value: int | memoryview) -> int:
    """The value of an int32 or int64 field: 64-bit two's complement in a varint."""
    number = as_int(value)
    return number - (1 << 64) if number >> 63 else number


def as_bytes(value: int | memoryview) -> memoryview:
    """The value of a bytes, string or message field."""
    if isinstance(value, int):
        raise WireError("bytes were expected")
    return value


def as_text(value: int | memoryview) -> str:
    """The value of a string field."""
    try:
        return str(as_bytes(value), "utf-8")
    except UnicodeDecodeError as error:
        raise WireError("a text is not UTF-8") from error


def read_varints(value: int | memoryview) -> list[int]:
    """One element of an unpacked repeated integer field, or all elements of a packed one; signed."""
    if isinstance(value, int):
        return [as_signed(value)]
    numbers, position = [], 0
    while position < len(value):
        number, position = read_varint(value, position)
        numbers.append(as_signed(number))
    return numbers


def read_floats(value: int | memoryview, code: str = "f") -> list[float]:
    """The elements of a packed or unpacked repeated float ("f") or double ("d") field."""
    data = as_bytes(value)
    size = struct.calcsize(code)
    if len(data) % size:
        raise WireError("a row of floats is cut off")
    return list(struct.unpack(f"<{len(data) // size}{code}", data))


def read_map_entry(value: int | memoryview) -> tuple[str, memoryview]:
    """Key and value of an entry of a map from string to message; a missing value is an empty message."""
    key, content = "", memoryview(b"")
    for number, _, field in iter_fields(as_bytes(value)):
        if number == 1:
            key = as_text(field)
        elif number == 2:
            content = as_bytes(field)
    return key, content


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
    """One field as `iter_fields` gives it."""
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
