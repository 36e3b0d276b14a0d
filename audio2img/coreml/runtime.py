"""A loaded part of a model: Core ML itself on a Mac, the reference runtime anywhere else.

Both are the same to their caller: predict(name -> array) -> name -> array, in the shapes and types
of the part's description.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from audio2img.coreml.mlpackage import Package
from audio2img.errors import MachineError, ModelError, UsageError

COMPUTE_UNITS = ("ALL", "CPU_AND_GPU", "CPU_AND_NE", "CPU_ONLY")
"""What Core ML may run a part on; the names of coremltools' ComputeUnit."""

RUNTIME_NAME = "coreml" if sys.platform == "darwin" else "reference"
"""The runtime that load_part gives on this machine, as it is recorded with a picture."""


class Model(Protocol):
    """A part ready to predict."""

    def predict(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs for `inputs`, both by name, in the shapes and types of the part's description."""
        ...


def load_part(path: Path, compute_units: str | None = None) -> Model:
    """The model at `path` (`.mlpackage` or `.mlmodelc`), ready to predict.

    compute_units: one of COMPUTE_UNITS, None for Core ML's own choice; elsewhere it has no meaning.
    Raises ModelError if the model is missing or damaged, MachineError if this machine cannot run it.
    """
    if compute_units is not None and compute_units not in COMPUTE_UNITS:
        raise UsageError(
            f"there are no compute units {compute_units!r}", f"choose from: {', '.join(COMPUTE_UNITS)}"
        )
    if sys.platform == "darwin":
        return CoreMLModel(path, compute_units)
    if path.suffix != ".mlpackage":
        raise MachineError(
            f"the compiled model {path} runs on a Mac only",
            "get the model as packages (.mlpackage)",
        )
    from audio2img.coreml.reference import ReferenceModel

    return ReferenceModel(Package(path))


class CoreMLModel:
    """A model run by Core ML through coremltools; macOS only."""

    def __init__(self, path: Path, compute_units: str | None = None) -> None:
        """Load the model. Raises ModelError if Core ML cannot, MachineError without coremltools."""
        try:
            import coremltools
        except ImportError as error:
            raise MachineError(
                f"Core ML is reached through coremltools, which cannot be imported: {error}",
                "run: pip install coremltools",
            ) from error
        self.path = path
        units = coremltools.ComputeUnit[compute_units or "ALL"]
        kind = (
            coremltools.models.MLModel if path.suffix == ".mlpackage" else coremltools.models.CompiledMLModel
        )
        try:
            with warnings.catch_warnings():
                # A package that Core ML cannot load is only warned of, and fails at the first prediction.
                warnings.simplefilter("error", RuntimeWarning)
                self._model = kind(str(path), compute_units=units)
        except Exception as error:  # coremltools raises bare Exception, RuntimeError and others
            raise ModelError(
                f"Core ML cannot load {path}: {error}", "get or convert the model again"
            ) from error

    def predict(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See Model. Raises ModelError if Core ML fails."""
        try:
            results = self._model.predict(dict(inputs))
        except Exception as error:
            raise ModelError(f"Core ML failed in {self.path}: {error}") from error
        return {name: np.asarray(value) for name, value in results.items()}
