"""What a model in diffusers' form draws best with: its own word, or what its kind is known for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audio2img.backends.torch.folder import RECOMMENDED_NAME, ModelFolder
from audio2img.backends.torch.schedulers import EDM_CLASSES, LCM, name_of
from audio2img.diffusion import ModelDefaults
from audio2img.errors import ModelError

DEFAULT_SCHEDULER = "dpmpp-2m"
GUIDANCE_SCALES = {"sd": 7.5, "sdxl": 5.0}  # the defaults of diffusers' pipelines
STEPS = 20
EDM_STEPS, EDM_GUIDANCE = 50, 3.0  # Playground v2.5, as its authors give (its model card)
LCM_STEPS, LCM_GUIDANCE = 4, 8.0  # LCM Dreamshaper v7's model card; of models that are told the scale
FEW_STEPS = 4  # the most that SD-Turbo and SDXL-Turbo were trained for; they take no guidance


def find_defaults(model: ModelFolder) -> ModelDefaults:
    """The defaults of a model; recommended.json beside it wins. Raises ModelError if that is damaged."""
    steps, guidance, scheduler = _by_kind(model)
    wishes = model.recommended
    width, height = model.size
    return ModelDefaults(
        steps=int(_number(model, wishes, "num_inference_steps", steps, least=1)),
        guidance_scale=_number(model, wishes, "guidance_scale", guidance, least=0),
        scheduler=scheduler,
        width=width,
        height=height,
    )


def _by_kind(model: ModelFolder) -> tuple[int, float, str]:
    """(steps, guidance scale, scheduler)."""
    class_name = model.scheduler_class
    own = name_of(class_name)
    if class_name in EDM_CLASSES:
        return EDM_STEPS, EDM_GUIDANCE, own or DEFAULT_SCHEDULER
    if own == LCM:
        is_told = model.parts["unet"].config.get("time_cond_proj_dim") is not None
        return LCM_STEPS, LCM_GUIDANCE if is_told else 1.0, LCM
    if own in ("euler", "euler-a") and is_turbo(model.scheduler):
        return FEW_STEPS, 0.0, own
    return STEPS, GUIDANCE_SCALES[model.kind], DEFAULT_SCHEDULER


def is_turbo(scheduler: Mapping[str, Any]) -> bool:
    """Whether a scheduler's settings are those of the Turbo models: trailing timesteps, noise predicted.

    Models that were trained to end in pure noise have trailing timesteps, too, but predict v.
    """
    return (
        scheduler.get("timestep_spacing") == "trailing"
        and scheduler.get("prediction_type", "epsilon") == "epsilon"
        and not scheduler.get("rescale_betas_zero_snr")
    )


def _number(model: ModelFolder, table: Mapping[str, Any], key: str, default: float, least: float) -> float:
    value = table.get(key, default)
    if type(value) not in (int, float) or not least <= value <= 1000:
        raise ModelError(
            f"{model.path / RECOMMENDED_NAME} has {key} = {str(value)[:40]!r}, which cannot be used",
            "mend it",
        )
    return float(value)
