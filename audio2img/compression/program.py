"""The weights of a program: which there are, and the program with some of them compressed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np

from audio2img.compression.operation import PALETTE_OPERATION
from audio2img.compression.palettes import CHUNK, MIN_ELEMENTS, Weights
from audio2img.errors import ModelError
from audio2img.mlprogram import constexpr
from audio2img.mlprogram.mil import BlobReference, DataType, Function, Operation, TensorType, Value
from audio2img.mlprogram.mlpackage import Package
from audio2img.mlprogram.protobuf import (
    BYTES,
    as_bytes,
    as_int,
    as_text,
    bytes_field,
    encode_field,
    int_field,
    iter_fields,
)
from audio2img.mlprogram.weights import REMEDY


@dataclass(frozen=True)
class Weight:
    """A large constant that can be compressed.

    name: what the program calls it; bits: what an element takes now; values: the constant's value, or
    the parameters of its palette.
    """

    name: str
    tensor: TensorType
    bits: int
    values: Mapping[str, Value]

    @property
    def n_elements(self) -> int:
        return math.prod(self.tensor.shape)

    @property
    def size_bytes(self) -> int:
        """What its elements take now, without a palette."""
        return self.n_elements * self.bits // 8


def find_weights(function: Function, min_elements: int = MIN_ELEMENTS) -> dict[str, Weight]:
    """The program's float constants of more than `min_elements` elements, by name, in its order.

    Palettes of the older form count too: they can be made smaller. Other compressed forms do not, and
    neither do rows of one dimension, which Core ML cannot have as palettes (coremltools leaves them out
    for a fault that it names rdar://113860800).
    """
    weights = {}
    for operation in function.operations:
        kind = operation.outputs[0].type if operation.outputs else None
        if kind is None or kind.dtype not in (DataType.FLOAT16, DataType.FLOAT32):
            continue
        bits = _stored_bits(operation, kind)
        if bits and len(kind.shape) > 1 and math.prod(kind.shape) > min_elements:
            weights[operation.name] = Weight(operation.name, kind, bits, operation.attributes)
    for name in function.outputs:
        weights.pop(name, None)
    return weights


def _stored_bits(operation: Operation, kind: TensorType) -> int:
    """What an element takes in the weight file; 0 for what is no weight there."""
    if operation.type == "const":
        value = operation.attributes.get("val")
        in_file = value is not None and isinstance(value.data, BlobReference)
        return {DataType.FLOAT16: 16, DataType.FLOAT32: 32}[kind.dtype] if in_file else 0
    lut = operation.attributes.get("lut")
    if (
        operation.type != PALETTE_OPERATION
        or lut is None
        or lut.type is None
        or "shape" not in operation.attributes
    ):
        return 0
    return math.prod(lut.type.shape).bit_length() - 1


def read_weights(package: Package, weight: Weight) -> Weights:
    """The values of `weight`. Raises ModelError if the package is damaged or they are not all numbers."""
    stored = {parameter: package.read_constant(value) for parameter, value in weight.values.items()}
    if "val" in stored:
        values = stored["val"]
    else:
        try:
            (values,) = constexpr.materialize(PALETTE_OPERATION, stored)
        except ModelError as error:
            what = f"the model {package.path} is damaged: {weight.name!r}: {error.message}"
            raise ModelError(what, REMEDY) from error
    if isinstance(values, str) or values.shape != weight.tensor.shape:
        what = f"the model {package.path} is damaged: {weight.name!r} is not of its shape"
        raise ModelError(what, REMEDY)
    return cast(Weights, values)


def has_infinity(package: Package, weight: Weight) -> bool:
    """Whether a constant holds infinities, as masks do: no palette is near them.

    Raises ModelError for one that holds what is no number at all.
    """
    flat = read_weights(package, weight).reshape(-1)
    for start in range(0, len(flat), CHUNK):
        part = flat[start : start + CHUNK]
        if not np.isfinite(part).all():
            if np.isnan(part).any():
                raise ModelError(
                    f"the model {package.path} is damaged: {weight.name} is no number in places",
                    "get or convert it again",
                )
            return True
    return False


Relocate = Callable[[BlobReference], BlobReference]
"""Where a value of the old weight file is in the new one."""

# Messages that hold values or operations, with the fields through which they are reached.
_CONTENTS: dict[str, dict[int, str]] = {
    "Model": {502: "Program"},
    "Program": {2: "FunctionEntry", 4: "ValueEntry"},
    "FunctionEntry": {2: "Function"},
    "Function": {3: "BlockEntry", 4: "ValueEntry"},
    "BlockEntry": {2: "Block"},
    "Block": {3: "Operation", 4: "ValueEntry"},
    "Operation": {2: "ArgumentEntry", 4: "Block", 5: "ValueEntry"},
    "ArgumentEntry": {2: "Argument"},
    "Argument": {1: "Binding"},
    "Binding": {2: "Value"},
    "ValueEntry": {2: "Value"},
    "Value": {3: "Immediate", 5: "BlobFile"},
    "Immediate": {2: "Values", 3: "Values", 4: "Pairs"},
    "Values": {1: "Value"},
    "Pairs": {1: "Pair"},
    "Pair": {1: "Value", 2: "Value"},
}


def rewrite_model(model: memoryview, replace: Mapping[str, bytes], relocate: Relocate) -> bytes:
    """The bytes of Model.proto's Model with other operations and places; the rest stays as it is.

    replace: encoded operations by the name of the result of those they replace. Raises WireError for damage.
    """
    return _rewrite("Model", model, replace, relocate)


def _rewrite(kind: str, message: memoryview, replace: Mapping[str, bytes], relocate: Relocate) -> bytes:
    if kind == "BlobFile":
        return _rewrite_reference(message, relocate)
    if kind == "Operation" and (name := _result_name(message)) in replace:
        return replace[name]
    out = []
    for number, wire_type, value in iter_fields(message):
        inner = _CONTENTS[kind].get(number)
        new = value if inner is None else _rewrite(inner, as_bytes(value), replace, relocate)
        out.append(encode_field(number, wire_type, new))
    return b"".join(out)


def _rewrite_reference(message: memoryview, relocate: Relocate) -> bytes:
    name, offset = "", 0
    for number, _, value in iter_fields(message):
        if number == 1:
            name = as_text(value)
        elif number == 2:
            offset = as_int(value)
    moved = relocate(BlobReference(name, offset))
    return bytes_field(1, moved.file_name) + int_field(2, moved.offset)


def _result_name(operation: memoryview) -> str:
    """The name of an operation's first result."""
    for number, wire_type, value in iter_fields(operation):
        if number == 3 and wire_type == BYTES:
            for inner, _, content in iter_fields(as_bytes(value)):
                if inner == 1:
                    return as_text(content)
    return ""
