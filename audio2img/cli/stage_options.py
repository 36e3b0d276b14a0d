"""From the options of a command to what the pipeline takes."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from audio2img.cli.display import Display
from audio2img.cli.options import with_settings
from audio2img.config import expand_path, pictures_dir
from audio2img.errors import UsageError
from audio2img.pipeline import Pipeline
from audio2img.pipeline.options import Options
from audio2img.types import Hear

if TYPE_CHECKING:
    from audio2img.pipeline.live import LiveInput

logger = logging.getLogger(__name__)


def open_pipeline(given: dict[str, Any], display: Display) -> Pipeline:
    settings = with_settings(
        model=given.get("model"),
        speech_model=given.get("speech_model"),
        sound_model=given.get("sound_model"),
        backend=given.get("backend"),
        compute_units=given.get("compute_units"),
        low_memory=given.get("low_memory"),
        precision=given.get("precision"),
        compile=given.get("compile_unet"),
    )
    return Pipeline(
        settings.model,
        settings.speech_model,
        sound_model=settings.sound_model,
        backend=settings.backend or "auto",
        compute_units=settings.compute_units,
        low_memory=settings.low_memory,
        precision=settings.precision,
        compile=bool(settings.compile),
        loras=given.get("lora", ()),
        vad_model=settings.vad_model,
        threads=given.get("threads"),
        on_event=display,
    )


def live_input(given: dict[str, Any]) -> LiveInput:
    """How to listen until the speaker stops, or a key is pressed."""
    from audio2img.cli.stop_key import stop_key
    from audio2img.pipeline.live import LiveInput

    settings = with_settings(silence=given["silence"], limit=given["limit"])
    source = LiveInput(microphone_of(given), seconds=given["seconds"], stop=stop_key())
    return replace(
        source,
        silence_s=source.silence_s if settings.silence is None else settings.silence,
        limit_s=source.limit_s if settings.limit is None else settings.limit,
    )


def microphone_of(given: dict[str, Any]) -> str | None:
    """The microphone that is asked for, else the one of the settings if it is plugged in, else None."""
    from audio2img.audio.microphone import find_device

    remembered = with_settings().device
    if given["device"] is not None or remembered is None:
        wanted: str | None = given["device"]
        return wanted
    try:
        find_device(remembered)
    except UsageError as problem:
        usual = find_device().name
        logger.warning("settings: %s; listening to %s instead", problem.message, usual)
        return None
    return remembered


def make_options(given: dict[str, Any]) -> Options:
    """Options from the command line, the environment and the settings file; UsageError for a bad value."""
    names = ("language", "style", "template", "negative", "scheduler", "steps", "guidance", "hear")
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
        hear=cast(Hear, settings.hear or "speech"),  # Options checks it
    )


def output_of(given: dict[str, Any]) -> Path:
    """Where pictures go: the option, the settings, or our folder among the user's pictures.

    Raises UsageError where so many pictures cannot be written there.
    """
    from audio2img.output import check_target

    chosen = with_settings(output=given.get("output")).output
    path = expand_path(chosen) if chosen else pictures_dir()
    check_target(path, given.get("count", 1))
    return path
