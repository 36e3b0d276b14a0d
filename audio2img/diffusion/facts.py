"""What a model says of itself, whichever form its files have: ModelFacts, filled by each backend's reader.

The same model gives the same facts, so that it walks the same timesteps with the same guidance in every
backend. Where a model is silent, what its publishers wrote for its family holds: the scheduler_config.json
of Stable Diffusion 1.x, 2.x (spacing left to the scheduler's own habit) and of SDXL's base ("leading" with
an offset of 1), and the guidance that diffusers' pipelines take for them. Apple's Swift pipeline walks SDXL
from the last timestep, at a guidance of 7.5; those are its own defaults and not the model's, so they are
not followed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from audio2img.diffusion import ModelDefaults
from audio2img.diffusion.schedulers import SchedulerConfig

Family = Literal["sd", "sdxl"]

DEFAULT_SCHEDULER = "dpmpp-2m"
DEFAULT_STEPS = 20
# The defaults of diffusers' pipelines
GUIDANCE_SCALES: Mapping[Family, float] = MappingProxyType({"sd": 7.5, "sdxl": 5.0})
PUBLISHED_SCHEDULERS: Mapping[Family, Mapping[str, Any]] = MappingProxyType(
    {"sd": {"steps_offset": 1}, "sdxl": {"steps_offset": 1, "timestep_spacing": "leading"}}
)
EDM_STEPS, EDM_GUIDANCE = 50, 3.0  # Playground v2.5, as its authors give (its model card)
LCM_STEPS, LCM_GUIDANCE = 4, 8.0  # LCM Dreamshaper v7's model card; of models that are told the scale
TURBO_STEPS = 4  # the most that SD-Turbo and SDXL-Turbo were trained for; they take no guidance

LCM = "lcm"
SCHEDULER_CLASSES: Mapping[str, str] = MappingProxyType(
    {
        "dpmpp-2m": "DPMSolverMultistepScheduler",
        "euler": "EulerDiscreteScheduler",
        "euler-a": "EulerAncestralDiscreteScheduler",
        "ddim": "DDIMScheduler",
        "pndm": "PNDMScheduler",
        LCM: "LCMScheduler",
    }
)
"""Our names, and diffusers' classes for models trained with discrete steps."""

EDM_CLASSES: Mapping[str, str] = MappingProxyType(
    {"dpmpp-2m": "EDMDPMSolverMultistepScheduler", "euler": "EDMEulerScheduler"}
)
"""The same for models trained in EDM's way (Karras et al. 2022), such as Playground v2.5."""


@dataclass(frozen=True)
class ModelFacts:
    """What a model was trained with and draws best with.

    scheduler: what it was trained with and how it is walked. scaling_factor: latents are multiplied by it
    after encoding, divided by it before decoding. pad_tokens: what fills the window of each text encoder.
    zero_empty_negative: an empty negative prompt is zeros instead of the encoded empty text.
    defaults: what holds for a request that leaves it open, with the size that it was trained for.
    """

    family: Family
    scheduler: SchedulerConfig
    scaling_factor: float
    pad_tokens: tuple[str, ...]
    zero_empty_negative: bool
    defaults: ModelDefaults

    @property
    def prediction_type(self) -> str:
        """What the UNet answers with: "epsilon" (the noise) or "v_prediction"."""
        return self.scheduler.prediction_type


def usual_defaults(
    family: Family,
    scheduler: Mapping[str, Any],
    size: tuple[int, int],
    is_told_guidance: bool = False,
) -> ModelDefaults:
    """What models with such a scheduler_config.json are drawn with.

    size: width and height in pixels. is_told_guidance: its UNet takes the scale as an input (LCM).
    """
    class_name = str(scheduler.get("_class_name", ""))
    own = scheduler_name(class_name)
    steps, guidance, name = DEFAULT_STEPS, GUIDANCE_SCALES[family], DEFAULT_SCHEDULER
    if class_name in EDM_CLASSES.values():
        steps, guidance, name = EDM_STEPS, EDM_GUIDANCE, own or DEFAULT_SCHEDULER
    elif own == LCM:
        steps, guidance, name = LCM_STEPS, LCM_GUIDANCE if is_told_guidance else 1.0, LCM
    elif own in ("euler", "euler-a") and _is_turbo(scheduler):
        steps, guidance, name = TURBO_STEPS, 0.0, own
    return ModelDefaults(steps, guidance, name, *size)


def scheduler_name(class_name: str) -> str | None:
    """Our name of diffusers' class; None for one that we have no name for."""
    tables = (SCHEDULER_CLASSES, EDM_CLASSES)
    return next((name for table in tables for name, one in table.items() if one == class_name), None)


def _is_turbo(scheduler: Mapping[str, Any]) -> bool:
    """Whether a scheduler's settings are those of the Turbo models: trailing timesteps, noise predicted.

    Models that were trained to end in pure noise have trailing timesteps, too, but predict v.
    """
    return (
        scheduler.get("timestep_spacing") == "trailing"
        and scheduler.get("prediction_type", "epsilon") == "epsilon"
        and not scheduler.get("rescale_betas_zero_snr")
    )
