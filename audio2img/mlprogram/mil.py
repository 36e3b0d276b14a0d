"""The ML program of a Core ML model: its functions, operations and values, as plain data.

Field numbers are those of apple/coremltools mlmodel/format/Model.proto, FeatureTypes.proto and
MIL.proto. Only what running a program needs is kept; damaged bytes raise WireError.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

from audio2img.mlprogram.protobuf import (
    WireError,
    as_bytes,
    as_int,
    as_text,
    iter_fields,
    read_floats,
    read_map_entry,
    read_varints,
)

UNKNOWN_DIMENSION = -1
MAX_DIMENSION = 1 << 40


class DataType(IntEnum):
    """MILSpec.DataType."""

    BOOL = 1
    STRING = 2
    FLOAT16 = 10
    FLOAT32 = 11
    FLOAT64 = 12
    BFLOAT16 = 13
    INT8 = 21
    INT16 = 22
    INT32 = 23
    INT64 = 24
    INT4 = 25
    UINT8 = 31
    UINT16 = 32
    UINT32 = 33
    UINT64 = 34
    UINT4 = 35
    UINT2 = 36
    UINT1 = 37
    UINT6 = 38
    UINT3 = 39
    FLOAT8E4M3FN = 40
    FLOAT8E5M2 = 41


@dataclass(frozen=True)
class TensorType:
    """dtype: what the elements are; shape: sizes, UNKNOWN_DIMENSION where the program leaves one open."""

    dtype: DataType
    shape: tuple[int, ...]


@dataclass(frozen=True)
class BlobReference:
    """A value in a weight file: the file as the program names it, the offset of its metadata in bytes."""

    file_name: str
    offset: int


@dataclass(frozen=True)
class Value:
    """A constant. data: its elements as numbers, texts or packed bytes, or where they are on file.

    type is None for lists, tuples and dictionaries, which no operation here takes.
    """

    type: TensorType | None
    data: tuple[float, ...] | tuple[str, ...] | bytes | BlobReference | None


@dataclass(frozen=True)
class Argument:
    """What is bound to an input: the name of an earlier result, or a value (one of the two)."""

    name: str | None
    value: Value | None


@dataclass(frozen=True)
class NamedType:
    """A name and its tensor type; type is None for anything that is no tensor."""

    name: str
    type: TensorType | None


@dataclass(frozen=True)
class Operation:
    """One operation. inputs: per parameter one argument, or several where it takes a list."""

    type: str
    inputs: dict[str, tuple[Argument, ...]]
    outputs: tuple[NamedType, ...]
    attributes: dict[str, Value]

    @property
    def name(self) -> str:
        """The name of its first result, for messages."""
        return self.outputs[0].name if self.outputs else ""


@dataclass(frozen=True)
class Function:
    """A function's inputs, its operations in order, and the names of the results it returns."""

    opset: str
    inputs: tuple[NamedType, ...]
    outputs: tuple[str, ...]
    operations: tuple[Operation, ...]


@dataclass(frozen=True)
class Feature:
    """An input or output as the model's description declares it.

    array_type: the code of ArrayFeatureType.ArrayDataType, 0 for anything but a multi-array.
    """

    name: str
    shape: tuple[int, ...]
    array_type: int
    optional: bool = False


@dataclass(frozen=True)
class ModelSpec:
    """A Core ML model: its description, and its ML program as undecoded bytes (None: another kind)."""

    version: int
    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]
    metadata: dict[str, str] = field(default_factory=dict)
    default_function: str = "main"
    program: memoryview | None = None


