"""The embedded model drawn by Apple's own Python pipeline and by ours: the picture, and the times."""

from __future__ import annotations

from typing import Any

from audio2img.backends.coreml import apple
from audio2img.backends.coreml.bundle import load_bundle
from audio2img.conversion.apple_tools.environment import environment_python
from audio2img.conversion.apple_tools.oracle import AppleDrawing, draw_with_apple
from audio2img.diagnosis.checks import Check, State
from audio2img.diagnosis.child import Measurement
from audio2img.diagnosis.draws import GOOD_DB, PROMPT, SEED, Subject
from audio2img.errors import Audio2ImgError, MachineError
from audio2img.mlprogram.signal import PIXEL_PEAK, psnr_db
from audio2img.types import ImageRequest

NAME = "against apple"


def check_against_apple(subject: Subject, units: str, ours: Measurement) -> Check:
    """ours: the picture that was drawn of the same request by the same runtime: Core ML on these units,
    or the reference runtime, which stands in for it in Apple's pipeline too."""
    try:
        environment_python()
    except MachineError as error:
        return Check(NAME, "skip", error.message, error.remedy)
    if ours.error:
        return Check(NAME, "skip", "there is no picture of ours to compare with")
    try:
        bundle = load_bundle(subject.folder, subject.name)
        defaults = bundle.defaults
        request = ImageRequest(
            PROMPT, seed=SEED, steps=subject.steps,
            guidance_scale=defaults.guidance_scale, scheduler=defaults.scheduler,
        )  # fmt: skip
        theirs = draw_with_apple(bundle, request, units)
    except Audio2ImgError as error:
        return Check(NAME, "note", error.message, error.remedy)
    return _compare(subject, units, ours, theirs)


def _compare(subject: Subject, units: str, ours: Measurement, theirs: AppleDrawing) -> Check:
    """Their load compiles every package, as our cold one does, and imports torch, which ours need not."""
    decibels = psnr_db(ours.arrays["pixels"], theirs.pixels, PIXEL_PEAK)
    own = {name: ours.number(f"{name}_s") or 0.0 for name in ("load", "first_step", "step")}
    runtime = units if apple.is_here() else "the reference runtime"
    figures: dict[str, Any] = {"runtime": runtime, "picture_db": round(decibels, 2)}
    said = []
    for name, seconds in own.items():
        other = theirs.timings_s[name]
        figures |= {f"{name}_s": seconds, f"apple_{name}_s": other}
        said.append(f"{name.replace('_', ' ')} {seconds:.3f} s (theirs {other:.3f} s)")
    state: State = "ok" if decibels >= GOOD_DB else "note"
    detail = f"{subject.name} on {runtime}: picture {decibels:.1f} dB; {', '.join(said)}"
    return Check(NAME, state, detail, figures=figures)
