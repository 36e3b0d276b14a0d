"""A loaded part of a model: Core ML itself on a Mac, the reference runtime anywhere else.

Both are the same to their caller: predict(name -> array) -> name -> array, in the shapes and types
of the part's description.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from audio2img.backends.coreml import apple
from audio2img.errors import MachineError, ModelError
from audio2img.mlprogram.mlpackage import Package


class Model(Protocol):
    """A part ready to predict."""

    def predict(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs for `inputs`, both by name, in the shapes and types of the part's description."""
        ...


def runtime_name() -> str:
    """The runtime that load_part gives on this machine, as it is recorded with a picture."""
    return "coreml" if apple.is_here() else "reference"


def load_part(path: Path, compute_units: str = "ALL") -> Model:
    """The model at `path` (`.mlpackage` or `.mlmodelc`), ready to predict.

    compute_units: one of units.COMPUTE_UNITS; without Core ML it has no meaning.
    Raises ModelError if the model is missing or damaged, MachineError if this machine cannot run it.
    """
    if apple.is_here():
        return CoreMLModel(path, compute_units)
    if path.suffix != ".mlpackage":
        raise MachineError(
            f"the compiled model {path} runs on a Mac only",
            "get the model as packages (.mlpackage)",
        )
    from audio2img.mlprogram.reference import ReferenceModel

    return ReferenceModel(Package(path))


class CoreMLModel:
    """A model run by Core ML; macOS only. A package is compiled first, or found compiled in the cache."""

    def __init__(self, path: Path, compute_units: str = "ALL") -> None:
        """Load the model. Raises ModelError if Core ML cannot, MachineError without coremltools."""
        from audio2img.backends.coreml.compiled import compile_once

        self.path = path
        compiled = compile_once(path) if path.suffix == ".mlpackage" else path
        try:
            self._model = apple.open_compiled(compiled, compute_units)
        except MachineError:
            raise
        except Exception as error:  # coremltools raises bare Exception, RuntimeError and others
            raise ModelError(
                f"Core ML cannot load {path}: {error}",
                "get or convert the model again; if it worked before, run: audio2img models prune",
            ) from error

    def predict(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See Model. Raises ModelError if Core ML fails."""
        try:
            results = self._model.predict(dict(inputs))
        except Exception as error:
            raise ModelError(
                f"Core ML failed in {self.path}: {error}",
                "try others: `compute_units=CPU_AND_GPU`; if it worked before, run: audio2img models prune",
            ) from error
        return {name: np.asarray(value) for name, value in results.items()}
