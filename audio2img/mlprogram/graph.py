"""A program made ready to plan: operations as nodes, constants read and made dense.

What cannot be run is found here, when a model is loaded: operations that are not known, tensors of
unknown or unreasonable size, models too large for NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from audio2img.errors import MachineError, ModelError
from audio2img.mlprogram import constexpr
from audio2img.mlprogram.mil import BlobReference, Function, NamedType, Operation, TensorType, Value
from audio2img.mlprogram.mlpackage import Package
from audio2img.mlprogram.ops import OPERATIONS, Array, Node, Shape

MAX_TENSOR_ELEMENTS = 1 << 28  # 1 GB of float32, more than any tensor of a model below the cap
MAX_PARAMETERS = 100_000_000
TOO_LARGE_REMEDY = "run it on a Mac; elsewhere take the model in a form that PyTorch draws"


@dataclass(frozen=True)
class Graph:
    """nodes: the operations in order; shapes: of every value; constants: by name; inputs, outputs: names."""

    nodes: tuple[Node, ...]
    shapes: dict[str, Shape]
    constants: dict[str, Array | str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def build_graph(package: Package) -> Graph:
    """The graph of a package's program. Raises ModelError if it is damaged or has operations that are
    not known, MachineError if it is too large to be run without Core ML."""
    function = package.load_function()
    _check_operations(package, function)
    _check_size(package, function)
    builder = _GraphBuilder(package)
    for value in function.inputs:
        builder.declare(value)
    for operation in function.operations:
        builder.add(operation)
    for name in function.outputs:
        if name not in builder.shapes:
            raise builder.damaged(f"its output {name!r} is never computed")
    names = tuple(value.name for value in function.inputs)
    constants = builder.take_constants(function.outputs)
    return Graph(tuple(builder.nodes), builder.shapes, constants, names, function.outputs)


def _check_operations(package: Package, function: Function) -> None:
    """Raise ModelError naming every operation that is not known."""
    known = OPERATIONS.keys() | constexpr.FORMS.keys() | {"const"}
    unknown = sorted({operation.type for operation in function.operations} - known)
    if unknown:
        raise ModelError(
            f"the model {package.path} uses operations that run only in Core ML: {', '.join(unknown)}",
            "run it on a Mac",
        )


def _check_size(package: Package, function: Function) -> None:
    """Raise MachineError if the program has more parameters than NumPy can work through in good time."""
    n_parameters = 0
    for operation in function.operations:
        in_file = any(isinstance(value.data, BlobReference) for value in operation.attributes.values())
        if in_file or operation.type in constexpr.FORMS:
            n_parameters += sum(math.prod(out.type.shape) for out in operation.outputs if out.type)
    if n_parameters > MAX_PARAMETERS:
        raise MachineError(
            f"the model {package.path} has {n_parameters / 1e6:.0f} million parameters, "
            f"too many for a machine without Core ML (at most {MAX_PARAMETERS / 1e6:.0f} million)",
            TOO_LARGE_REMEDY,
        )


class _GraphBuilder:
    """Collects nodes and constants operation by operation."""

    def __init__(self, package: Package) -> None:
        self.package = package
        self.nodes: list[Node] = []
        self.shapes: dict[str, Shape] = {}
        self._stored: dict[str, Array | str] = {}  # constants as the package has them

    def damaged(self, reason: str) -> ModelError:
        return ModelError(f"the model {self.package.path} is damaged: {reason}", "get or convert it again")

    def declare(self, value: NamedType) -> None:
        """Note a value's shape; a name may be given only once."""
        if value.type is None or min(value.type.shape, default=0) < 0:
            raise ModelError(
                f"the model {self.package.path} has the value {value.name!r} of no fixed shape",
                "run it on a Mac, or convert it with fixed shapes",
            )
        if value.name in self.shapes or math.prod(value.type.shape) > MAX_TENSOR_ELEMENTS:
            raise self.damaged(f"the value {value.name!r} is given twice or too large")
        self.shapes[value.name] = value.type.shape

    def add(self, operation: Operation) -> None:
        """Take in an operation: a constant is read, a compressed one made dense, any other becomes a node."""
        if not operation.outputs:
            raise self.damaged(f"an operation {operation.type} gives nothing")
        if operation.type == "const":
            self._add_constant(operation.outputs[0], operation.attributes.get("val"))
            return
        inputs = {
            parameter: tuple(
                self._bind(operation, parameter, index, argument.name, argument.value)
                for index, argument in enumerate(arguments)
            )
            for parameter, arguments in operation.inputs.items()
        }
        for parameter, value in operation.attributes.items():
            inputs[parameter] = (self._bind(operation, parameter, 0, None, value),)
        for output in operation.outputs:
            self.declare(output)
        if operation.type in constexpr.FORMS:
            self._materialize(operation, inputs)
        else:
            outputs = tuple(output.name for output in operation.outputs)
            self.nodes.append(Node(operation.type, inputs, outputs))

    def _bind(
        self, operation: Operation, parameter: str, index: int, name: str | None, value: Value | None
    ) -> str:
        """The name of what is bound to a parameter; a value bound directly is given one."""
        if name is None:
            name = f"{operation.name}.{parameter}.{index}"
            tensor = None if value is None else value.type
            self._add_constant(NamedType(name, tensor), value)
        elif name not in self.shapes:
            raise self.damaged(f"{operation.name!r} uses {name!r} before it is computed")
        return name

    def _add_constant(self, output: NamedType, value: Value | None) -> None:
        if value is None or not _same_type(output.type, value.type):
            raise self.damaged(f"the constant {output.name!r} has no value of its type")
        self.declare(output)
        self._stored[output.name] = self.package.read_constant(value)

    def _materialize(self, operation: Operation, inputs: dict[str, tuple[str, ...]]) -> None:
        """Make a compressed constant dense, of the shape it is declared to have."""
        parameters: dict[str, Array | str] = {}
        for parameter, (name, *more) in inputs.items():
            if more or name not in self._stored:
                raise self.damaged(f"the constant {operation.name!r} depends on what is no constant")
            parameters[parameter] = self._stored[name]
        try:
            results = constexpr.materialize(operation.type, parameters)
        except ModelError as error:
            raise self.damaged(f"{operation.name!r}: {error.message}") from error
        if [result.shape for result in results] != [self.shapes[output.name] for output in operation.outputs]:
            raise self.damaged(f"the constant {operation.name!r} does not have its declared shape")
        for output, result in zip(operation.outputs, results, strict=True):
            self._stored[output.name] = result

    def take_constants(self, outputs: Iterable[str]) -> dict[str, Array | str]:
        """The constants that nodes use or that are outputs, in the types that kernels compute with."""
        used = {name for node in self.nodes for names in node.inputs.values() for name in names}
        used.update(outputs)
        return {name: to_compute_type(value) for name, value in self._stored.items() if name in used}


def _same_type(declared: TensorType | None, actual: TensorType | None) -> bool:
    return declared is not None and declared == actual


def to_compute_type(value: Array | str) -> Array | str:
    """Floats as float32, integers as int32 (int64 where wider), truth values and texts as they are."""
    if isinstance(value, str) or value.dtype == np.bool_:
        return value
    if value.dtype.kind == "f":
        return np.asarray(value, dtype=np.float32, order="C")
    wide = value.dtype.itemsize > 4 or value.dtype == np.uint32
    return np.asarray(value, dtype=np.int64 if wide else np.int32, order="C")


def last_uses(nodes: Iterable[tuple[str, ...]]) -> dict[str, int]:
    """For each name in a row of rows of names, the last row it is in."""
    return {name: index for index, names in enumerate(nodes) for name in names}
