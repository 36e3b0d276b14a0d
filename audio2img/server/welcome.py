"""What a page is told when it opens: what there is to choose from, and what the models can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from audio2img import __version__
from audio2img.config import config_dir
from audio2img.errors import Audio2ImgError
from audio2img.faults import as_told
from audio2img.pipeline.inventory import list_models
from audio2img.prompt import list_styles
from audio2img.server.jobs import as_table
from audio2img.server.studio import Studio

FIRST_PICTURES = 60
LANGUAGES = ("en", "de", "es", "fr", "it", "pt", "nl", "pl", "ru", "uk", "tr", "ar", "hi", "ja", "ko", "zh")
"""Those that most people speak who use such programs; any other can be set with `config set language`."""


def welcome(studio: Studio) -> dict[str, Any]:
    """HELLO of the page's protocol. Reads files; for a thread."""
    from audio2img.prompt.mini_world import spoken_words

    limits = studio.limits
    why_no_sounds = _why_no_sounds(studio)
    return {
        "version": __version__,
        "models": _models(studio),
        "styles": _styles("style"),
        "templates": _styles("template"),
        "languages": _languages(studio),
        "limits": {
            "upload_bytes": limits.upload_bytes,
            "minutes": limits.minutes,
            "waiting": limits.waiting,
        },
        "sounds": not why_no_sounds,
        "sounds_why": why_no_sounds,
        "gallery": studio.gallery.page(0, FIRST_PICTURES).to_json(),
        "words": list(spoken_words()) if studio.hands.vocabulary(None) == "mini_world" else [],
    }


def describe_model(studio: Studio, name: str | None, check: Callable[[], None]) -> dict[str, Any]:
    """MODEL of the page's protocol: what the model of that name can do. May load it; for a thread.

    check: asked while it waits for another model to be free; what it raises ends that.
    """
    hands = studio.hands
    told: dict[str, Any] = {"name": name or hands.usual_name}
    try:
        can, usual = hands.describe(name, check)
    except Exception as error:  # told to the page, which can draw with another one
        return {**told, "state": "failed", "error": as_table(as_told(error))}
    return {
        **told,
        "state": "ready",
        "vocabulary": hands.vocabulary(name),
        "sizes": {
            "usual": can.sizes.usual,
            "multiple": can.sizes.multiple,
            "least": can.sizes.least,
            "most": can.sizes.most,
        },
        "schedulers": can.schedulers,
        "scheduler": usual.scheduler,
        "steps": usual.steps,
        "guidance": usual.guidance_scale,
        "negative_prompt": can.negative_prompt,
        "init_image": can.init_image,
        "at_once": can.at_once,
    }


def _models(studio: Studio) -> list[dict[str, Any]]:
    """The image models that can draw here, the usual one first."""
    usual = studio.hands.usual_name
    known = [one for one in list_models("image") if one.installed and not one.why_not]
    rows = [
        {"name": one.name, "title": one.title, "vocabulary": one.vocabulary, "default": one.name == usual}
        for one in known
    ]
    if not any(row["default"] for row in rows):
        rows.insert(0, {"name": usual, "title": usual, "vocabulary": "", "default": True})
    return sorted(rows, key=lambda row: not row["default"])


def _styles(kind: Literal["style", "template"]) -> list[dict[str, str]]:
    listed = list_styles(kind, config_dir() / f"{kind}s")
    return [{"name": one.name, "about": one.style.description} for one in listed if one.style is not None]


def _languages(studio: Studio) -> tuple[str, ...]:
    """To choose from; none for a model that knows one alone."""
    try:
        model = studio.ears.speech_model
    except Audio2ImgError:
        return ()
    return () if model.vocabulary or ".en" in model.name else LANGUAGES


def _why_no_sounds(studio: Studio) -> str:
    try:
        _ = studio.ears.sound_model
        studio.ears.classifier()
    except Audio2ImgError as error:
        told = as_table(error)
        return f"{told['message']} ({told['remedy']})"
    return ""
