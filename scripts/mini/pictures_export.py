"""Writes the trained parts as a diffusers folder in half precision, as models/mini/diffusers has it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler
from diffusers.models.attention_processor import AttnProcessor2_0

from audio2img.conversion.apple_tools.legacy import write_renamed
from scripts.mini.pictures_common import say
from scripts.mini.pictures_text import load_tokenizer
from scripts.mini.pictures_unet import NOISE_SCHEDULE, load_average

DEFAULT_STEPS = 20
DEFAULT_GUIDANCE = 5.0
RECOMMENDED = {"guidance_scale": DEFAULT_GUIDANCE, "num_inference_steps": DEFAULT_STEPS}
TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")
MODEL_INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def export_model(work: Path, folder: Path) -> None:
    """Writes `folder` from the checkpoints in `work`, under a temporary name first."""
    tokenizer = load_tokenizer(work / "tokenizer")
    unet, text = load_average(tokenizer, work)
    unet.set_attn_processor(AttnProcessor2_0())
    codec = AutoencoderKL.from_pretrained(work / "vae")
    fresh = folder.with_name(folder.name + ".part")
    shutil.rmtree(fresh, ignore_errors=True)
    for name, part in (("unet", unet), ("text_encoder", text), ("vae", codec)):
        part.to(memory_format=torch.contiguous_format).half().save_pretrained(fresh / name)
    _name_as_ever(fresh / "text_encoder" / "model.safetensors")
    scheduler = DPMSolverMultistepScheduler(**NOISE_SCHEDULE, steps_offset=1)
    scheduler.save_pretrained(fresh / "scheduler")
    (fresh / "tokenizer").mkdir()
    for name in TOKENIZER_FILES:
        shutil.copyfile(work / "tokenizer" / name, fresh / "tokenizer" / name)
    _write_json(fresh / "model_index.json", MODEL_INDEX)
    _write_json(fresh / "recommended.json", RECOMMENDED)
    for config in fresh.glob("*/config.json"):
        _drop_paths(config)
    for path in fresh.rglob("*.safetensors"):
        path.chmod(0o644)  # safetensors writes files for the owner alone
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    say(f"export: {folder}, {size / 1e6:.2f} MB")


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _name_as_ever(weights: Path) -> None:
    """Gives the text encoder's tensors the names that every transformers reads, not only the newest."""
    renamed = weights.with_suffix(".renamed")
    write_renamed(weights, renamed, "text_encoder")
    renamed.replace(weights)


def _drop_paths(config: Path) -> None:
    """Takes out the folder that a part was loaded from."""
    content = json.loads(config.read_text(encoding="utf-8"))
    content.pop("_name_or_path", None)
    _write_json(config, content)
