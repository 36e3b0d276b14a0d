"""The weight file: every stored type comes back, damage is named."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio2img.errors import ModelError
from audio2img.mlprogram.mil import DataType, TensorType
from audio2img.mlprogram.weights import SUB_BYTE_BITS, WeightFile, decode_elements, unpack_bits


def write_blob(path: Path, code: int, data: bytes, sentinel: int = 0xDEADBEEF, version: int = 2) -> Path:
    header = struct.pack("<II56x", 1, version)
    path.write_bytes(header + struct.pack("<IIQQQ32x", sentinel, code, len(data), 128, 0) + data)
    return path


@pytest.mark.parametrize(
    ("code", "dtype", "array"),
    [
        (1, DataType.FLOAT16, np.array([1.5, -2, 65504, 6e-8], dtype=np.float16)),
        (2, DataType.FLOAT32, np.array([[1.5, -2], [np.inf, 1e-45]], dtype=np.float32)),
        (3, DataType.UINT8, np.arange(256, dtype=np.uint8)),
        (4, DataType.INT8, np.arange(-128, 128, dtype=np.int8)),
        (6, DataType.INT16, np.array([-32768, 32767], dtype=np.int16)),
        (7, DataType.UINT16, np.array([0, 65535], dtype=np.uint16)),
        (14, DataType.INT32, np.array([-(2**31), 2**31 - 1], dtype=np.int32)),
        (15, DataType.UINT32, np.array([0, 2**32 - 1], dtype=np.uint32)),
    ],
)
def test_whole_types_come_back(tmp_path: Path, code: int, dtype: DataType, array: np.ndarray) -> None:
    file = WeightFile(write_blob(tmp_path / "w.bin", code, array.tobytes()))
    found = file.read(64, TensorType(dtype, array.shape))
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_bfloat16_is_the_upper_half_of_float32(tmp_path: Path) -> None:
    exact = np.array([1.0, -0.5, 3.140625, 2.0**100], dtype=np.float32)
    halves = (exact.view(np.uint32) >> 16).astype(np.uint16)
    file = WeightFile(write_blob(tmp_path / "w.bin", 5, halves.tobytes()))
    np.testing.assert_array_equal(file.read(64, TensorType(DataType.BFLOAT16, (2, 2))).reshape(-1), exact)


@given(st.sampled_from(sorted(SUB_BYTE_BITS)), st.data())
def test_small_integers_come_back(tools: Any, dtype: DataType, data: st.DataObject) -> None:
    bits = SUB_BYTE_BITS[dtype]
    low, high = (-8, 7) if dtype is DataType.INT4 else (0, 2**bits - 1)
    values = data.draw(st.lists(st.integers(low, high), max_size=70))
    packed = np.frombuffer(tools.pack_bits(values, bits), dtype=np.uint8)
    found = decode_elements(packed, TensorType(dtype, (len(values),)))
    assert found.tolist() == values


def test_the_documented_packing_of_two_bits() -> None:
    packed = np.array([0b01_10_11_00, 0b00_00_00_11], dtype=np.uint8)
    assert unpack_bits(packed, 2, 5).tolist() == [0b00, 0b11, 0b10, 0b01, 0b11]


@pytest.mark.parametrize(
    ("shape", "n_bytes"), [((3,), 5), ((3,), 7), ((), 0), ((2**40, 2**20), 6), ((0,), 1)]
)
def test_a_size_that_does_not_fit_the_shape_is_refused(shape: tuple[int, ...], n_bytes: int) -> None:
    assert n_bytes != 2 * math.prod(shape)
    with pytest.raises(ModelError, match="bytes"):
        decode_elements(np.zeros(n_bytes, dtype=np.uint8), TensorType(DataType.FLOAT16, shape))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [({"version": 1}, "format 1"), ({"sentinel": 0xDEADBEEE}, "no value at 64"), ({"code": 2}, "type 2")],
)
def test_damaged_records_are_named(tmp_path: Path, keywords: dict[str, int], message: str) -> None:
    path = write_blob(tmp_path / "w.bin", **{"code": 1, "data": b"\0" * 8, **keywords})
    with pytest.raises(ModelError, match=message) as caught:
        WeightFile(path).read(64, TensorType(DataType.FLOAT16, (4,)))
    assert str(path) in caught.value.message


@pytest.mark.parametrize("size", [0, 1, 63, 100, 127, 131])
def test_a_cut_file_is_refused(tmp_path: Path, size: int) -> None:
    path = write_blob(tmp_path / "w.bin", 1, b"\0" * 8)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ModelError, match=r"w\.bin"):
        WeightFile(path).read(64, TensorType(DataType.FLOAT16, (4,)))


@pytest.mark.parametrize("offset", [0, 1, 63, 2**63, 2**64 - 1, 65])
def test_an_offset_without_a_value_is_refused(tmp_path: Path, offset: int) -> None:
    file = WeightFile(write_blob(tmp_path / "w.bin", 1, b"\0" * 8))
    with pytest.raises(ModelError):
        file.read(offset, TensorType(DataType.FLOAT16, (4,)))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        WeightFile(tmp_path / "none.bin")
