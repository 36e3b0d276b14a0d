"""From the options of a command to what the pipeline takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audio2img.cli.display import Display
from audio2img.cli.options import with_settings
from audio2img.config import pictures_dir
from audio2img.options import Options
from audio2img.pipeline import Pipeline


def open_pipeline(given: dict[str, Any], display: Display) -> Pipeline:
    settings = with_settings(
        model=given.get("model"),
        speech_model=given.get("speech_model"),
        backend=given.get("backend"),
        compute_units=given.get("compute_units"),
        low_memory=given.get("low_memory"),
    )
    return Pipeline(
        settings.model,
        settings.speech_model,
        backend=settings.backend or "auto",
        compute_units=settings.compute_units,
        low_memory=settings.low_memory,
        vad_model=settings.vad_model,
        threads=given.get("threads"),
        on_event=display,
    )


def make_options(given: dict[str, Any]) -> Options:
    """Options from the command line, the environment and the settings file; UsageError for a bad value."""
    names = ("language", "style", "template", "negative", "scheduler", "steps", "guidance")
    settings = with_settings(**{name: given.get(name) for name in names})
    return Options(
        language=settings.language,
        task="translate" if given.get("translate") else "transcribe",
        initial_prompt=given.get("initial_prompt", ""),
        style=settings.style,
        template=settings.template,
        negative=settings.negative or "",
        seed=given.get("seed"),
        steps=settings.steps,
        guidance=settings.guidance,
        scheduler=settings.scheduler,
        size=given.get("size"),
        count=given.get("count", 1),
        init_image=given.get("init_image"),
        strength=given.get("strength"),
        long_prompt=given.get("long_prompt", "cut"),
    )


def output_of(given: dict[str, Any]) -> Path:
    """Where pictures go: the option, the settings, or our folder among the user's pictures."""
    chosen = with_settings(output=given.get("output")).output
    return Path(chosen).expanduser() if chosen else pictures_dir()
