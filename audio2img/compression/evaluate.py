"""What a model loses as a whole: its pictures drawn again with compressed weights.

Two ways, by what this machine can do: in memory, by the reference runtime, with other values for
its constants (models small enough for NumPy); or from packages written for the purpose, by Core ML
(on a Mac).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from audio2img.backends.coreml import apple
from audio2img.backends.coreml.bundle import Bundle
from audio2img.backends.coreml.runtime import CoreMLModel, Model
from audio2img.compression.drawing import Drawing, Probe, draw, drawing_parts, psnr_db
from audio2img.compression.package import (
    finish_package,
    plan_package,
    start_weight_file,
    weight_path,
)
from audio2img.compression.palettes import palettize
from audio2img.compression.program import Weight, read_weights
from audio2img.compression.recipes import Plan
from audio2img.compression.sensitivity import with_constants
from audio2img.compression.workers import make_tasks, run_tasks
from audio2img.errors import ModelError
from audio2img.mlprogram.graph import Graph, build_graph
from audio2img.mlprogram.mlpackage import Package
from audio2img.mlprogram.ops import Array
from audio2img.mlprogram.reference import ReferenceModel

NO_SIGNAL_DB = 0.0

Packages = Mapping[str, Package]


class Evaluator(Protocol):
    """Measures plans."""

    def measure(self, plan: Plan, on_probe: Callable[[], None]) -> list[float]:
        """The signal that `plan` keeps in each probe, in dB; infinite where nothing changes."""
        ...


def open_reference_models(bundle: Bundle, packages: Packages) -> dict[str, Model]:
    """The parts that draw, in the reference runtime. Raises MachineError if one is too large for it."""
    return {part: ReferenceModel(packages[part]) for part in drawing_parts(bundle)}


def open_coreml_models(bundle: Bundle, packages: Packages) -> dict[str, Model]:
    """The parts that draw, in Core ML; macOS only."""
    return {part: CoreMLModel(packages[part].path) for part in drawing_parts(bundle)}


def latents_psnr_db(
    bundle: Bundle,
    models: Mapping[str, Model],
    probes: Sequence[Probe],
    before: Sequence[Drawing],
    on_probe: Callable[[], None],
) -> list[float]:
    """The signal of each probe's latents, drawn with `models`."""
    try:
        after = draw(bundle, models, probes, on_probe, decode=False)
    except ModelError:  # weights so coarse that the answers are no numbers any more
        return [NO_SIGNAL_DB] * len(probes)
    return [psnr_db(one.latents, other.latents) for one, other in zip(before, after, strict=True)]


class MemoryEvaluator:
    """Draws with other values for the constants of loaded parts; nothing is written."""

    def __init__(
        self,
        bundle: Bundle,
        packages: Packages,
        weights: Mapping[str, Mapping[str, Weight]],
        models: Mapping[str, Model],
        probes: Sequence[Probe],
        before: Sequence[Drawing],
    ) -> None:
        """models: the parts as they are; before: what they draw of `probes`."""
        self._bundle, self._packages, self._weights = bundle, packages, weights
        self._models, self._probes, self._before = models, probes, before
        self._graphs: dict[str, Graph] = {}
        self._values: dict[tuple[str, str], tuple[int, Array]] = {}

    def measure(self, plan: Plan, on_probe: Callable[[], None]) -> list[float]:
        """See Evaluator: the PSNR of the denoised latents."""
        models = {**self._models, **{part: self._changed(part, rows) for part, rows in plan.items()}}
        return latents_psnr_db(self._bundle, models, self._probes, self._before, on_probe)

    def _changed(self, part: str, bits: Mapping[str, int]) -> Model:
        package = self._packages[part]
        if part not in self._graphs:
            self._graphs[part] = build_graph(package)
        values = {}
        for name, one in bits.items():
            known = self._values.get((part, name))
            if known is None or known[0] != one:
                weight = self._weights[part][name]
                decoded = palettize(read_weights(package, weight), one).decode()
                known = self._values[part, name] = one, decoded
            values[name] = known[1]
        return ReferenceModel(package, with_constants(self._graphs[part], values))


class WrittenEvaluator:
    """Writes packages into a folder and draws with them by Core ML, or what stands in for it."""

    def __init__(
        self,
        bundle: Bundle,
        packages: Packages,
        models: Mapping[str, Model],
        probes: Sequence[Probe],
        before: Sequence[Drawing],
        folder: Path,
    ) -> None:
        """folder: where trial packages go, one at a time; it is removed after each."""
        self._bundle, self._packages, self._models = bundle, packages, models
        self._probes, self._before, self._folder = probes, before, folder

    def measure(self, plan: Plan, on_probe: Callable[[], None]) -> list[float]:
        """See Evaluator: the PSNR of the denoised latents."""
        shutil.rmtree(self._folder, ignore_errors=True)
        try:
            changed = {part: self._open(part, rows) for part, rows in plan.items()}
            models = {**self._models, **changed}
            return latents_psnr_db(self._bundle, models, self._probes, self._before, on_probe)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _open(self, part: str, bits: Mapping[str, int]) -> Model:
        source = self._packages[part]
        package = self._folder / source.path.name
        plan = plan_package(source, bits)
        path = weight_path(package, source)
        start_weight_file(plan, source, path)
        run_tasks(make_tasks(part, plan, path), self._folder / f"{part}.jsonl", None, lambda _: None)
        finish_package(plan, source, package)
        # Compiled here and not in the cache, which would keep what nobody will ask for again.
        compiled = package.with_suffix(".mlmodelc")
        apple.compile_package(package, compiled)
        return CoreMLModel(compiled)
