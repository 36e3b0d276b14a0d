"""One measurement in a process of its own: `python -m audio2img.diagnosis.worker JOB RESULT ARRAYS`.

Core ML can end the process that calls it, keeps what it has loaded, and a peak of memory is that of a
whole process; so each measurement has its own. What it finds goes into a JSON file, written anew with
each figure, and an `.npz` file of arrays.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from audio2img.backends.coreml.backend import CoreMLBackend
from audio2img.backends.coreml.bundle import Bundle, load_bundle
from audio2img.backends.coreml.runtime import load_part
from audio2img.backends.coreml.units import ComputeChoice
from audio2img.backends.protocol import DrawingStep
from audio2img.diagnosis.memory import peak_memory_bytes
from audio2img.diagnosis.watch import Arrays, WatchedParts, load_reference
from audio2img.errors import Audio2ImgError, MachineError
from audio2img.files import replace_file
from audio2img.types import ImageRequest

Task = Literal["load", "draw", "part"]
Note = Callable[..., None]


@dataclass(frozen=True)
class Job:
    """What to measure.

    task: load the parts of the bundle `model`; draw a picture with it; or run one part, whose path
        `model` then is, on `inputs`, an `.npz` of them by name. runtime: "coreml" is whatever draws here.
    repeats: predictions of a part after the first, to be timed. started: when the process was, by time.time.
    """

    task: Task
    model: str
    runtime: Literal["coreml", "reference"] = "coreml"
    units: str = "ALL"
    low_memory: bool = False
    prompt: str = ""
    steps: int = 1
    seed: int = 0
    inputs: str = ""
    repeats: int = 3
    started: float = 0.0


def main(arguments: list[str]) -> None:
    job_file, result_file, arrays_file = map(Path, arguments)
    job = Job(**json.loads(job_file.read_text(encoding="utf-8")))
    results: dict[str, Any] = {}

    def note(**more: Any) -> None:
        results.update(more)
        replace_file(result_file, json.dumps(results).encode())

    try:
        arrays = TASKS[job.task](job, note)
        np.savez(arrays_file, **arrays)  # type: ignore[arg-type]
    except Audio2ImgError as error:
        note(error=error.message, remedy=error.remedy, is_of_machine=isinstance(error, MachineError))
    note(peak_bytes=peak_memory_bytes())


def measure_load(job: Job, note: Note) -> Arrays:
    """load_s: from an opened bundle to loaded parts."""
    _load(job, note, load_bundle(Path(job.model)))
    return {}


def measure_draw(job: Job, note: Note) -> Arrays:
    """load_s, first_step_s (from the request to the end of the first step), start_s (from the start of the
    process to there), step_s (median of the UNet's later calls), encode_s, decode_s; the arrays `pixels`
    and `latents` (before the decoder)."""
    bundle = load_bundle(Path(job.model))
    parts = _load(job, note, bundle)
    backend = CoreMLBackend(bundle, parts, ComputeChoice(job.units, bundle.attention, "measured"))
    defaults = backend.defaults
    request = ImageRequest(
        job.prompt, seed=job.seed, steps=job.steps,
        guidance_scale=defaults.guidance_scale, scheduler=defaults.scheduler,
    )  # fmt: skip
    ends: list[tuple[float, float]] = []

    def report(step: DrawingStep) -> None:
        ends.append((time.perf_counter(), time.time()))

    started = time.perf_counter()
    result = backend.generate(request, report)
    unet_s = [call.duration_s for call in parts.calls if call.part in parts.unet_names]
    n_per_step = len(unet_s) // job.steps
    later = unet_s[n_per_step:] or unet_s
    timings = result.timings_s
    note(
        first_step_s=ends[0][0] - started,
        start_s=ends[0][1] - job.started,
        step_s=statistics.median(later) * n_per_step,
        encode_s=timings["encode"],
        decode_s=timings["decode"],
    )
    (latents,) = [call.inputs["z"] for call in parts.calls if call.part == "vae_decoder"]
    return {"pixels": result.pixels, "latents": latents}


def measure_part(job: Job, note: Note) -> Arrays:
    """load_s, call_s (median of the repeats); the arrays are the part's outputs."""
    path = Path(job.model)
    started = time.perf_counter()
    model = load_reference(path) if job.runtime == "reference" else load_part(path, job.units)
    note(load_s=time.perf_counter() - started)
    with np.load(job.inputs) as file:
        inputs = {key: file[key] for key in file.files}
    results = dict(model.predict(inputs))
    calls = []
    for _ in range(job.repeats):
        started = time.perf_counter()
        model.predict(inputs)
        calls.append(time.perf_counter() - started)
    note(call_s=statistics.median(calls) if calls else None)
    return results


def _load(job: Job, note: Note, bundle: Bundle) -> WatchedParts:
    parts = WatchedParts(bundle, job.units, job.low_memory, job.runtime == "reference")
    started = time.perf_counter()
    if not job.low_memory:
        parts.load_all()
    note(load_s=time.perf_counter() - started)
    return parts


TASKS = {"load": measure_load, "draw": measure_draw, "part": measure_part}


def write_job(job: Job, path: Path) -> None:
    path.write_text(json.dumps(asdict(job)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
