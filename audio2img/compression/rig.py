"""The model as it is, opened to be compared with: its parts, what they draw, what they were asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from audio2img.backends.coreml import apple
from audio2img.backends.coreml.bundle import Bundle, load_bundle
from audio2img.backends.coreml.runtime import Model
from audio2img.compression.drawing import (
    Drawing,
    Inputs,
    Probe,
    Recorder,
    draw,
    drawing_parts,
)
from audio2img.compression.evaluate import open_coreml_models, open_reference_models
from audio2img.compression.sensitivity import save_calls
from audio2img.errors import MachineError, ModelError
from audio2img.mlprogram.mlpackage import Package

PACKAGES = "get the model as packages (.mlpackage)"
N_CALLS = 4  # inputs of each part that trials of single weights use

Runtime = Literal["reference", "coreml"]


@dataclass(frozen=True, eq=False)
class Rig:
    """runtime: what runs the parts; before: what they draw of `probes`; calls: files of their inputs."""

    bundle: Bundle
    runtime: Runtime
    models: Mapping[str, Model]
    probes: Sequence[Probe]
    before: list[Drawing]
    calls: Mapping[str, Path]


def open_rig(
    folder: Path,
    packages: Mapping[str, Package],
    probes: Sequence[Probe],
    work: Path,
    on_probe: Callable[[int, int], None],
) -> Rig | str:
    """Draw `probes` with the model as it is; a text that says why not, where this machine cannot.

    work: a folder for what the parts were asked. on_probe: called with how many are done, of how many.
    """
    try:
        bundle = load_bundle(folder)
        runtime, models = _open_models(bundle, packages)
    except (ModelError, MachineError) as error:
        return error.message
    recorders = {part: Recorder(model) for part, model in models.items()}
    before = draw_all(bundle, recorders, probes, on_probe)
    calls = {}
    for part, recorder in recorders.items():
        calls[part] = work / f"{part}.calls.npz"
        _save_once(calls[part], recorder.pick(N_CALLS))
    return Rig(bundle, runtime, models, probes, before, calls)


def draw_all(
    bundle: Bundle,
    models: Mapping[str, Model],
    probes: Sequence[Probe],
    on_probe: Callable[[int, int], None],
    decode: bool = True,
) -> list[Drawing]:
    """`draw`, counting the probes for a display."""
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        on_probe(done, len(probes))

    on_probe(0, len(probes))
    return draw(bundle, models, probes, count, decode)


def draw_compressed(rig: Rig, folder: Path, on_probe: Callable[[int, int], None]) -> list[Drawing]:
    """The rig's probes drawn with the compressed model in `folder`, in the same runtime."""
    bundle = load_bundle(folder)
    packages = {part: Package(bundle.parts[part].path) for part in drawing_parts(bundle)}
    open_models = open_reference_models if rig.runtime == "reference" else open_coreml_models
    return draw_all(bundle, open_models(bundle, packages), rig.probes, on_probe)


def _open_models(bundle: Bundle, packages: Mapping[str, Package]) -> tuple[Runtime, dict[str, Model]]:
    """The reference runtime where the model is small enough for it, on any machine; else Core ML."""
    missing = sorted(set(drawing_parts(bundle)) - packages.keys())
    if missing:
        raise ModelError(f"the model has no package of its {missing[0].replace('_', ' ')}", PACKAGES)
    try:
        return "reference", open_reference_models(bundle, packages)
    except MachineError:
        if not apple.is_here():
            raise
        return "coreml", open_coreml_models(bundle, packages)


def _save_once(path: Path, calls: list[Inputs]) -> None:
    """Write the calls, whole or not at all."""
    unfinished = path.with_name(path.name + ".new")
    save_calls(unfinished, calls)
    unfinished.replace(path)
