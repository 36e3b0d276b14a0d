"""Packages written from nothing, byte by byte, so that the reader is tested without its oracle."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

MIL_TYPES = {
    "bool": 1,
    "str": 2,
    "float16": 10,
    "float32": 11,
    "int8": 21,
    "int32": 23,
    "uint8": 31,
    "uint32": 33,
    "uint4": 35,
    "uint2": 36,
    "uint1": 37,
    "uint6": 38,
    "uint3": 39,
    "int4": 25,
}
BLOB_TYPES = {"float16": 1, "float32": 2, "uint8": 3, "int8": 4, "int4": 8, "uint1": 9, "uint2": 10,
              "uint4": 11, "uint3": 12, "uint6": 13, "int32": 14}  # fmt: skip
ARRAY_TYPES = {"float16": 65552, "float32": 65568, "int32": 131104}


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def number_field(field_number: int, value: int) -> bytes:
    return varint(field_number << 3) + varint(value)


def bytes_field(field_number: int, content: bytes | str) -> bytes:
    data = content.encode() if isinstance(content, str) else content
    return varint(field_number << 3 | 2) + varint(len(data)) + data


def map_entry(field_number: int, key: str, value: bytes) -> bytes:
    return bytes_field(field_number, bytes_field(1, key) + bytes_field(2, value))


def tensor_type(dtype: str, shape: Sequence[int]) -> bytes:
    sizes = b"".join(bytes_field(3, bytes_field(1, number_field(1, size))) for size in shape)
    return bytes_field(1, number_field(1, MIL_TYPES[dtype]) + number_field(2, len(shape)) + sizes)


def pack_bits(values: Sequence[int], bits: int) -> bytes:
    """`values` one after the other from the lowest bit up."""
    total = sum((value & ((1 << bits) - 1)) << (bits * index) for index, value in enumerate(values))
    return total.to_bytes((bits * len(values) + 7) // 8, "little")


@dataclass(frozen=True)
class Ref:
    """The name of a value, as an operand."""

    name: str


@dataclass(frozen=True)
class Stored:
    """An operand in the weight file. dtype: only for types NumPy lacks, with `data` already packed."""

    array: Any
    dtype: str = ""
    shape: tuple[int, ...] = ()
    data: bytes = b""


@dataclass
class WeightWriter:
    """Collects blobs as MIL blob storage lays them out."""

    content: bytearray = field(default_factory=lambda: bytearray(64))
    count: int = 0

    def add(self, dtype: str, data: bytes) -> int:
        self.content.extend(b"\0" * (-len(self.content) % 64))
        offset = len(self.content)
        self.content += struct.pack("<IIQQQ32x", 0xDEADBEEF, BLOB_TYPES[dtype], len(data), offset + 64, 0)
        self.content += data
        self.count += 1
        self.content[:64] = struct.pack("<II56x", self.count, 2)
        return offset


def encode_value(value: Any, weights: WeightWriter) -> bytes:
    """A MILSpec Value: a text, an immediate tensor, or a reference into the weight file."""
    if isinstance(value, str):
        texts = bytes_field(4, bytes_field(1, value))
        return bytes_field(2, tensor_type("str", ())) + bytes_field(3, bytes_field(1, texts))
    if isinstance(value, Stored):
        array = np.asarray(value.array)
        dtype, shape = value.dtype or array.dtype.name, value.shape or array.shape
        offset = weights.add(dtype, value.data or array.tobytes())
        reference = bytes_field(1, "@model_path/weights/weight.bin") + number_field(2, offset)
        return bytes_field(2, tensor_type(dtype, shape)) + bytes_field(5, reference)
    array = np.asarray(value)
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    if array.dtype == np.int64:
        array = array.astype(np.int32)
    kind = bytes_field(2, tensor_type(array.dtype.name, array.shape))
    if array.dtype == np.float32:
        content = bytes_field(1, bytes_field(1, array.tobytes()))
    elif array.dtype == np.int32:
        content = bytes_field(2, bytes_field(1, b"".join(varint(int(x)) for x in array.reshape(-1))))
    elif array.dtype == np.bool_:
        content = bytes_field(3, bytes_field(1, b"".join(varint(int(x)) for x in array.reshape(-1))))
    else:
        content = bytes_field(7, bytes_field(1, array.tobytes()))
    return kind + bytes_field(3, bytes_field(1, content))


@dataclass(frozen=True)
class Op:
    """An operation: operands are Refs, lists of Refs, Stored, or plain constants; outputs by name."""

    kind: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, tuple[tuple[int, ...], str]]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def encode(self, weights: WeightWriter) -> bytes:
        out = bytes_field(1, self.kind)
        for name, value in self.inputs.items():
            rows = value if isinstance(value, list) and value and isinstance(value[0], Ref) else [value]
            bindings = b"".join(
                bytes_field(1, bytes_field(1, row.name))
                if isinstance(row, Ref)
                else bytes_field(1, bytes_field(2, encode_value(row, weights)))
                for row in rows
            )
            out += map_entry(2, name, bindings)
        for name, (shape, dtype) in self.outputs.items():
            out += bytes_field(3, bytes_field(1, name) + bytes_field(2, tensor_type(dtype, shape)))
        for name, value in self.attributes.items():
            out += map_entry(5, name, encode_value(value, weights))
        return out


Arrays = Mapping[str, tuple[tuple[int, ...], str]]


def write_package(path: Path, inputs: Arrays, operations: Sequence[Op], outputs: Arrays) -> Path:
    """A package at `path` with `operations` as its "main"; inputs, outputs: name -> (shape, type)."""
    weights = WeightWriter()
    encoded = [operation.encode(weights) for operation in operations]
    return write_program(path, inputs, encoded, outputs, bytes(weights.content))


def write_program(
    path: Path, inputs: Arrays, operations: Sequence[bytes], outputs: Arrays, weights: bytes = b""
) -> Path:
    """The same of operations that are encoded already."""

    def feature(field_number: int, name: str, shape: tuple[int, ...], dtype: str) -> bytes:
        sizes = bytes_field(1, b"".join(varint(size) for size in shape)) if shape else b""
        array = bytes_field(5, sizes + number_field(2, ARRAY_TYPES[dtype]))
        return bytes_field(field_number, bytes_field(1, name) + bytes_field(3, array))

    description = b"".join(feature(1, name, *spec) for name, spec in inputs.items())
    description += b"".join(feature(10, name, *spec) for name, spec in outputs.items())
    block = b"".join(bytes_field(2, name) for name in outputs)
    block += b"".join(bytes_field(3, operation) for operation in operations)
    function = b"".join(
        bytes_field(1, bytes_field(1, name) + bytes_field(2, tensor_type(dtype, shape)))
        for name, (shape, dtype) in inputs.items()
    )
    function += bytes_field(2, "CoreML6") + map_entry(3, "CoreML6", block)
    program = number_field(1, 1) + map_entry(2, "main", function)
    model = number_field(1, 7) + bytes_field(2, description) + bytes_field(502, program)

    data = path / "Data" / "com.apple.CoreML"
    (data / "weights").mkdir(parents=True)
    (data / "model.mlmodel").write_bytes(model)
    (data / "weights" / "weight.bin").write_bytes(weights)
    manifest = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": {"A": {"path": "com.apple.CoreML/model.mlmodel", "author": "com.apple.CoreML"}},
        "rootModelIdentifier": "A",
    }
    (path / "Manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return path


def split_package(package: Path, first: Path, second: Path) -> None:
    """A package cut in the middle of its program, as Apple's --chunk-unet does: each half takes what it
    needs of the original inputs, the second also what the first hands over."""
    from audio2img.mlprogram import mil
    from audio2img.mlprogram.mlpackage import find_model_file
    from audio2img.mlprogram.protobuf import as_bytes, iter_fields, read_map_entry

    data = memoryview(find_model_file(package).read_bytes())
    spec = mil.parse_model(data)
    assert spec.program is not None
    function = mil.parse_function(spec.program)
    body = next(read_map_entry(v)[1] for n, _, v in iter_fields(spec.program) if n == 2)
    block = next(read_map_entry(v)[1] for n, _, v in iter_fields(body) if n == 3)
    raw = [bytes(as_bytes(v)) for n, _, v in iter_fields(block) if n == 3]
    fixed = {i for i, op in enumerate(function.operations) if op.type.startswith("const")}
    moving = [i for i in range(len(raw)) if i not in fixed]
    halves = (moving[: len(moving) // 2], moving[len(moving) // 2 :])

    def named(indices: list[int]) -> tuple[set[str], dict[str, Any]]:
        operations = [function.operations[i] for i in indices]
        used = {a.name for op in operations for row in op.inputs.values() for a in row if a.name}
        return used, {out.name: out.type for op in operations for out in op.outputs}

    (used_1, made_1), (used_2, _) = named(halves[0]), named(halves[1])
    handed = {name: kind for name, kind in made_1.items() if name in used_2 or name in function.outputs}
    arrays = {name: (kind.shape, kind.dtype.name.lower()) for name, kind in handed.items()}
    types = {
        value.name: (value.type.shape, value.type.dtype.name.lower())
        for value in function.inputs
        if value.type
    }
    result = {
        out.name: (out.type.shape, out.type.dtype.name.lower())
        for op in function.operations for out in op.outputs if out.name in function.outputs and out.type
    }  # fmt: skip
    for dest, indices, used, more, outputs in (
        (first, halves[0], used_1, {}, arrays), (second, halves[1], used_2, arrays, result),
    ):  # fmt: skip
        inputs = {name: kind for name, kind in types.items() if name in used} | more
        kept = [raw[i] for i in sorted(fixed | set(indices))]
        write_program(dest, inputs, kept, outputs)
        weights = package / "Data/com.apple.CoreML/weights/weight.bin"
        (dest / "Data/com.apple.CoreML/weights/weight.bin").write_bytes(weights.read_bytes())


PackageWriter = Callable[[Arrays, Sequence[Op], Arrays], Path]


@pytest.fixture
def make_package(tmp_path: Path) -> PackageWriter:
    """write_package into a new folder of the test's own."""
    made: list[Path] = []

    def make(inputs: Arrays, operations: Sequence[Op], outputs: Arrays) -> Path:
        made.append(tmp_path / f"model{len(made)}.mlpackage")
        return write_package(made[-1], inputs, operations, outputs)

    return make


