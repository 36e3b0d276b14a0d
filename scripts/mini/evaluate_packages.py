"""Measures the palettized Core ML packages of the mini Stable Diffusion as evaluate_pictures does the
diffusers folder: the same held-out sentences, seeds, steps, guidance and judge, drawn by our own runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from audio2img.backends.coreml.backend import CoreMLBackend
from audio2img.prompt.mini_world import write_sentence
from audio2img.types import ImageRequest
from scripts.mini.evaluate_pictures import held_out_scenes, ready_judge
from scripts.mini.pictures_common import say
from scripts.mini.pictures_marks import mark_pictures, summarize

FIRST_SEED = 1000  # as in evaluate_pictures.measure


def main(model_dir: Path, n: int, seed: int) -> dict[str, Any]:
    """Figures of `model_dir/coreml` over n held-out sentences of one thing."""
    judge = ready_judge()
    scenes = held_out_scenes(n, seed, p_two=0.0)
    backend = CoreMLBackend.load(model_dir / "coreml")
    defaults = backend.defaults
    pictures = []
    for number, scene in enumerate(scenes):
        request = ImageRequest(
            write_sentence(scene),
            seed=FIRST_SEED + number,
            steps=defaults.steps,
            guidance_scale=defaults.guidance_scale,
            scheduler=defaults.scheduler,
        )
        pictures.append(backend.generate(request).pixels)
        if (number + 1) % 50 == 0:
            say(f"packages: {number + 1} of {n} drawn")
    marks = mark_pictures(judge, np.stack(pictures), scenes)
    return {"steps": defaults.steps, "guidance": defaults.guidance_scale, "one_thing": summarize(marks)}
