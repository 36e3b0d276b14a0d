"""The weight file of an ML program: MIL blob storage, version 2, memory-mapped.

Layout (apple/coremltools mlmodel/src/MILBlob/Blob/StorageFormat.hpp), all little-endian: a 64-byte
header (uint32 count, uint32 version, reserved); then, each aligned to 64 bytes, pairs of a 64-byte
metadata record (uint32 sentinel 0xDEADBEEF, uint32 data type, uint64 size in bytes, uint64 offset
of the data, uint64 unused bits at the end of data smaller than a byte, reserved) and the data.
A program refers to a value by the offset of its metadata.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audio2img.errors import ModelError, reason_of
from audio2img.mlprogram.mil import DataType, TensorType

HEADER = struct.Struct("<II56x")
METADATA = struct.Struct("<IIQQQ32x")
VERSION = 2
SENTINEL = 0xDEADBEEF
REMEDY = "get or convert the model again"
CORE_ML_ONLY = "run it on a Mac, or convert the model again: audio2img models convert"

STORED_TYPES = {
    1: DataType.FLOAT16,
    2: DataType.FLOAT32,
    3: DataType.UINT8,
    4: DataType.INT8,
    5: DataType.BFLOAT16,
    6: DataType.INT16,
    7: DataType.UINT16,
    8: DataType.INT4,
    9: DataType.UINT1,
    10: DataType.UINT2,
    11: DataType.UINT4,
    12: DataType.UINT3,
    13: DataType.UINT6,
    14: DataType.INT32,
    15: DataType.UINT32,
}
"""BlobDataType of BlobDataType.hpp; its 8-bit floats have no NumPy type and are not read."""

NUMPY_TYPES: dict[DataType, np.dtype[np.generic]] = {
    DataType.BOOL: np.dtype("?"),
    DataType.FLOAT16: np.dtype("<f2"),
    DataType.FLOAT32: np.dtype("<f4"),
    DataType.FLOAT64: np.dtype("<f8"),
    DataType.INT8: np.dtype("i1"),
    DataType.INT16: np.dtype("<i2"),
    DataType.INT32: np.dtype("<i4"),
    DataType.INT64: np.dtype("<i8"),
    DataType.UINT8: np.dtype("u1"),
    DataType.UINT16: np.dtype("<u2"),
    DataType.UINT32: np.dtype("<u4"),
    DataType.UINT64: np.dtype("<u8"),
}
SUB_BYTE_BITS = {
    DataType.UINT1: 1,
    DataType.UINT2: 2,
    DataType.UINT3: 3,
    DataType.UINT4: 4,
    DataType.INT4: 4,
    DataType.UINT6: 6,
}


def element_bits(dtype: DataType) -> int:
    """The size of one stored element in bits. Raises ModelError for a type that is not stored."""
    if dtype in SUB_BYTE_BITS:
        return SUB_BYTE_BITS[dtype]
    if dtype is DataType.BFLOAT16:
        return 16
    if dtype in NUMPY_TYPES:
        return 8 * NUMPY_TYPES[dtype].itemsize
    raise ModelError(f"values of type {dtype.name.lower()} cannot be read", CORE_ML_ONLY)


def unpack_bits(
    packed: NDArray[np.uint8], bits: int, count: int, signed: bool = False
) -> NDArray[np.generic]:
    """`count` integers of `bits` bits each as uint8 (int8 if signed).

    packed: (n,) uint8; the integers follow each other from the lowest bit of the first byte upward,
    across byte borders.
    """
    if bits == 8:
        return packed[:count].view(np.int8) if signed else packed[:count]
    # The smallest row of whole bytes that holds whole integers: 3 bytes for 3 and 6 bits, else 1.
    row_bytes = math.lcm(bits, 8) // 8
    rows = np.zeros((-(-len(packed) // row_bytes), row_bytes), dtype=np.uint32)
    rows.reshape(-1)[: len(packed)] = packed
    words = (rows << (8 * np.arange(row_bytes, dtype=np.uint32))).sum(axis=1, dtype=np.uint32)
    shifts = np.arange(0, 8 * row_bytes, bits, dtype=np.uint32)
    values: NDArray[np.uint8] = (
        ((words[:, None] >> shifts) & ((1 << bits) - 1)).astype(np.uint8).reshape(-1)[:count]
    )
    if not signed:
        return values
    sign = 1 << (bits - 1)
    extended: NDArray[np.int16] = (values ^ sign).astype(np.int16) - sign
    return extended.astype(np.int8)


def decode_elements(packed: NDArray[np.uint8], tensor: TensorType) -> NDArray[np.generic]:
    """The tensor whose stored bytes are `packed`: a view of them where NumPy knows the type.

    bfloat16 becomes float32, integers below a byte become uint8 or int8. The number of bytes must
    fit the shape exactly: raises ModelError otherwise.
    """
    count = math.prod(tensor.shape)
    expected = (count * element_bits(tensor.dtype) + 7) // 8
    if count < 0 or len(packed) != expected:
        what = f"a tensor of shape {list(tensor.shape)} has {len(packed)} bytes, not {expected}"
        raise ModelError(what, REMEDY)
    if tensor.dtype in SUB_BYTE_BITS:
        signed = tensor.dtype is DataType.INT4
        return unpack_bits(packed, SUB_BYTE_BITS[tensor.dtype], count, signed).reshape(tensor.shape)
    if tensor.dtype is DataType.BFLOAT16:
        wide = packed.view("<u2").astype(np.uint32) << 16
        return wide.view(np.float32).reshape(tensor.shape)
    return packed.view(NUMPY_TYPES[tensor.dtype]).reshape(tensor.shape)


@dataclass(frozen=True)
class BlobRecord:
    """What the metadata of a value says: its type's code (a key of STORED_TYPES if it can be read),
    where its data starts in the file, how many bytes it has, and how many bits at its end are unused."""

    code: int
    start: int
    size: int
    unused_bits: int


class WeightFile:
    """A weight file, mapped, read only. Raises ModelError, naming the file, for whatever is wrong with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if not path.is_file():  # a pipe would be waited for
                raise OSError(f"there is no regular file {path}")
            self._bytes: NDArray[np.uint8] = np.memmap(path, dtype=np.uint8, mode="r")
        except (OSError, ValueError) as error:
            raise ModelError(f"the weights {path} cannot be read: {reason_of(error)}", REMEDY) from error
        if len(self._bytes) < HEADER.size:
            raise ModelError(f"the weights {path} are cut off", REMEDY)
        _, version = HEADER.unpack(self._bytes[: HEADER.size].tobytes())
        if version != VERSION:
            raise ModelError(f"the weights {path} are of format {version}, not {VERSION}, or damaged", REMEDY)

    def read(self, offset: int, tensor: TensorType) -> NDArray[np.generic]:
        """The value whose metadata is at `offset`, which must be of the type `tensor`."""
        record = self.record(offset)
        if STORED_TYPES.get(record.code) is not tensor.dtype:
            raise ModelError(
                f"the weights {self.path} are damaged: the value at {offset} has the type {record.code}, "
                f"not {tensor.dtype.name.lower()}",
                REMEDY,
            )
        try:
            return decode_elements(self.raw(record), tensor)
        except ModelError as error:
            raise ModelError(
                f"the weights {self.path} are damaged at {offset}: {error.message}", REMEDY
            ) from error

    def record(self, offset: int) -> BlobRecord:
        """The metadata at `offset`, whose data lies within the file."""
        if not HEADER.size <= offset <= len(self._bytes) - METADATA.size:
            raise ModelError(f"the weights {self.path} end before the value at {offset}", REMEDY)
        sentinel, code, size, start, unused_bits = METADATA.unpack(
            self._bytes[offset : offset + METADATA.size].tobytes()
        )
        if sentinel != SENTINEL:
            raise ModelError(f"the weights {self.path} are damaged: no value at {offset}", REMEDY)
        if start > len(self._bytes) or size > len(self._bytes) - start:
            raise ModelError(f"the weights {self.path} end within the value at {offset}", REMEDY)
        return BlobRecord(code, start, size, unused_bits)

    def raw(self, record: BlobRecord) -> NDArray[np.uint8]:
        """(size,) the bytes of a value, a read-only view of the file."""
        return self._bytes[record.start : record.start + record.size].view(np.ndarray)
