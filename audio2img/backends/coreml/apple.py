"""The one place where coremltools is called to run models: Core ML itself, on macOS.

coremltools holds Python's lock while it loads, compiles and predicts, so that every other thread
stands still: what draws calls this in a process of its own (see process). Tests on other systems
put the reference runtime in the place of these functions.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from audio2img.errors import MachineError
from audio2img.installation import how_to_repair

FAST_PREDICTION_SINCE = 15  # macOS; more work at load for faster predictions


class Predictor(Protocol):
    """What coremltools gives for a loaded model."""

    def predict(self, data: dict[str, Any]) -> Mapping[str, Any]: ...


def is_here() -> bool:
    """True on macOS, where Core ML is part of the system."""
    return sys.platform == "darwin"


def versions() -> tuple[str, str]:
    """(of coremltools, of macOS). Raises MachineError without coremltools."""
    import platform

    return str(_coremltools().__version__), platform.mac_ver()[0]


def prepare() -> None:
    """Import coremltools, which takes seconds, before it is needed. Raises MachineError without it."""
    if is_here():
        _coremltools()


def open_compiled(path: Path, compute_units: str) -> Predictor:
    """The `.mlmodelc` at `path`, loaded; whatever coremltools raises if that fails."""
    import platform

    coremltools = _coremltools()
    options: dict[str, Any] = {"compute_units": coremltools.ComputeUnit[compute_units]}
    if int(platform.mac_ver()[0].split(".")[0] or 0) >= FAST_PREDICTION_SINCE:
        hint = coremltools.SpecializationStrategy.FastPrediction
        options["optimization_hints"] = {"specializationStrategy": hint}
    with warnings.catch_warnings():
        # What Core ML cannot load may only be warned of, to fail at the first prediction.
        warnings.simplefilter("error", RuntimeWarning)
        model: Predictor = coremltools.models.CompiledMLModel(str(path), **options)
    return model


def compile_package(package: Path, destination: Path) -> None:
    """Compile the `.mlpackage` to `destination` (`.mlmodelc`); whatever coremltools raises if that fails."""
    _coremltools().models.utils.compile_model(str(package), str(destination))


def _coremltools() -> Any:
    try:
        import coremltools
    except ImportError as error:
        raise MachineError(
            f"Core ML is reached through coremltools, which cannot be imported: {error}",
            how_to_repair("coremltools"),
        ) from error
    return coremltools