@pytest.fixture(scope="session")
def tools() -> Any:
    """The names above, for tests that build programs (a conftest cannot be imported)."""
    from types import SimpleNamespace

    return SimpleNamespace(
        Op=Op, Ref=Ref, Stored=Stored, pack_bits=pack_bits, bytes_field=bytes_field,
        number_field=number_field, varint=varint, write_package=write_package, split_package=split_package,
    )  # fmt: skip


@pytest.fixture
def run_op(make_package: PackageWriter) -> Callable[..., np.ndarray[Any, Any]]:
    """run_op(kind, operands, parameters, shape, dtype): the result of one operation by the reference runtime.

    operands: arrays that the model is given as inputs; parameters: constants in the program.
    """
    from audio2img.mlprogram.mlpackage import Package
    from audio2img.mlprogram.reference import ReferenceModel

    def run(
        kind: str,
        operands: Mapping[str, Any],
        parameters: Mapping[str, Any],
        shape: tuple[int, ...],
        dtype: str = "float32",
    ) -> np.ndarray[Any, Any]:
        inputs = {
            f"in_{name}_{index}": array
            for name, value in operands.items()
            for index, array in enumerate(value if isinstance(value, list) else [value])
        }
        refs = {
            name: [Ref(f"in_{name}_{index}") for index in range(len(value))]
            if isinstance(value, list)
            else Ref(f"in_{name}_0")
            for name, value in operands.items()
        }
        package = make_package(
            {name: (array.shape, array.dtype.name) for name, array in inputs.items()},
            [Op(kind, {**refs, **parameters}, {"out": (shape, dtype)})],
            {"out": (shape, "int32" if dtype in ("bool", "int32") else "float32")},
        )
        return ReferenceModel(Package(package)).predict(inputs)["out"]

    return run
