"""The model as it is, opened to be compared with: what it draws, and what it draws with other weights.

Small models are drawn with in the reference runtime, on any machine; larger ones by Core ML, on a Mac.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from audio2img.backends.coreml import apple
from audio2img.backends.coreml.bundle import Bundle, load_bundle
from audio2img.backends.coreml.runtime import CoreMLModel, Model
from audio2img.compression.drawing import (
    Inputs,
    Probe,
    ProbeDrawing,
    Recorder,
    draw,
    drawing_parts,
    psnr_db,
)
from audio2img.compression.progress import Count, Progress
from audio2img.errors import MachineError, ModelError
from audio2img.mlprogram.mlpackage import Package
from audio2img.mlprogram.reference import ReferenceModel

PACKAGES = "get the model as packages (.mlpackage)"
N_CALLS = 4  # inputs of each part that trials of single weights use
NO_SIGNAL_DB = 0.0

Runtime = Literal["reference", "coreml"]


@dataclass(frozen=True, eq=False)
class Rig:
    """runtime: what runs the parts; before: what they draw of `probes`; calls: some of their inputs."""

    bundle: Bundle
    runtime: Runtime
    models: Mapping[str, Model]
    probes: Sequence[Probe]
    before: Sequence[ProbeDrawing]
    calls: Mapping[str, list[Inputs]]

    def draw(self, packages: Mapping[str, Path], count: Count) -> list[ProbeDrawing]:
        """The probes, drawn with these packages for some parts. Raises ModelError for useless ones."""
        changed = {part: _open_part(path, self.runtime) for part, path in packages.items()}
        return draw(self.bundle, {**self.models, **changed}, self.probes, count.add)

    def try_latents(self, packages: Mapping[str, Path], count: Count) -> list[float]:
        """The signal in dB that each probe's latents keep with packages that nobody will ask for again."""
        changed = {part: self._open_once(path) for part, path in packages.items()}
        try:
            models = {**self.models, **changed}
            after = draw(self.bundle, models, self.probes, count.add, decode=False)
        except ModelError:  # weights so coarse that the answers are no numbers any more
            return [NO_SIGNAL_DB] * len(self.probes)
        return [psnr_db(one.latents, other.latents) for one, other in zip(self.before, after, strict=True)]

    def _open_once(self, path: Path) -> Model:
        if self.runtime == "reference":
            return _open_part(path, self.runtime)
        compiled = path.with_suffix(".mlmodelc")  # beside it, and not in the cache, which would keep it
        apple.compile_package(path, compiled)
        return CoreMLModel(compiled)


def open_rig(
    folder: Path, packages: Mapping[str, Package], probes: Sequence[Probe], progress: Progress
) -> Rig | str:
    """Draw `probes` with the model as it is; a text that says why not, where this machine cannot."""
    try:
        bundle = load_bundle(folder)
        runtime, models = _open_models(bundle, packages)
    except (ModelError, MachineError) as error:
        return error.message
    recorders = {part: Recorder(model) for part, model in models.items()}
    count = Count(progress, "drawing with the original", len(probes))
    before = draw(bundle, recorders, probes, count.add)
    calls = {part: recorder.pick(N_CALLS) for part, recorder in recorders.items()}
    return Rig(bundle, runtime, models, probes, before, calls)


def _open_models(bundle: Bundle, packages: Mapping[str, Package]) -> tuple[Runtime, dict[str, Model]]:
    """The reference runtime where the model is small enough for it, on any machine; else Core ML."""
    parts = drawing_parts(bundle)
    missing = sorted(set(parts) - packages.keys())
    if missing:
        raise ModelError(f"the model has no package of its {missing[0].replace('_', ' ')}", PACKAGES)
    runtime: Runtime = "reference"
    try:
        return runtime, {part: _open_part(packages[part].path, runtime) for part in parts}
    except MachineError:
        if not apple.is_here():
            raise
        runtime = "coreml"
        return runtime, {part: _open_part(packages[part].path, runtime) for part in parts}


def _open_part(path: Path, runtime: Runtime) -> Model:
    """Raises MachineError if the part is too large for the reference runtime."""
    return ReferenceModel(Package(path)) if runtime == "reference" else CoreMLModel(path)
