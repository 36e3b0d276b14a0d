"""How an operation of a program becomes a step of a plan: the frame that every operation fits in.

An operation registers a builder with `@operation("add", ...)`. While a program is planned, the
builder gets the operation's Site, which knows the shapes of its operands and the constants among
them, and gives a Step: a kernel, and the names of the values that the kernel is called with. All
that can be known beforehand is settled in the builder; the kernel does arithmetic only.

Numbers are computed in float32 (float16 only as a storage type), integers in int32, truth values
as bool. Kernels may return views of their operands, never change them, and never keep them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio2img.errors import ModelError
from audio2img.mlprogram.weights import CORE_ML_ONLY

Array = NDArray[Any]
Shape = tuple[int, ...]
Kernel = Callable[..., Any]
"""Called with the operands as arrays; gives one array, or a sequence of them for several results."""

SCRATCH_ELEMENTS = 1 << 18  # 1 MB of float32: working space that stays in a core's second-level cache


@dataclass(frozen=True)
class Node:
    """An operation with its operands by name: inputs[parameter] are the names of values, in order."""

    kind: str
    inputs: Mapping[str, tuple[str, ...]]
    outputs: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.outputs[0]


@dataclass(frozen=True)
class Step:
    """kernel(*values of inputs) gives the node's outputs."""

    kernel: Kernel
    inputs: tuple[str, ...]


class Scratch:
    """Working space shared by the kernels of one model, which run one at a time."""

    def __init__(self) -> None:
        self._buffers: dict[str, Array] = {}
        self._padded: dict[tuple[Shape, Shape], Array] = {}

    def take(self, name: str, n_elements: int) -> Array:
        """(n_elements,) float32, contents undefined; the same memory for the same name, if it suffices."""
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < n_elements:
            buffer = np.empty(max(n_elements, SCRATCH_ELEMENTS), dtype=np.float32)
            self._buffers[name] = buffer
        return buffer[:n_elements]

    def take_padded(self, n_elements: int, key: tuple[Shape, Shape]) -> Array:
        """(n_elements,) float32 of zeros; the same for the same key, whose users write the same places."""
        if key not in self._padded:
            self._padded[key] = np.zeros(n_elements, dtype=np.float32)
        return self._padded[key]


class Site:
    """What the builder of an operation may know: its operands' shapes, its constants, its results' shapes."""

    def __init__(
        self,
        node: Node,
        shapes: Mapping[str, Shape],
        constants: Mapping[str, Array | str],
        scratch: Scratch,
    ) -> None:
        self.node = node
        self.scratch = scratch
        self._shapes = shapes
        self._constants = constants

    @property
    def out_shapes(self) -> tuple[Shape, ...]:
        """The shapes of the results as the program declares them."""
        return tuple(self._shapes[name] for name in self.node.outputs)

    @property
    def out_shape(self) -> Shape:
        """The shape of the one result."""
        if len(self.node.outputs) != 1:
            raise self.fail(f"it has {len(self.node.outputs)} results")
        return self.out_shapes[0]

    def fail(self, reason: str) -> ModelError:
        """The error to raise where the operation makes no sense or asks for what is not supported."""
        return ModelError(
            f"the operation {self.node.kind} ({self.node.name}) cannot be run: {reason}", CORE_ML_ONLY
        )

    def has(self, parameter: str) -> bool:
        return bool(self.node.inputs.get(parameter))

    def refs(self, parameter: str) -> tuple[str, ...]:
        """The names of the values bound to a parameter that takes a list."""
        if not self.has(parameter):
            raise self.fail(f"{parameter} is missing")
        return self.node.inputs[parameter]

    def ref(self, parameter: str) -> str:
        """The name of the value bound to a parameter."""
        names = self.refs(parameter)
        if len(names) != 1:
            raise self.fail(f"{parameter} has {len(names)} values")
        if isinstance(self._constants.get(names[0]), str):
            raise self.fail(f"{parameter} is a text")
        return names[0]

    def shape(self, parameter: str) -> Shape:
        return self._shapes[self.ref(parameter)]

    def shape_of(self, name: str) -> Shape:
        return self._shapes[name]

    def is_constant(self, parameter: str) -> bool:
        return self.has(parameter) and self.ref(parameter) in self._constants

    def array(self, parameter: str) -> Array:
        """The constant bound to a parameter. Raises ModelError if it is not known beforehand."""
        value = self._constants.get(self.ref(parameter))
        if value is None or isinstance(value, str):
            raise self.fail(f"{parameter} is no constant")
        return value

    def ints(self, parameter: str, default: Sequence[int] | None = None) -> tuple[int, ...]:
        """The constant integers of a parameter, whatever its shape."""
        if default is not None and not self.has(parameter):
            return tuple(default)
        return tuple(int(element) for element in self.array(parameter).reshape(-1))

    def number(self, parameter: str, default: float | None = None) -> float:
        """The one constant number of a parameter."""
        if default is not None and not self.has(parameter):
            return default
        value = self.array(parameter)
        if value.size != 1:
            raise self.fail(f"{parameter} has {value.size} elements")
        return float(value.reshape(()))

    def integer(self, parameter: str, default: int | None = None) -> int:
        return int(self.number(parameter, default))

    def flag(self, parameter: str, default: bool = False) -> bool:
        return bool(self.number(parameter, float(default)))

    def text(self, parameter: str, default: str | None = None) -> str:
        """The constant text of a parameter."""
        if default is not None and not self.has(parameter):
            return default
        names = self.refs(parameter)
        value = self._constants.get(names[0])
        if not isinstance(value, str):
            raise self.fail(f"{parameter} is no text")
        return value

    def axis(self, value: int, rank: int) -> int:
        """`value` counted from the front. Raises ModelError unless it is within `rank`."""
        if not -rank <= value < rank:
            raise self.fail(f"axis {value} of {rank}")
        return value % rank

    def axes(self, parameter: str, rank: int) -> tuple[int, ...]:
        """The constant axes of a parameter, counted from the front; all of them where it is missing."""
        axes = tuple(self.axis(value, rank) for value in self.ints(parameter, range(rank)))
        if len(set(axes)) != len(axes):
            raise self.fail(f"{parameter} names an axis twice")
        return axes

    def expect_shape(self, shape: Sequence[int], index: int = 0) -> Shape:
        """`shape`, if the program declares result `index` to have it. Raises ModelError otherwise."""
        declared = self.out_shapes[index]
        if tuple(shape) != declared:
            raise self.fail(f"its result has the shape {list(shape)}, not {list(declared)} as declared")
        return declared


Builder = Callable[[Site], Step]
OPERATIONS: dict[str, Builder] = {}
"""Every operation that can be planned, by its name in ML programs."""


def operation(*kinds: str) -> Callable[[Builder], Builder]:
    """Register a builder for the operations `kinds`."""

    def register(builder: Builder) -> Builder:
        for kind in kinds:
            OPERATIONS[kind] = builder
        return builder

    return register


def n_elements(shape: Shape) -> int:
    return math.prod(shape)
