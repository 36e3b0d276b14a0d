"""The protobuf reader: what is written comes back, what is damaged is a WireError."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio2img.mlprogram.protobuf import (
    WireError,
    as_signed,
    as_text,
    iter_fields,
    read_floats,
    read_map_entry,
    read_varint,
    read_varints,
)


@pytest.mark.parametrize(
    ("data", "number"), [(b"\x00", 0), (b"\x96\x01", 150), (b"\xff" * 9 + b"\x01", 2**64 - 1)]
)
def test_varints_of_the_specification(data: bytes, number: int) -> None:
    assert read_varint(memoryview(data), 0) == (number, len(data))


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_packed_integers_come_back(tools: Any, numbers: list[int]) -> None:
    packed = b"".join(tools.varint(number) for number in numbers)
    assert read_varints(memoryview(packed)) == numbers
    for number in numbers:
        ((_, _, value),) = iter_fields(memoryview(tools.number_field(3, number)))
        assert as_signed(value) == number


@given(st.text(), st.binary())
def test_map_entries_come_back(tools: Any, key: str, content: bytes) -> None:
    entry = tools.bytes_field(1, key.encode("utf-8")) + tools.bytes_field(2, content)
    found_key, found = read_map_entry(memoryview(entry))
    assert (found_key, bytes(found)) == (key, content)


def test_unknown_fields_are_skipped_and_all_wire_types_read() -> None:
    data = b"\x08\x05" + b"\x11" + struct.pack("<d", 2.5) + b"\x1d" + struct.pack("<f", 1.5) + b"\x22\x01a"
    fields = {number: value for number, _, value in iter_fields(memoryview(data))}
    assert fields[1] == 5
    assert read_floats(fields[2], "d") == [2.5]
    assert read_floats(fields[3]) == [1.5]
    assert as_text(fields[4]) == "a"


@pytest.mark.parametrize(
    "data",
    [b"\x08", b"\x0a\x05ab", b"\x0b", b"\x00\x01", b"\x0d\x00\x00", b"\x08" + b"\xff" * 10, b"\x0e\x00"],
    ids=["no value", "cut bytes", "group", "field 0", "cut float", "endless number", "wire type 6"],
)
def test_damage_is_a_wire_error(data: bytes) -> None:
    with pytest.raises(WireError):
        list(iter_fields(memoryview(data)))


@given(st.binary(max_size=200))
def test_any_bytes_are_fields_or_a_wire_error(data: bytes) -> None:
    try:
        total = sum(1 for _ in iter_fields(memoryview(data)))
    except WireError:
        return
    assert total <= len(data)
