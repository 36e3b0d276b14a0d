"""Measures the mini Stable Diffusion on held-out sentences; diffusers draws, `pictures_judge` judges."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray

from audio2img.prompt.mini_world import Scene, write_sentence
from scripts.mini.pictures_common import Budget, held_out_scene, say
from scripts.mini.pictures_export import DEFAULT_GUIDANCE, DEFAULT_STEPS
from scripts.mini.pictures_judge import JUDGE_MINUTES, Judge, load_judge, train_judge
from scripts.mini.pictures_marks import Marks, mark_pictures, summarize

WORK_DIR = Path("training/pictures")
BATCH = 20


def load_pipeline(folder: Path) -> StableDiffusionPipeline:
    """The diffusers pipeline of a folder, in single precision."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def paint(
    pipeline: StableDiffusionPipeline,
    prompts: Sequence[str],
    seeds: Sequence[int],
    steps: int,
    guidance: float,
) -> NDArray[np.uint8]:
    """One picture for every prompt, with the noise of numpy's RandomState(seed): (n, 128, 128, 3) uint8."""
    pictures = []
    for start in range(0, len(prompts), BATCH):
        chosen = seeds[start : start + BATCH]
        noise = np.stack([np.random.RandomState(seed).standard_normal((4, 16, 16)) for seed in chosen])
        images = pipeline(
            list(prompts[start : start + BATCH]), num_inference_steps=steps, guidance_scale=guidance,
            latents=torch.from_numpy(noise).float(),
        ).images  # fmt: skip
        pictures += [np.asarray(image) for image in images]
    return np.stack(pictures)


def held_out_scenes(n: int, seed: int, p_two: float) -> list[Scene]:
    """Different scenes that no training has seen, drawn from the whole world."""
    rng = random.Random(seed)
    scenes: dict[Scene, None] = {}
    while len(scenes) < n:
        scenes[held_out_scene(rng, p_two)] = None
    return list(scenes)


def ready_judge(work: Path = WORK_DIR) -> Judge:
    """The judge of the training in `work`; a fresh one is trained there first where it is missing."""
    if not (work / "judge.pt").exists():
        train_judge(work, Budget(JUDGE_MINUTES), torch.device("cpu"))
    return load_judge(work / "judge.pt")


def measure(
    folder: Path, scenes: Sequence[Scene], judge: Judge, steps: int, guidance: float
) -> tuple[NDArray[np.uint8], list[Marks]]:
    """The pictures of the plain sentences of `scenes`, and their marks."""
    pipeline = load_pipeline(folder)
    prompts = [write_sentence(scene) for scene in scenes]
    pictures = paint(pipeline, prompts, range(1000, 1000 + len(prompts)), steps, guidance)
    return pictures, mark_pictures(judge, pictures, scenes)


def by_thing(scenes: Sequence[Scene], marks: Sequence[Marks]) -> dict[str, float]:
    """Share of right things, for every thing that is not always right."""
    shares: dict[str, list[bool]] = {}
    for scene, mark in zip(scenes, marks, strict=True):
        shares.setdefault(scene.items[0].thing, []).append(mark.things)
    return {
        thing: round(float(np.mean(right)), 2) for thing, right in sorted(shares.items()) if not all(right)
    }


def main(model_dir: Path, n: int, seed: int) -> dict[str, Any]:
    """Figures of `model_dir/diffusers` over n held-out sentences of one thing and n of two things.

    The judge is the one that scripts/train_mini_diffusion.py left in training/pictures; it is trained now
    (some minutes) where there is none.
    """
    result: dict[str, Any] = {"steps": DEFAULT_STEPS, "guidance": DEFAULT_GUIDANCE}
    judge = ready_judge()
    for name, p_two in (("one_thing", 0.0), ("two_things", 1.0)):
        scenes = held_out_scenes(n, seed, p_two)
        _, marks = measure(model_dir / "diffusers", scenes, judge, DEFAULT_STEPS, DEFAULT_GUIDANCE)
        result[name] = summarize(marks)
        if p_two == 0.0:
            result["things_not_always_right"] = by_thing(scenes, marks)
        say(f"pictures, {name}: {result[name]}")
    return result
