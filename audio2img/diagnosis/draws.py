"""Pictures drawn on each compute unit, compared with the reference runtime's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audio2img.backends.coreml import apple
from audio2img.diagnosis.checks import Check, State
from audio2img.diagnosis.child import Measurement, Workshop
from audio2img.diagnosis.worker import Job
from audio2img.mlprogram.signal import PIXEL_PEAK, psnr_db

GOOD_DB = 35.0  # what Apple's converter asks of each part (ABSOLUTE_MIN_PSNR in its torch2coreml.py)
LEAST_DB = 20.0  # below, it is another picture
UNITS = ("CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE", "ALL")
LARGE_MODEL_STEPS = 4  # of a model that is not ours, only the speed is looked at
PROMPT = "a red house under a yellow moon"
SEED = 1


@dataclass(frozen=True)
class Subject:
    """A model to draw with. steps: of its picture; is_mini: the embedded one, known to draw well."""

    name: str
    folder: Path
    steps: int
    is_mini: bool

    def job(self, **given: Any) -> Job:
        """A Job with this model's picture; `given` are other fields of it."""
        job = Job("draw", str(self.folder), prompt=PROMPT, seed=SEED, steps=self.steps)
        return replace(job, **given)


def draw_reference(workshop: Workshop, subject: Subject) -> tuple[Check, Measurement]:
    """The reference runtime's picture, which the others are compared with."""
    outcome = workshop.run(subject.job(runtime="reference"))
    name = f"draw {subject.name}, reference"
    needed = subject.is_mini and not apple.is_here()
    if outcome.error:
        state: State = "skip" if outcome.is_of_machine else "fail"
        return Check(name, state, outcome.error, outcome.remedy, is_needed=needed), outcome
    figures = _times(outcome)
    return Check(name, "ok", _say_times(figures), figures=figures, is_needed=needed), outcome


def draw_on(
    workshop: Workshop, subject: Subject, units: str, reference: Measurement, is_needed: bool = False
) -> tuple[Check, Measurement]:
    """A picture on `units`, with nothing compiled before, then loaded a second time.

    is_needed: this machine draws on these units.
    """
    cache = f"{subject.name}-{units}"
    outcome = workshop.run(subject.job(units=units), cache)
    name = f"draw {subject.name}, {units}"
    if outcome.error:
        return Check(name, "fail", outcome.error, outcome.remedy, is_needed=is_needed), outcome
    warm = workshop.run(subject.job(task="load", units=units), cache)
    figures = _times(outcome)
    figures["load_cold_s"] = figures.pop("load_s")
    figures["load_warm_s"] = warm.number("load_s")
    if reference.error:
        detail = f"nothing to compare with; {_say_times(figures)}"
        return Check(name, "ok", detail, figures=figures, is_needed=is_needed), outcome
    decibels, state = compare(outcome, reference)
    figures |= decibels
    signal = f"picture {decibels['picture_db']:.1f} dB, latents {decibels['latents_db']:.1f} dB"
    remedy = "" if state == "ok" else "try other --compute-units, and report this table"
    return Check(name, state, f"{signal}; {_say_times(figures)}", remedy, figures, is_needed), outcome


def compare(found: Measurement, expected: Measurement) -> tuple[dict[str, float], State]:
    """PSNR of picture and latents, and what to think of it."""
    picture = psnr_db(found.arrays["pixels"], expected.arrays["pixels"], PIXEL_PEAK)
    latents = psnr_db(found.arrays["latents"], expected.arrays["latents"])
    return {"picture_db": round(picture, 2), "latents_db": round(latents, 2)}, judge(picture)


def judge(decibels: float) -> State:
    """What to think of such a difference."""
    return "ok" if decibels >= GOOD_DB else "note" if decibels >= LEAST_DB else "fail"


def compare_memory(workshop: Workshop, subject: Subject, units: str, normal: Measurement) -> Check:
    """The peak with all parts loaded (`normal`) against that with one part at a time."""
    name = f"low memory, {subject.name}"
    if normal.error:
        return Check(name, "skip", "the picture with all parts loaded failed")
    low = workshop.run(subject.job(units=units, low_memory=True), f"{subject.name}-{units}")
    if low.error:
        return Check(name, "fail", low.error, low.remedy)
    most, least = normal.number("peak_bytes"), low.number("peak_bytes")
    if most is None or least is None:
        return Check(name, "skip", "this system does not tell the peak of memory")
    same = psnr_db(low.arrays["pixels"], normal.arrays["pixels"], PIXEL_PEAK)
    figures = {"peak_bytes": most, "low_peak_bytes": least, "ratio": least / most, "picture_db": same}
    detail = f"{least / 1e6:.0f} MB instead of {most / 1e6:.0f} MB ({least / most:.2f})"
    if same < LEAST_DB:
        return Check(name, "fail", f"another picture ({same:.1f} dB); {detail}", figures=figures)
    return Check(name, "ok", detail, figures=figures)


def skipped_units() -> Iterator[Check]:
    """What cannot be asked without Core ML."""
    for units in UNITS:
        yield Check(f"draw mini, {units}", "skip", "needs macOS")


def _times(outcome: Measurement) -> dict[str, Any]:
    names = ("load_s", "first_step_s", "step_s", "encode_s", "decode_s", "peak_bytes")
    return {name: outcome.number(name) for name in names}


def _say_times(figures: dict[str, Any]) -> str:
    def seconds(name: str) -> str:
        value = figures.get(name)
        return "unknown" if value is None else f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"

    if "load_cold_s" in figures:
        load = f"load {seconds('load_cold_s')} cold, {seconds('load_warm_s')} warm"
    else:
        load = f"load {seconds('load_s')}"
    peak = figures.get("peak_bytes")
    memory = "" if peak is None else f", peak {peak / 1e6:.0f} MB"
    return f"step {seconds('step_s')}, first step after {seconds('first_step_s')}, {load}{memory}"
