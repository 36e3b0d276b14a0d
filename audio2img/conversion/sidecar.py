"""What a Core ML package has no place for, taken from the diffusers folder's own files: the sidecar."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audio2img.backends.coreml.settings import SIDECAR_FORMAT
from audio2img.conversion.source import Source, read_json
from audio2img.diffusion.facts import usual_defaults
from audio2img.diffusion.schedulers import SCHEDULER_NAMES, SchedulerConfig
from audio2img.diffusion.tokenizer import find_pad_token

# CLIP's preprocessing, from openai/clip-vit-large-patch14's preprocessor_config.json.
CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
CLIP_STD = [0.26862954, 0.26130258, 0.27577711]

# Settings that change what the model means and that not every runtime knows: kept where they are
# set, so that one that does not know them refuses the model and does not draw it wrongly.
_STRICT_KEYS = (
    "rescale_betas_zero_snr",
    "thresholding",
    "trained_betas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
    "use_lu_lambdas",
    "use_flow_sigmas",
    "sigma_min",
    "sigma_max",
)
# Of DPM-Solver and DDIM configurations what diffusers itself writes when nobody chose it.
_KEPT_IF_CHOSEN = {
    "use_karras_sigmas": False,
    "final_sigmas_type": "zero",
    "lower_order_final": True,
    "euler_at_final": False,
    "set_alpha_to_one": False,
    "clip_sample": False,
    "prediction_type": "epsilon",
}


def make_sidecar(source: Source, name: str, latent_rgb: Mapping[str, Any] | None) -> dict[str, Any]:
    """The contents of audio2img.json. latent_rgb: of latent_rgb.fit_latent_rgb."""
    scheduler = read_json(source.folder / "scheduler" / "scheduler_config.json")
    vae = source.configs["vae"]
    recommended = source.folder / "recommended.json"
    wishes = read_json(recommended) if recommended.is_file() else {}
    usual = usual_defaults(source.kind, scheduler, (0, 0))  # the size is in the parts
    if usual.scheduler not in SCHEDULER_NAMES:  # LCM's, which only diffusers has
        usual = usual_defaults(source.kind, {}, (0, 0))
    sidecar: dict[str, Any] = {
        "format": SIDECAR_FORMAT,
        "name": name,
        "kind": source.kind,
        "prediction_type": scheduler.get("prediction_type", "epsilon"),
        "scaling_factor": vae.get("scaling_factor", 0.18215),
    }
    if vae.get("shift_factor") is not None:
        sidecar["shift_factor"] = vae["shift_factor"]
    sidecar["pad_token"] = find_pad_token(source.folder / "tokenizer")
    if source.kind == "sdxl":
        sidecar["pad_token_2"] = find_pad_token(source.folder / "tokenizer_2")
        sidecar["zero_empty_negative"] = _forces_zeros(source)
    sidecar["scheduler"] = scheduler_settings(scheduler)
    sidecar["defaults"] = {
        "steps": wishes.get("num_inference_steps", usual.steps),
        "guidance_scale": wishes.get("guidance_scale", usual.guidance_scale),
        "scheduler": usual.scheduler,
    }
    if "safety_checker" in source.parts:
        sidecar["safety_checker"] = _picture_settings(source)
    if latent_rgb is not None:
        sidecar["latent_rgb"] = {key: latent_rgb[key] for key in ("matrix", "bias")}
    return sidecar


def scheduler_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Of a scheduler_config.json what our schedulers take, and what a model must not be drawn without."""
    known = {key: config[key] for key in SchedulerConfig.__dataclass_fields__ if config.get(key) is not None}
    chosen = {key: value for key, value in known.items() if _KEPT_IF_CHOSEN.get(key) != value}
    strict = {key: config[key] for key in _STRICT_KEYS if config.get(key)}
    return {**chosen, **strict}


def copy_tokenizers(source: Source, folder: Path) -> None:
    """vocab.json and merges.txt; where SDXL's second tokenizer has others, vocab_2.json, merges_2.txt."""
    for name in ("vocab.json", "merges.txt"):
        first, second = source.folder / "tokenizer" / name, source.folder / "tokenizer_2" / name
        shutil.copyfile(first, folder / name)
        if source.kind == "sdxl" and first.read_bytes() != second.read_bytes():
            stem, suffix = name.split(".")
            shutil.copyfile(second, folder / f"{stem}_2.{suffix}")


def _forces_zeros(source: Source) -> bool:
    """Whether an empty negative prompt means zeros and not the empty text (so in SDXL's base model)."""
    index = read_json(source.folder / "model_index.json")
    return bool(index.get("force_zeros_for_empty_prompt", True))


def _picture_settings(source: Source) -> dict[str, Any]:
    """How a picture is prepared for the safety checker: resized to `size` and cropped, (x - mean) / std."""
    path = source.folder / "feature_extractor" / "preprocessor_config.json"
    table = read_json(path) if path.is_file() else {}
    vision = source.configs["safety_checker"].get("vision_config") or {}
    return {
        "size": vision.get("image_size", 224),
        "image_mean": table.get("image_mean", CLIP_MEAN),
        "image_std": table.get("image_std", CLIP_STD),
    }
