"""Parts of a model that note how long they take and what passes between them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from audio2img.backends.coreml.bundle import Bundle
from audio2img.backends.coreml.parts import Parts
from audio2img.backends.coreml.runtime import Model, load_part
from audio2img.backends.protocol import CancelCheck
from audio2img.errors import MachineError
from audio2img.mlprogram.mlpackage import Package
from audio2img.mlprogram.reference import ReferenceModel

Arrays = dict[str, NDArray[Any]]

KEPT_INPUTS = ("vae_decoder",)  # its input are the latents that the denoising ends at


@dataclass(frozen=True, eq=False)
class TimedPrediction:
    """One prediction. ended_s: on the clock of time.perf_counter; inputs: of the parts in KEPT_INPUTS."""

    part: str
    duration_s: float
    ended_s: float
    inputs: Arrays


class WatchedParts(Parts):
    """Parts that write down each call. is_reference: run by the reference runtime, also where Core ML is."""

    def __init__(
        self, bundle: Bundle, compute_units: str, low_memory: bool = False, is_reference: bool = False
    ) -> None:
        super().__init__(bundle, compute_units, low_memory)
        self.calls: list[TimedPrediction] = []
        self._is_reference = is_reference

    def _load(self, name: str, cancelled: CancelCheck | None = None) -> Model:
        path = self.bundle.parts[name].path
        model = load_reference(path) if self._is_reference else load_part(path, self._compute_units)
        return _Watched(name, model, self.calls)


def load_reference(path: Path) -> ReferenceModel:
    """The part at `path` by the reference runtime. Raises MachineError for what it cannot run."""
    if path.suffix != ".mlpackage":
        raise MachineError(
            "the reference runtime runs packages, not compiled models",
            "get the model as packages (.mlpackage)",
        )
    return ReferenceModel(Package(path))


class _Watched:
    def __init__(self, name: str, model: Model, calls: list[TimedPrediction]) -> None:
        self._name, self._model, self._calls = name, model, calls

    def predict(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        started = time.perf_counter()
        results = self._model.predict(inputs)
        ended = time.perf_counter()
        kept = dict(inputs) if self._name in KEPT_INPUTS else {}
        self._calls.append(TimedPrediction(self._name, ended - started, ended, kept))
        return results