def parse_model(data: memoryview) -> ModelSpec:
    """Model.proto's Model; the ML program is left undecoded."""
    version, description, program = 0, memoryview(b""), None
    for number, _, value in iter_fields(data):
        if number == 1:
            version = as_int(value)
        elif number == 2:
            description = as_bytes(value)
        elif number == 502:
            program = as_bytes(value)
    inputs: list[Feature] = []
    outputs: list[Feature] = []
    metadata: dict[str, str] = {}
    functions: dict[str, memoryview] = {}
    default_function = ""
    for number, _, value in iter_fields(description):
        if number == 1:
            inputs.append(_parse_feature(as_bytes(value)))
        elif number == 10:
            outputs.append(_parse_feature(as_bytes(value)))
        elif number == 20:
            body = as_bytes(value)
            functions[_text_field(body, 1)] = body
        elif number == 21:
            default_function = as_text(value)
        elif number == 100:
            metadata = _parse_metadata(as_bytes(value))
    default_function = default_function or "main"
    if default_function in functions:  # a model of several functions describes each on its own
        for number, _, value in iter_fields(functions[default_function]):
            if number == 2:
                inputs.append(_parse_feature(as_bytes(value)))
            elif number == 3:
                outputs.append(_parse_feature(as_bytes(value)))
    return ModelSpec(version, tuple(inputs), tuple(outputs), metadata, default_function, program)


def _text_field(data: memoryview, wanted: int) -> str:
    for number, _, value in iter_fields(data):
        if number == wanted:
            return as_text(value)
    return ""


def _parse_metadata(data: memoryview) -> dict[str, str]:
    """Metadata: description, version, author and licence under their names, and what users defined."""
    names = {1: "shortDescription", 2: "versionString", 3: "author", 4: "license"}
    result: dict[str, str] = {}
    for number, _, value in iter_fields(data):
        if number in names:
            result[names[number]] = as_text(value)
        elif number == 100:
            key, content = read_map_entry(value)
            result[key] = as_text(content)
    return result


def _parse_feature(data: memoryview) -> Feature:
    """FeatureDescription with its FeatureType and ArrayFeatureType."""
    name, array_type, optional = "", 0, False
    shape: tuple[int, ...] = ()
    for number, _, value in iter_fields(data):
        if number == 1:
            name = as_text(value)
        elif number == 3:
            for kind, _, content in iter_fields(as_bytes(value)):
                if kind == 5:
                    shape, array_type = _parse_array_type(as_bytes(content))
                elif kind == 1000:
                    optional = bool(as_int(content))
    return Feature(name, shape, array_type, optional)


def _parse_array_type(data: memoryview) -> tuple[tuple[int, ...], int]:
    shape: list[int] = []
    array_type = 0
    for number, _, value in iter_fields(data):
        if number == 1:
            shape += read_varints(value)
        elif number == 2:
            array_type = as_int(value)
    return tuple(shape), array_type


def parse_function(program: memoryview, wanted: str = "main") -> Function:
    """The function `wanted` of a MIL program, in the specialization for its own opset."""
    functions: dict[str, memoryview] = {}
    for number, _, value in iter_fields(program):
        if number == 2:
            key, content = read_map_entry(value)
            functions[key] = content
    if wanted not in functions:
        raise WireError(f"the program has no function {wanted!r}")
    opset, inputs, blocks = "", [], {}
    for number, _, value in iter_fields(functions[wanted]):
        if number == 1:
            inputs.append(_parse_named_type(as_bytes(value)))
        elif number == 2:
            opset = as_text(value)
        elif number == 3:
            key, content = read_map_entry(value)
            blocks[key] = content
    if opset not in blocks:
        raise WireError(f"the program has no block for its opset {opset!r}")
    outputs: list[str] = []
    operations: list[Operation] = []
    for number, _, value in iter_fields(blocks[opset]):
        if number == 2:
            outputs.append(as_text(value))
        elif number == 3:
            operations.append(_parse_operation(as_bytes(value)))
    return Function(opset, tuple(inputs), tuple(outputs), tuple(operations))


def _parse_operation(data: memoryview) -> Operation:
    kind = ""
    inputs: dict[str, tuple[Argument, ...]] = {}
    outputs: list[NamedType] = []
    attributes: dict[str, Value] = {}
    for number, _, value in iter_fields(data):
        if number == 1:
            kind = as_text(value)
        elif number == 2:
            key, content = read_map_entry(value)
            inputs[key] = _parse_argument(content)
        elif number == 3:
            outputs.append(_parse_named_type(as_bytes(value)))
        elif number == 5:
            key, content = read_map_entry(value)
            if key != "name":
                attributes[key] = _parse_value(content)
    return Operation(kind, inputs, tuple(outputs), attributes)


