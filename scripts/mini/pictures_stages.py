"""The stages of the picture training, each from the files of the ones before it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from scripts.mini.pictures_codec import CodecSettings, reconstruct, train_codec
from scripts.mini.pictures_common import Budget, draw_pool, held_out_scene, say
from scripts.mini.pictures_export import export_model
from scripts.mini.pictures_judge import load_judge, train_judge
from scripts.mini.pictures_marks import mark_pictures, summarize
from scripts.mini.pictures_text import load_tokenizer, pretrain_text, write_tokenizer
from scripts.mini.pictures_unet import UNetSettings, encode_shard, train_unet

SHARD = 2048  # pictures in a file of latents


@dataclass(frozen=True)
class Plan:
    """Where the training lives, and its size."""

    work: Path
    model_dir: Path
    device: torch.device
    latents: int
    p_two: float
    batch: int
    seed: int


def run_stage(stage: str, plan: Plan, minutes: float) -> None:
    """Runs one stage; `minutes` is its time over all runs."""
    budget = Budget(minutes)
    plan.work.mkdir(parents=True, exist_ok=True)
    if stage == "tokenizer":
        write_tokenizer(plan.work / "tokenizer")
    elif stage == "judge":
        train_judge(plan.work, budget, plan.device, seed=23 + plan.seed)
        _report_judge(plan)
    elif stage == "vae":
        train_codec(plan.work, budget, CodecSettings(seed=11 + plan.seed), plan.device)
        _report_codec(plan)
    elif stage == "latents":
        _encode_missing_shards(plan)
    elif stage == "text":
        tokenizer = load_tokenizer(plan.work / "tokenizer")
        pretrain_text(tokenizer, plan.work, budget, plan.device, seed=31 + plan.seed)
    elif stage == "unet":
        settings = UNetSettings(batch=plan.batch, seed=41 + plan.seed)
        train_unet(load_tokenizer(plan.work / "tokenizer"), plan.work, budget, settings, plan.device)
    elif stage == "export":
        export_model(plan.work, plan.model_dir / "diffusers")


def _encode_missing_shards(plan: Plan) -> None:
    codec = AutoencoderKL.from_pretrained(plan.work / "vae").to(plan.device).eval()
    for number in range(-(-plan.latents // SHARD)):
        if not (plan.work / f"latents-{number:03d}.pt").exists():
            encode_shard(codec, plan.work, number, SHARD, plan.p_two, 51 + plan.seed)


def _report_judge(plan: Plan) -> None:
    judge = load_judge(plan.work / "judge.pt")
    for p_two, name in ((0.0, "one thing"), (1.0, "two things")):
        pool = draw_pool(500, 990, p_two, held_out_scene)
        marks = mark_pictures(judge, pool.pictures, pool.scenes)
        say(f"judge on held-out drawings, {name}: {summarize(marks)}")


def _report_codec(plan: Plan) -> None:
    if not (plan.work / "judge.pt").exists():
        return
    judge = load_judge(plan.work / "judge.pt")
    codec = AutoencoderKL.from_pretrained(plan.work / "vae").to(plan.device).eval()
    for p_two, name in ((0.0, "one thing"), (1.0, "two things")):
        pool = draw_pool(300, 991, p_two, held_out_scene)
        marks = mark_pictures(judge, reconstruct(codec, pool.pictures), pool.scenes)
        say(f"judge on reconstructions, {name}: {summarize(marks)}")
