"""Draws one picture with Apple's CoreMLStableDiffusionPipeline; run by path, in Apple's environment.

    python driver.py TASK.json REPORT.json

The pipeline is given the parts of a bundle directly, and not a PyTorch pipeline of a repository
that is gone. Nothing of audio2img is imported on a Mac: it is not installed there. Elsewhere, where
Core ML is not, the parts are run by its reference runtime, so that Apple's pipeline can be compared
with ours anywhere. TASK is written by oracle.make_task.

The tests have no Apple environment, so they run only what needs none. Run by hand on Linux with the
pins of environment.py, the reference runtime under both: the pictures of the mini model and of a tiny
SDXL, with and without a negative prompt, by four schedulers, equal ours to 70-80 dB as bytes. What
was not run is Core ML itself under Apple's CoreMLModel.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

APPLE_SCALING_FACTOR = 0.18215  # written into CoreMLStableDiffusionPipeline.decode_latents
FAST_PREDICTION_SINCE = 15  # macOS
TEXT_LENGTH = 77


class ReferencePart:
    """A package run by audio2img's reference runtime, in the shape of Apple's CoreMLModel."""

    def __init__(self, path: str, package_root: str) -> None:
        sys.path.append(package_root)
        from audio2img.mlprogram.mlpackage import Package
        from audio2img.mlprogram.reference import ReferenceModel

        self._model = ReferenceModel(Package(Path(path)))
        self.expected_inputs = {
            spec.name: {"shape": spec.shape, "dtype": spec.dtype} for spec in self._model.description.inputs
        }

    def __call__(self, **inputs: Any) -> Any:
        return self._model.predict(inputs)


def load_part(path: str, compute_unit: str, is_unet: bool, package_root: str) -> Any:
    """A part as Apple's CoreMLModel, with the hint that Apple gives the UNet; off macOS a ReferencePart."""
    if sys.platform != "darwin":
        return ReferencePart(path, package_root)
    import coremltools as ct
    from python_coreml_stable_diffusion.coreml_model import CoreMLModel

    hints = None
    if is_unet and int(platform.mac_ver()[0].split(".")[0] or 0) >= FAST_PREDICTION_SINCE:
        hints = {"specializationStrategy": ct.SpecializationStrategy.FastPrediction}
    sources = "packages" if path.endswith(".mlpackage") else "compiled"
    return CoreMLModel(path, compute_unit, sources=sources, optimization_hints=hints)


def make_tokenizer(folder: str, pad_token: str) -> Any:
    from transformers import CLIPTokenizer

    files = {"vocab_file": f"{folder}/vocab.json", "merges_file": f"{folder}/merges.txt"}
    return CLIPTokenizer(**files, pad_token=pad_token, model_max_length=TEXT_LENGTH)


def make_pipeline(task: dict[str, Any], parts: dict[str, Any]) -> Any:
    """Apple's pipeline around loaded parts, its scaling factor mended to be the model's own."""
    import diffusers
    from python_coreml_stable_diffusion.pipeline import CoreMLStableDiffusionPipeline

    class Pipeline(CoreMLStableDiffusionPipeline):
        def decode_latents(self, latents: Any) -> Any:
            return super().decode_latents(latents * (APPLE_SCALING_FACTOR / task["scaling_factor"]))

    scheduler = getattr(diffusers, task["scheduler_class"]).from_config(task["scheduler"])
    second: dict[str, Any] = {}
    if "text_encoder_2" in parts:
        second["tokenizer_2"] = make_tokenizer(task["tokenizer"], task["pad_token_2"])
    return Pipeline(
        **parts,
        **second,
        scheduler=scheduler,
        tokenizer=make_tokenizer(task["tokenizer"], task["pad_token"]),
        controlnet=None,
        xl="text_encoder_2" in parts,
        force_zeros_for_empty_prompt=task["zero_empty_negative"],
    )


def draw(task: dict[str, Any]) -> dict[str, Any]:
    """Load, draw, save the picture (height, width, 3) uint8 as .npy; the report's table."""
    import numpy as np

    started = time.perf_counter()
    parts = {
        name: load_part(path, task["compute_unit"], name == "unet", task["package_root"])
        for name, path in task["parts"].items()
    }
    pipeline = make_pipeline(task, parts)
    loaded = time.perf_counter()
    ends: list[float] = []
    negative = task["negative_prompt"]
    result = pipeline(
        prompt=task["prompt"],
        negative_prompt=None if not negative and task["zero_empty_negative"] else negative,
        height=pipeline.height,
        width=pipeline.width,
        num_inference_steps=task["steps"],
        guidance_scale=task["guidance_scale"],
        latents=np.load(task["latents"]).astype(np.float32),
        output_type="np",
        unet_batch_one=pipeline.unet.expected_inputs["sample"]["shape"][0] == 1,
        callback=lambda *_: ends.append(time.perf_counter()),
    )
    ended = time.perf_counter()
    np.save(task["picture"], (np.asarray(result["images"][0]) * 255).round().astype(np.uint8))
    return {"timings_s": timings(started, loaded, ends, ended)}


def timings(started: float, loaded: float, step_ends: list[float], ended: float) -> dict[str, float]:
    """Seconds: load; first_step and what goes before it; step, the mean of the others; total with load."""
    first, last = (step_ends[0], step_ends[-1]) if step_ends else (ended, ended)
    return {
        "load": loaded - started,
        "first_step": first - loaded,
        "step": (last - first) / max(len(step_ends) - 1, 1),
        "total": ended - started,
    }


def main(task_file: str, report_file: str) -> int:
    """0 if the picture was drawn; the report says why not."""
    try:
        report = draw(json.loads(Path(task_file).read_text(encoding="utf-8")))
    except ImportError as error:
        report = {"error": f"Apple's package cannot be imported: {error}"}
    except Exception as error:  # whatever it is, the caller is to read it
        report = {"error": f"{type(error).__name__}: {error}"}
    Path(report_file).write_text(json.dumps(report), encoding="utf-8")
    return 1 if "error" in report else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