def _parse_argument(data: memoryview) -> tuple[Argument, ...]:
    bindings = []
    for number, _, value in iter_fields(data):
        if number == 1:
            name, constant = None, None
            for kind, _, content in iter_fields(as_bytes(value)):
                if kind == 1:
                    name = as_text(content)
                elif kind == 2:
                    constant = _parse_value(as_bytes(content))
            if (name is None) == (constant is None):
                raise WireError("an input is bound neither to a name nor to a value")
            bindings.append(Argument(name, constant))
    return tuple(bindings)


def _parse_named_type(data: memoryview) -> NamedType:
    name, tensor_type = "", None
    for number, _, value in iter_fields(data):
        if number == 1:
            name = as_text(value)
        elif number == 2:
            tensor_type = _parse_value_type(as_bytes(value))
    return NamedType(name, tensor_type)


def _parse_value_type(data: memoryview) -> TensorType | None:
    """ValueType; None for lists, tuples, dictionaries and states."""
    for number, _, value in iter_fields(data):
        if number == 1:
            return _parse_tensor_type(as_bytes(value))
    return None


def _parse_tensor_type(data: memoryview) -> TensorType:
    code, rank, shape = 0, 0, []
    for number, _, value in iter_fields(data):
        if number == 1:
            code = as_int(value)
        elif number == 2:
            rank = as_int(value)
        elif number == 3:
            shape.append(_parse_dimension(as_bytes(value)))
    if len(shape) != rank:
        raise WireError(f"a tensor of rank {rank} has {len(shape)} sizes")
    try:
        return TensorType(DataType(code), tuple(shape))
    except ValueError as error:
        raise WireError(f"unknown data type {code}") from error


def _parse_dimension(data: memoryview) -> int:
    size = UNKNOWN_DIMENSION
    for number, _, value in iter_fields(data):
        if number == 1:
            size = 0
            for kind, _, content in iter_fields(as_bytes(value)):
                if kind == 1:
                    size = as_int(content)
        elif number == 2:
            size = UNKNOWN_DIMENSION
    if size > MAX_DIMENSION:
        raise WireError(f"a tensor of size {size}")
    return size


def _parse_value(data: memoryview) -> Value:
    tensor_type: TensorType | None = None
    content: tuple[float, ...] | tuple[str, ...] | bytes | BlobReference | None = None
    for number, _, value in iter_fields(data):
        if number == 2:
            tensor_type = _parse_value_type(as_bytes(value))
        elif number == 3:
            for kind, _, immediate in iter_fields(as_bytes(value)):
                content = _parse_tensor_value(as_bytes(immediate)) if kind == 1 else None
        elif number == 5:
            content = _parse_blob_reference(as_bytes(value))
    return Value(tensor_type, content)


def _parse_blob_reference(data: memoryview) -> BlobReference:
    file_name, offset = "", 0
    for number, _, value in iter_fields(data):
        if number == 1:
            file_name = as_text(value)
        elif number == 2:
            offset = as_int(value)
    return BlobReference(file_name, offset)


_NUMBER_READERS: dict[int, Callable[[int | memoryview], list[float] | list[int]]] = {
    1: read_floats,
    2: read_varints,
    3: read_varints,
    5: read_varints,
    6: lambda value: read_floats(value, "d"),
}
_TEXTS = 4
_PACKED_BYTES = 7


def _parse_tensor_value(data: memoryview) -> tuple[float, ...] | tuple[str, ...] | bytes:
    """TensorValue: one of floats, ints, bools, strings, longInts, doubles, bytes."""
    result: tuple[float, ...] | tuple[str, ...] | bytes = ()
    for number, _, value in iter_fields(data):
        fields = [content for kind, _, content in iter_fields(as_bytes(value)) if kind == 1]
        if number == _PACKED_BYTES:
            result = bytes(as_bytes(fields[-1])) if fields else b""
        elif number == _TEXTS:
            result = tuple(as_text(content) for content in fields)
        elif number in _NUMBER_READERS:
            reader = _NUMBER_READERS[number]
            result = tuple(element for content in fields for element in reader(content))
    return result
