"""The facts of a model in diffusers' form, from its folder's own files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from audio2img.backends.torch.folder import RECOMMENDED_NAME, ModelFolder
from audio2img.diffusion.facts import ModelFacts, usual_defaults
from audio2img.diffusion.preview import SCALING_FACTORS
from audio2img.diffusion.schedulers import SchedulerConfig
from audio2img.diffusion.tokenizer import find_pad_token
from audio2img.errors import ModelError

TINY_SCALING_FACTOR = 1.0  # diffusers' default for AutoencoderTiny


def read_facts(model: ModelFolder) -> ModelFacts:
    """The facts of a model; of its defaults, recommended.json beside it has the last word.

    Raises ModelError if a file of them is damaged.
    """
    is_told = model.parts["unet"].config.get("time_cond_proj_dim") is not None
    usual = usual_defaults(model.kind, model.scheduler, model.size, is_told)
    wishes, vae = model.recommended, model.parts["vae"]
    unsaid = TINY_SCALING_FACTOR if vae.class_name == "AutoencoderTiny" else SCALING_FACTORS["sd"]
    return ModelFacts(
        family=model.kind,
        scheduler=SchedulerConfig.from_dict(model.scheduler),
        scaling_factor=float(vae.config.get("scaling_factor", unsaid)),
        pad_tokens=tuple(find_pad_token(folder) for folder in model.tokenizers),
        zero_empty_negative=model.kind == "sdxl"
        and bool(model.index.get("force_zeros_for_empty_prompt", True)),
        defaults=replace(
            usual,
            steps=int(_number(model, wishes, "num_inference_steps", usual.steps, least=1)),
            guidance_scale=_number(model, wishes, "guidance_scale", usual.guidance_scale, least=0),
        ),
    )


def _number(model: ModelFolder, table: Mapping[str, Any], key: str, default: float, least: float) -> float:
    value = table.get(key, default)
    if type(value) not in (int, float) or not least <= value <= 1000:
        raise ModelError(
            f"{model.path / RECOMMENDED_NAME} has {key} = {str(value)[:40]!r}, which cannot be used",
            "mend it",
        )
    return float(value)
