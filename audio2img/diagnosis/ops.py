"""Which operations a part is made of, and packages that let values inside of it be seen."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from audio2img.errors import ModelError
from audio2img.mlprogram import constexpr
from audio2img.mlprogram.mil import DataType, Function, TensorType
from audio2img.mlprogram.mlpackage import Package, find_model_file, read_model_file
from audio2img.mlprogram.ops import OPERATIONS
from audio2img.mlprogram.protobuf import (
    as_bytes,
    bytes_field,
    encode_field,
    encode_varint,
    int_field,
    iter_fields,
    map_entry,
    read_map_entry,
)

# Codes of FeatureTypes.proto's ArrayFeatureType.ArrayDataType
ARRAY_CODES = {DataType.FLOAT16: 65552, DataType.FLOAT32: 65568, DataType.INT32: 131104}
MAX_TAP_ELEMENTS = 1 << 24  # per value: 64 MB of float32
PLACES_PER_KIND = 4
CONSTANT = "const"


def count_kinds(path: Path) -> Counter[str] | None:
    """How often a part has each kind of operation, constants left out; None if its files do not say it.

    Raises ModelError for a damaged package.
    """
    if path.suffix == ".mlpackage":
        kinds = Counter(operation.type for operation in Package(path).load_function().operations)
        del kinds[CONSTANT]
        return kinds
    return _compiled_kinds(path)


def unknown_kinds(kinds: Iterable[str]) -> list[str]:
    """Those that the reference runtime does not know."""
    return sorted(set(kinds) - OPERATIONS.keys() - constexpr.FORMS.keys())


def _compiled_kinds(path: Path) -> Counter[str] | None:
    """From metadata.json, where Apple's compiler counts operations: {"Ios16.layerNorm": 48, "Concat": 3}."""
    try:
        (content, *_) = json.loads((path / "metadata.json").read_text(encoding="utf-8"))
        histogram = content["mlProgramOperationTypeHistogram"]
        return Counter({snake_case(kind.rpartition(".")[2]): int(count) for kind, count in histogram.items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def choose_taps(function: Function) -> dict[str, str]:
    """Values inside a program to look at, in its order, each name with the kind of its operation: of every
    kind up to PLACES_PER_KIND, spread from the program's start to its end.

    Left out are what Core ML cannot give (truth values, scalars) and what is very large.
    """
    places: dict[str, list[str]] = defaultdict(list)
    taken = {value.name for value in function.inputs} | set(function.outputs)
    for operation in function.operations:
        if operation.type == CONSTANT or operation.type in constexpr.FORMS:
            continue
        for output in operation.outputs:
            if output.name not in taken and output.type is not None and _can_be_seen(output.type):
                places[operation.type].append(output.name)
    chosen: dict[str, str] = {}
    for kind, names in places.items():
        last, count = len(names) - 1, min(len(names), PLACES_PER_KIND)
        picked = {names[round(index * last / max(1, count - 1))] for index in range(count)}
        chosen |= dict.fromkeys(picked, kind)
    order = [output.name for operation in function.operations for output in operation.outputs]
    return dict(sorted(chosen.items(), key=lambda item: order.index(item[0])))


def _can_be_seen(tensor: TensorType) -> bool:
    elements = 1
    for size in tensor.shape:
        elements *= size
    return tensor.dtype in ARRAY_CODES and bool(tensor.shape) and 0 < elements <= MAX_TAP_ELEMENTS


def write_tapped(package: Path, destination: Path, names: Sequence[str]) -> Path:
    """The package at `destination`, giving the values `names` of its program instead of its own outputs.

    Its weights are not copied where the file system can link. Raises ModelError if one has no such value.
    """
    shutil.copytree(package, destination, copy_function=_link_or_copy)
    model_file = find_model_file(destination)
    function = Package(package).load_function()
    types = {out.name: out.type for operation in function.operations for out in operation.outputs}
    tapped: dict[str, TensorType] = {}
    for name in names:
        tensor = types.get(name)
        if tensor is None or tensor.dtype not in ARRAY_CODES:
            raise ModelError(
                f"{package} has no value {name!r} that can be seen", "get or convert the model again"
            )
        tapped[name] = tensor
    content = tap_model(read_model_file(model_file), tapped)
    model_file.unlink()  # it may be a link to the original
    model_file.write_bytes(content)
    return destination


def tap_model(data: bytes, tapped: Mapping[str, TensorType]) -> bytes:
    """A Model message whose outputs are `tapped`; of its one function "main", in every opset."""
    out = []
    for number, wire_type, value in iter_fields(memoryview(data)):
        if number == 2:
            out.append(bytes_field(2, _tap_description(as_bytes(value), tapped)))
        elif number == 502:
            out.append(bytes_field(502, _tap_program(as_bytes(value), tuple(tapped))))
        else:
            out.append(encode_field(number, wire_type, value))
    return b"".join(out)


def _tap_description(data: memoryview, tapped: Mapping[str, TensorType]) -> bytes:
    kept = [encode_field(*field) for field in iter_fields(data) if field[0] != 10]
    return b"".join(kept + [bytes_field(10, _feature(name, tensor)) for name, tensor in tapped.items()])


def _feature(name: str, tensor: TensorType) -> bytes:
    """A FeatureDescription of a multi-array."""
    sizes = bytes_field(1, b"".join(map(encode_varint, tensor.shape)))
    return bytes_field(1, name) + bytes_field(
        3, bytes_field(5, sizes + int_field(2, ARRAY_CODES[tensor.dtype]))
    )


def _tap_program(data: memoryview, names: Sequence[str]) -> bytes:
    out = []
    for number, wire_type, value in iter_fields(data):
        if number == 2:
            key, function = read_map_entry(value)
            out.append(map_entry(2, key, _tap_function(function, names)))
        else:
            out.append(encode_field(number, wire_type, value))
    return b"".join(out)


def _tap_function(data: memoryview, names: Sequence[str]) -> bytes:
    out = []
    for number, wire_type, value in iter_fields(data):
        if number == 3:
            opset, block = read_map_entry(value)
            kept = [encode_field(*field) for field in iter_fields(block) if field[0] != 2]
            out.append(map_entry(3, opset, b"".join([bytes_field(2, name) for name in names] + kept)))
        else:
            out.append(encode_field(number, wire_type, value))
    return b"".join(out)


def _link_or_copy(source: str, destination: str) -> None:
    try:
        os.link(source, destination)
    except OSError:
        shutil.copy2(source, destination)
