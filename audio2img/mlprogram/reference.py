"""The reference runtime: runs the ML program of a package in NumPy, on any machine.

A package is planned once, when it is loaded: constants are made dense and converted to float32,
what depends on constants only is computed, every operation becomes a kernel with its shapes
settled, and a rehearsal with zeros shows that the plan holds. A prediction then calls the kernels
in order and frees each value after its last use. Arithmetic is in float32 throughout: float16 is
how Core ML stores and, on its engines, rounds; here it is only a storage type.

It is meant for small models (see graph.MAX_PARAMETERS) and as the oracle for Core ML itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audio2img.errors import Audio2ImgError, MachineError, ModelError
from audio2img.mlprogram.graph import TOO_LARGE_REMEDY, Graph, build_graph, last_uses, to_compute_type
from audio2img.mlprogram.mlpackage import Description, Package
from audio2img.mlprogram.ops import OPERATIONS, Array, Node, Scratch, Site
from audio2img.mlprogram.weights import REMEDY

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

OTHER_INPUTS = "give it the inputs of its `description`"

Observer = Callable[[Node, Sequence[Array], Sequence[Array]], None]
"""Called after each operation with its node, the values its kernel was given, and its results."""


@dataclass(frozen=True)
class PlannedStep:
    """A kernel with where its operands are, where its results go, and whose memory is free afterwards."""

    node: Node
    kernel: Callable[..., Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    freed: tuple[int, ...]


class ReferenceModel:
    """A loaded model that predicts in NumPy. One prediction runs at a time; others wait for it."""

    def __init__(self, package: Package, graph: Graph | None = None) -> None:
        """Plan `package`.

        graph: that of the package, perhaps with other values of its constants; None builds it.
        Raises ModelError if the package is damaged or uses operations that are not known,
        MachineError if it is too large.
        """
        self.description: Description = package.description
        self.path: Path = package.path
        if graph is None:
            graph = build_graph(package)
        self._check_description(graph)
        self._lock = threading.Lock()
        try:
            with _ONE_THREAD:
                self._plan(graph)
                self._rehearse(graph)
        except Audio2ImgError as error:
            raise type(error)(f"{self.path}: {error.message}", error.remedy) from error
        except MemoryError as error:
            raise MachineError(f"there is too little memory for {self.path}", TOO_LARGE_REMEDY) from error
        except (ValueError, TypeError, IndexError, ArithmeticError) as error:
            raise ModelError(f"the model {self.path} cannot be planned: {error}", REMEDY) from error

    def predict(self, inputs: Mapping[str, Array], observe: Observer | None = None) -> dict[str, Array]:
        """The outputs for `inputs`, in the shapes and types of the description.

        Raises ModelError if a name, shape or type is not what the model takes.
        """
        arrays = self._check_inputs(inputs)
        with self._lock, _ONE_THREAD:
            results = self._run(arrays, observe)
        return {
            spec.name: result.astype(spec.dtype, copy=False)
            for spec, result in zip(self.description.outputs, results, strict=True)
        }

    def _check_description(self, graph: Graph) -> None:
        """The description and the program must agree about inputs and outputs."""
        inputs = {spec.name: spec.shape for spec in self.description.inputs}
        program_inputs = {name: graph.shapes[name] for name in graph.inputs}
        outputs = {spec.name: spec.shape or graph.shapes.get(spec.name) for spec in self.description.outputs}
        program_outputs = {name: graph.shapes[name] for name in graph.outputs}
        if inputs != program_inputs or outputs != program_outputs:
            raise ModelError(
                f"the model {self.path} is damaged: its description and its program differ",
                "get or convert it again",
            )

    def _check_inputs(self, inputs: Mapping[str, Array]) -> list[Array]:
        """The inputs in the order of the description, in the types that kernels compute with."""
        wanted = {spec.name: spec for spec in self.description.inputs}
        if wanted.keys() != inputs.keys():
            raise ModelError(f"{self.path} takes {sorted(wanted)}, not {sorted(inputs)}", OTHER_INPUTS)
        for spec in wanted.values():
            value = inputs[spec.name]
            if value.shape != spec.shape or value.dtype != spec.dtype:
                found = f"{value.dtype} {list(value.shape)}"
                raise ModelError(f"{self.path} takes {spec}, not {found}", OTHER_INPUTS)
        converted = [to_compute_type(np.asarray(inputs[name])) for name in wanted]
        return [value for value in converted if not isinstance(value, str)]

    def _plan(self, graph: Graph) -> None:
        """Turn nodes into steps; those whose operands are all constants are computed right away."""
        constants = dict(graph.constants)
        scratch = Scratch()
        steps: list[tuple[Node, Callable[..., Any], tuple[str, ...]]] = []
        for node in graph.nodes:
            step = OPERATIONS[node.kind](Site(node, graph.shapes, constants, scratch))
            operands = [constants.get(name) for name in step.inputs]
            if any(operand is None for operand in operands):
                steps.append((node, step.kernel, step.inputs))
                continue
            with np.errstate(all="ignore"):
                results = as_results(step.kernel(*operands))
            self._check_results(node, results, graph)
            constants.update(zip(node.outputs, results, strict=True))
        self._place(graph, constants, steps)

    def _place(
        self,
        graph: Graph,
        constants: Mapping[str, Array | str],
        steps: Sequence[tuple[Node, Callable[..., Any], tuple[str, ...]]],
    ) -> None:
        """Give every value of the plan a place in one list, and note after which step it is free."""
        slots: dict[str, int] = {}
        self._initial: list[Array | None] = []

        def place(name: str) -> int:
            if name not in slots:
                slots[name] = len(slots)
                value = constants.get(name)
                self._initial.append(None if isinstance(value, str) else value)
            return slots[name]

        input_names = [spec.name for spec in self.description.inputs]
        output_names = [spec.name for spec in self.description.outputs]
        self._input_slots = [place(name) for name in input_names]
        kept = {*output_names, *constants}
        last = last_uses(names for _, _, names in steps)
        planned = []
        for index, (node, kernel, names) in enumerate(steps):
            inputs, outputs = tuple(map(place, names)), tuple(map(place, node.outputs))
            unused = [name for name in node.outputs if name not in last and name not in kept]
            done = [name for name in dict.fromkeys(names) if last[name] == index and name not in kept]
            planned.append(PlannedStep(node, kernel, inputs, outputs, tuple(map(place, done + unused))))
        self._steps = tuple(planned)
        self._output_slots = [place(name) for name in output_names]

    def _rehearse(self, graph: Graph) -> None:
        """Run the plan once on zeros, so that what does not fit together is an error of loading."""
        for spec in self.description.inputs:
            if not np.can_cast(spec.dtype, np.float64):
                raise ModelError(f"its input {spec} is no array of numbers", REMEDY)
        zeros = [np.zeros(spec.shape, spec.dtype) for spec in self.description.inputs]
        arrays = [value for value in map(to_compute_type, zeros) if not isinstance(value, str)]
        self._run(arrays, lambda node, _, results: self._check_results(node, results, graph))

    def _check_results(self, node: Node, results: Sequence[Array], graph: Graph) -> None:
        shapes = [graph.shapes[name] for name in node.outputs]
        if [result.shape for result in results] != shapes:
            found = [list(result.shape) for result in results]
            raise ModelError(
                f"the operation {node.kind} ({node.name}) gives {found}, not {shapes} as declared",
                REMEDY,
            )

    def _run(self, arrays: Sequence[Array], observe: Observer | None) -> list[Array]:
        """Call the kernels in order; the results are those of the output slots."""
        values = list(self._initial)
        for slot, array in zip(self._input_slots, arrays, strict=True):
            values[slot] = array
        with np.errstate(all="ignore"):
            for step in self._steps:
                operands = [values[slot] for slot in step.inputs]
                try:
                    results = as_results(step.kernel(*operands))
                except IndexError as error:
                    where = f"{self.path}: {step.node.kind} ({step.node.name})"
                    raise ModelError(f"{where}: {error}", OTHER_INPUTS) from error
                for slot, result in zip(step.outputs, results, strict=True):
                    values[slot] = result
                if observe is not None:
                    observe(step.node, [value for value in operands if value is not None], results)
                for slot in step.freed:
                    values[slot] = None
        outputs = [values[slot] for slot in self._output_slots]
        return [value for value in outputs if value is not None]


def as_results(result: Any) -> Sequence[Array]:
    """What a kernel gave, as a sequence of arrays; a NumPy scalar counts as an array of no axes."""
    if isinstance(result, (list, tuple)):
        return result
    return (np.asarray(result),)


class _OneThread:
    """Holds the matrix library to one thread for as long as any thread of ours asks for it.

    The matrices here are small: a second thread gains little on an idle machine, and on one that
    has anything else to do its busy waiting makes everything ten times slower. Nor are results the
    same bit for bit with two, by OpenBLAS's kernels for AVX2. Parts are loaded in parallel, so the
    first to be done must not free the threads under the others.

    OpenBLAS has one limit for the whole process, and threadpoolctl since 3.8 lets only one thread set
    it: the first, for as long as that lives, while calls of others do nothing. Our predictions come
    from any thread, and who begins need not be who ends, so that right is taken each time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_users = 0
        self._limiter: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._n_users == 0:
                _let_this_thread_set_limits()
                self._limiter = _matrix_libraries().limit(limits=1, user_api="blas")
            self._n_users += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._n_users -= 1
            if self._n_users == 0:
                _let_this_thread_set_limits()
                self._limiter.restore_original_limits()
                _let_this_thread_set_limits()  # or whoever is next


_ONE_THREAD = _OneThread()


def _let_this_thread_set_limits() -> None:
    from threadpoolctl import OpenBLASController

    OpenBLASController.clear_controlling_thread(force=True)


@cache
def _matrix_libraries() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
