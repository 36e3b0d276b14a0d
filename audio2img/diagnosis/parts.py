"""The parts of an installed model, each run on fixed random inputs and compared where that is possible."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from audio2img.backends.coreml import apple
from audio2img.backends.coreml.bundle import Bundle, load_bundle
from audio2img.backends.coreml.contract import Part
from audio2img.backends.coreml.layout import UNET_CHUNKS
from audio2img.diagnosis.checks import Check, State
from audio2img.diagnosis.child import Measurement, Workshop
from audio2img.diagnosis.draws import GOOD_DB, Subject, judge
from audio2img.diagnosis.ops import choose_taps, count_kinds, unknown_kinds, write_tapped
from audio2img.diagnosis.watch import Arrays
from audio2img.diagnosis.worker import Job
from audio2img.errors import Audio2ImgError
from audio2img.mlprogram.mlpackage import ArraySpec, Package
from audio2img.mlprogram.signal import psnr_db

INPUT_SEED = 3
TIMESTEP = 500.0  # half way of the 1000 that models are trained with
SAFE_UNITS = "CPU_ONLY"  # what a part too large for the reference runtime is compared with
WORST_SAID = 3  # kinds of operation named in the table; all are in the figures


def make_inputs(bundle: Bundle) -> Arrays:
    """Random inputs of a fixed seed for every part, as "part/name"; what a UNet's second half gets from its
    first is left out."""
    noise = np.random.default_rng(INPUT_SEED)
    values: Arrays = {}
    for part in bundle.parts.values():
        for spec in part.inputs.values():
            if not spec.optional and (value := _make_input(bundle, part, spec, noise)) is not None:
                values[f"{part.name}/{spec.name}"] = value.astype(spec.dtype)
    return values


def _make_input(
    bundle: Bundle, part: Part, spec: ArraySpec, noise: np.random.Generator
) -> np.ndarray[Any, Any] | None:
    if spec.name == "input_ids":
        return noise.integers(0, _vocabulary_size(bundle), spec.shape)
    if spec.name == "timestep":
        return np.full(spec.shape, TIMESTEP)
    if spec.name == "time_ids":
        width, height = bundle.contract.size
        ids = [height, width, 0, 0, height, width]
        return np.resize(np.array(ids, dtype=np.float32), spec.shape)
    if spec.name == "z":
        return noise.standard_normal(spec.shape) / bundle.settings.facts.scaling_factor
    if spec.name == "x":
        return noise.uniform(-1, 1, spec.shape)
    if spec.name in ("images", "adjustment"):
        return np.zeros(spec.shape)
    if part.name == UNET_CHUNKS[1] and spec.name in bundle.parts[UNET_CHUNKS[0]].outputs:
        return None
    return noise.standard_normal(spec.shape)


def _vocabulary_size(bundle: Bundle) -> int:
    return len(json.loads((bundle.tokenizer_folder / "vocab.json").read_text(encoding="utf-8")))


@dataclass(frozen=True, eq=False)
class PartRuns:
    """One part on one set of inputs.

    found: on this machine's units (without Core ML the same as `reference`); reference: by the
    reference runtime; safe: on SAFE_UNITS where the reference runtime cannot run it, else None.
    """

    part: Part
    inputs: Arrays
    found: Measurement
    reference: Measurement
    safe: Measurement | None

    @property
    def expected(self) -> tuple[str, Measurement]:
        """(its name, what to compare with)."""
        return ("the reference", self.reference) if self.safe is None else (SAFE_UNITS, self.safe)


def check_parts(workshop: Workshop, subject: Subject, units: str) -> Iterator[Check]:
    """For each part of the model its outputs, and where they can be seen the values of its operations.

    units: what this machine draws on. Where Core ML is, each part is compared on these units with the
    reference runtime, or where it is too large for that with Core ML's own CPU_ONLY.
    """
    try:
        bundle = load_bundle(subject.folder, subject.name)
        values = make_inputs(bundle)
    except Audio2ImgError as error:
        yield Check(f"parts of {subject.name}", "fail", error.message, error.remedy, is_needed=True)
        return
    for part in bundle.parts.values():
        inputs = {name: values[key] for name in part.inputs if (key := f"{part.name}/{name}") in values}
        runs = run_part(workshop, part, inputs, units)
        if part.name == UNET_CHUNKS[0]:
            values |= _hand_over(bundle, runs)
        name = f"{subject.name}: {part.name.replace('_', ' ')}"
        yield _check_outputs(name, runs, units)
        yield _check_operations(f"{name}, operations", workshop, runs, units)


def run_part(workshop: Workshop, part: Part, inputs: Arrays, units: str) -> PartRuns:
    """The part on `inputs`, by every runtime that can be compared here."""
    file = save_arrays(workshop, inputs)
    job = Job("part", str(part.path), units=units, inputs=str(file))
    reference = workshop.run(replace(job, runtime="reference"))
    if not apple.is_here():
        return PartRuns(part, inputs, reference, reference, None)
    found = workshop.run(job)
    safe = workshop.run(replace(job, units=SAFE_UNITS)) if reference.error and units != SAFE_UNITS else None
    return PartRuns(part, inputs, found, reference, safe)


def save_arrays(workshop: Workshop, arrays: Arrays) -> Path:
    path = workshop.new_file(".npz")
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def _hand_over(bundle: Bundle, runs: PartRuns) -> Arrays:
    """What the second half of a UNet takes from the first: from the runtime that is trusted most."""
    takes = bundle.parts[UNET_CHUNKS[1]].inputs
    given = next((run.arrays for run in (runs.reference, runs.found) if not run.error), {})
    return {
        f"{UNET_CHUNKS[1]}/{name}": value.astype(takes[name].dtype)
        for name, value in given.items()
        if name in takes
    }


def _check_outputs(name: str, runs: PartRuns, units: str) -> Check:
    part, found = runs.part, runs.found
    try:
        described, figures = _describe_part(part)
    except Audio2ImgError as error:
        return Check(name, "fail", error.message, error.remedy, is_needed=True)
    if found.error:
        # Elsewhere than on a Mac it may be as it should: compiled, too large, or made for Core ML alone.
        is_for_macs = found.is_of_machine or bool(figures.get("unknown_operations"))
        state: State = "skip" if is_for_macs and not apple.is_here() else "fail"
        return Check(name, state, f"{described}; {found.error}", found.remedy, figures, is_needed=True)
    times = {key: found.number(key) for key in ("load_s", "call_s", "peak_bytes")}
    time = f"{(times['call_s'] or 0) * 1000:.1f} ms a call"
    figures |= times
    if broken := [output for output in part.outputs if not np.isfinite(found.arrays[output]).all()]:
        detail = f"{described}; gives no numbers in {', '.join(broken)}; {time}"
        return Check(name, "fail", detail, figures=figures, is_needed=True)
    if not apple.is_here():
        return Check(name, "ok", f"{described}; reference runtime, {time}", figures=figures, is_needed=True)
    against, expected = runs.expected
    if expected.error:
        detail = f"{described}; nothing to compare with; {time}"
        return Check(name, "ok", detail, figures=figures, is_needed=True)
    decibels = {
        output: round(psnr_db(found.arrays[output], expected.arrays[output]), 2) for output in part.outputs
    }
    figures |= {"against": against, "units": units, "outputs_db": decibels}
    said = ", ".join(f"{output} {value:.1f} dB" for output, value in decibels.items())
    detail = f"{described}; {units} against {against}: {said}; {time}"
    return Check(name, judge(min(decibels.values())), detail, figures=figures, is_needed=True)


def _describe_part(part: Part) -> tuple[str, dict[str, Any]]:
    """What a part is made of, in words and in figures."""
    form = "compiled" if part.path.suffix == ".mlmodelc" else "package"
    kinds = count_kinds(part.path)
    if kinds is None:
        return f"{form}, its operations are not listed", {"form": form}
    unknown = unknown_kinds(kinds)
    figures = {"form": form, "operations": dict(sorted(kinds.items())), "unknown_operations": unknown}
    known = f"the reference lacks {', '.join(unknown)}" if unknown else "all known to the reference"
    return f"{form}, {kinds.total()} operations of {len(kinds)} kinds, {known}", figures


def _check_operations(name: str, workshop: Workshop, runs: PartRuns, units: str) -> Check:
    """Values inside a part, on `units` and by the reference runtime, by kind of operation.

    A value carries the rounding of all before it, so the last operations look worse than they are.
    """
    path = runs.part.path
    if not apple.is_here():
        return Check(name, "skip", "comparing them with Core ML's needs macOS")
    if path.suffix == ".mlmodelc":
        return Check(name, "skip", "nobody sees into a compiled model; its outputs are compared above")
    if runs.reference.error:
        return Check(name, "skip", f"the reference runtime cannot run it: {runs.reference.error}")
    if runs.found.error:
        return Check(name, "skip", "the part failed")
    try:
        taps = choose_taps(Package(path).load_function())
        tapped = write_tapped(path, workshop.new_file(".mlpackage"), tuple(taps))
    except Audio2ImgError as error:
        return Check(name, "note", f"cannot be looked into: {error.message}")
    inputs = str(save_arrays(workshop, runs.inputs))
    job = Job("part", str(tapped), units=units, inputs=inputs, repeats=0)
    expected, found = workshop.run(replace(job, runtime="reference")), workshop.run(job)
    if expected.error or found.error:
        return Check(name, "note", f"cannot be looked into: {expected.error or found.error}")
    return _compare_places(name, taps, found.arrays, expected.arrays, units)


def _compare_places(name: str, taps: dict[str, str], found: Arrays, expected: Arrays, units: str) -> Check:
    """taps: the values in the order of the program, each with the kind of its operation."""
    worst: dict[str, float] = {}
    for value, kind in taps.items():
        decibels = round(psnr_db(found[value], expected[value]), 2)
        worst[kind] = min(decibels, worst.get(kind, decibels))
    figures: dict[str, Any] = {"units": units, "least_db": worst}
    lost = [v for v in taps if np.isfinite(expected[v]).all() and not np.isfinite(found[v]).all()]
    if lost:
        where = f"first in {taps[lost[0]]} ({lost[0]})"
        detail = f"no numbers at {len(lost)} of {len(taps)} places on {units}, {where}"
        return Check(name, "fail", detail, figures=figures | {"first_lost": lost[0]})
    ranked = sorted(worst, key=lambda kind: worst[kind])
    said = ", ".join(f"{kind} {worst[kind]:.1f} dB" for kind in ranked[:WORST_SAID])
    detail = f"{len(worst)} kinds at {len(taps)} places, {units} against the reference; least {said}"
    return Check(name, "ok" if worst[ranked[0]] >= GOOD_DB else "note", detail, figures=figures)
