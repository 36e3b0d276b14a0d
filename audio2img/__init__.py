"""Say what you see, get the picture: speech to images on your own machine.

    from audio2img import Pipeline

The names below are loaded when they are first used, so that `import audio2img` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audio2img.errors import (
        Audio2ImgError,
        CancelledError,
        InputError,
        MachineError,
        ModelError,
        NothingToDrawError,
        UsageError,
    )
    from audio2img.pipeline import Pipeline
    from audio2img.pipeline.drawing import Drawing
    from audio2img.pipeline.events import Event
    from audio2img.pipeline.inventory import ModelInfo, get_model, list_models
    from audio2img.pipeline.live import LiveInput
    from audio2img.pipeline.models import Models
    from audio2img.pipeline.options import Options
    from audio2img.pipeline.redrawing import Changes
    from audio2img.pipeline.session import Session
    from audio2img.types import (
        AudioClip,
        ImageRequest,
        ImageResult,
        Prompt,
        Segment,
        SoundEvent,
        SoundEvents,
        SoundSummary,
        Transcript,
    )

__version__ = "0.1.0"

_HOMES = {
    "Audio2ImgError": "errors",
    "AudioClip": "types",
    "CancelledError": "errors",
    "Changes": "pipeline.redrawing",
    "Drawing": "pipeline.drawing",
    "Event": "pipeline.events",
    "ImageRequest": "types",
    "ImageResult": "types",
    "InputError": "errors",
    "LiveInput": "pipeline.live",
    "MachineError": "errors",
    "ModelError": "errors",
    "ModelInfo": "pipeline.inventory",
    "Models": "pipeline.models",
    "NothingToDrawError": "errors",
    "Options": "pipeline.options",
    "Pipeline": "pipeline.pipeline",
    "Prompt": "types",
    "Segment": "types",
    "Session": "pipeline.session",
    "SoundEvent": "types",
    "SoundEvents": "types",
    "SoundSummary": "types",
    "Transcript": "types",
    "UsageError": "errors",
    "get_model": "pipeline.inventory",
    "list_models": "pipeline.inventory",
}

__all__ = [
    "Audio2ImgError",
    "AudioClip",
    "CancelledError",
    "Changes",
    "Drawing",
    "Event",
    "ImageRequest",
    "ImageResult",
    "InputError",
    "LiveInput",
    "MachineError",
    "ModelError",
    "ModelInfo",
    "Models",
    "NothingToDrawError",
    "Options",
    "Pipeline",
    "Prompt",
    "Segment",
    "Session",
    "SoundEvent",
    "SoundEvents",
    "SoundSummary",
    "Transcript",
    "UsageError",
    "get_model",
    "list_models",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
