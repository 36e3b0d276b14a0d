"""One of our bundles drawn by Apple's pipeline: the same prompt, seed and latents, for comparison."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import audio2img
from audio2img.backends.coreml.bundle import Bundle
from audio2img.conversion.apple_tools import driver
from audio2img.conversion.apple_tools.environment import REMEDY, environment_python
from audio2img.diffusion.noise import initial_latents
from audio2img.errors import ModelError, UsageError
from audio2img.types import ImageRequest

PARTS = ("text_encoder", "text_encoder_2", "unet", "vae_decoder")
SCHEDULER_CLASSES = {
    "dpmpp-2m": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "ddim": "DDIMScheduler",
    "pndm": "PNDMScheduler",
}
"""The schedulers that draw the same in both; euler-a draws noise of its own."""


@dataclass(frozen=True, eq=False)
class AppleDrawing:
    """pixels: (height, width, 3) uint8; timings_s: load, first_step, step (mean of the others), total."""

    pixels: NDArray[np.uint8]
    timings_s: dict[str, float]


def draw_with_apple(bundle: Bundle, request: ImageRequest, compute_units: str = "ALL") -> AppleDrawing:
    """The picture of `request` by Apple's CoreMLStableDiffusionPipeline, from the bundle's parts.

    By Core ML on a Mac, elsewhere by the reference runtime. Raises MachineError without Apple's
    environment, UsageError for what Apple's pipeline cannot draw, ModelError if it fails.
    """
    python = environment_python()
    with tempfile.TemporaryDirectory(prefix="audio2img-apple-") as scratch:
        folder = Path(scratch)
        task = make_task(bundle, request, compute_units, folder)
        latents = initial_latents(request.seed, (1, *bundle.contract.latent_shape))
        np.save(task["latents"], latents)
        (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
        files = [str(folder / "task.json"), str(folder / "report.json")]
        done = subprocess.run(
            [str(python), str(driver.__file__), *files],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
        return read_drawing(folder, done.stderr)


def make_task(bundle: Bundle, request: ImageRequest, compute_units: str, folder: Path) -> dict[str, Any]:
    """What the driver is told, as plain JSON values; its files lie in `folder`.

    Raises UsageError for a UNet in two halves, and for a scheduler with noise of its own.
    """
    if "unet" not in bundle.parts:
        raise UsageError(
            "Apple's Python pipeline takes only a whole UNet", "compare a model that is not cut in two"
        )
    if request.scheduler not in SCHEDULER_CLASSES:
        raise UsageError(
            f"with {request.scheduler} no two pictures are alike", f"choose: {', '.join(SCHEDULER_CLASSES)}"
        )
    facts = bundle.settings.facts
    return {
        "parts": {name: str(bundle.parts[name].path.resolve()) for name in PARTS if name in bundle.parts},
        "tokenizer": str(bundle.tokenizer_folder.resolve()),
        "pad_token": facts.pad_tokens[0],
        "pad_token_2": facts.pad_tokens[-1],
        "zero_empty_negative": facts.zero_empty_negative,
        "scaling_factor": facts.scaling_factor,
        "scheduler_class": SCHEDULER_CLASSES[request.scheduler],
        "scheduler": scheduler_config(request.scheduler, facts.scheduler),
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "steps": request.steps,
        "guidance_scale": request.guidance_scale,
        "compute_unit": compute_units,
        "package_root": str(Path(audio2img.__file__).resolve().parents[1]),
        "latents": str(folder / "latents.npy"),
        "picture": str(folder / "picture.npy"),
    }


def scheduler_config(name: str, config: Any) -> dict[str, Any]:
    """A SchedulerConfig as the configuration of the diffusers class that draws the same."""
    table = {key: value for key, value in vars(config).items() if value is not None}
    extra: dict[str, dict[str, Any]] = {
        "dpmpp-2m": {"algorithm_type": "dpmsolver++", "solver_order": 2},
        "pndm": {"skip_prk_steps": True},
    }
    return {**table, **extra.get(name, {})}


def read_drawing(folder: Path, words: str) -> AppleDrawing:
    """What the driver left in `folder`; words: its stderr, the last line of which is quoted if it died."""
    report = folder / "report.json"
    if not report.is_file():
        last = words.strip().splitlines()[-1:] or ["it said nothing"]
        raise ModelError(f"Apple's pipeline died: {last[0]}", REMEDY)
    table = json.loads(report.read_text(encoding="utf-8"))
    if "error" in table:
        raise ModelError(
            f"Apple's pipeline failed: {table['error']}", "check it: python scripts/apple_env.py --check"
        )
    return AppleDrawing(np.load(folder / "picture.npy"), table["timings_s"])
