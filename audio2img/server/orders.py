"""What the page asks for: parsed from JSON once, into what the rooms take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from audio2img.errors import UsageError
from audio2img.foreign_json import parse_json
from audio2img.pipeline.options import Options
from audio2img.pipeline.wishes import Wishes
from audio2img.types import Hear

MAX_PROMPT = 10_000  # letters
MAX_ORDER_BYTES = 1 << 20

TEXTS = ("style", "template", "negative", "scheduler", "long_prompt")
NUMBERS = ("seed", "steps", "guidance", "count", "strength")


@dataclass(frozen=True)
class DrawOrder:
    """A picture to be drawn.

    wishes: what is asked of it, over what the server was started with. start: the picture to start from, a
    name of the gallery or "upload:..."; "" for none. model: a name, None for the server's.
    parent: the picture that this is a new version of; words_of: the job that heard the words.
    """

    prompt: str
    wishes: Mapping[str, Any] = field(default_factory=dict)
    start: str = ""
    model: str | None = None
    parent: str = ""
    words_of: str = ""

    def options(self, settings: Wishes, start: Path | None) -> Options:
        """Raises UsageError for what cannot be drawn."""
        given = {**self.wishes, "init_image": None if start is None else str(start)}
        return replace(settings, **given).options()


@dataclass(frozen=True)
class HearOrder:
    """Something to listen to.

    draw: what to draw from the words as soon as they are there, whose own prompt is empty; None for nothing.
    revise: the version of a picture that the words change; it is drawn if `draws_at_once`.
    """

    hear: Hear = "speech"
    language: str | None = None
    draw: DrawOrder | None = None
    revise: DrawOrder | None = None
    draws_at_once: bool = False
    keeps_sound: bool = False

    def options(self, settings: Wishes) -> Options:
        """How to hear. Raises UsageError for a language that is none."""
        return Options(
            language=self.language or settings.language,
            task="translate" if settings.translate else "transcribe",
            initial_prompt=settings.initial_prompt,
            hear=self.hear,
        )


def read_json(data: bytes | str) -> dict[str, Any]:
    """The JSON object. Raises UsageError for anything else."""
    try:
        if len(data) > MAX_ORDER_BYTES:
            raise ValueError("it is too long")
        table = parse_json(data.decode("utf-8") if isinstance(data, bytes) else data)
    except ValueError as error:
        raise UsageError(f"the order cannot be read: {error}", "load the page again") from None
    if not isinstance(table, dict):
        raise UsageError("the order is no JSON object", "load the page again")
    return table


def parse_draw(table: Mapping[str, Any], settings: Wishes) -> DrawOrder:
    """A DrawOrder that can be drawn as far as is known before. Raises UsageError."""
    _check_names(table, ("prompt", "options", "model", "from", "transcript_of"))
    wishes, start = _parse_options(table.get("options"))
    order = DrawOrder(
        prompt=text_of(table, "prompt", MAX_PROMPT).strip(),
        wishes=wishes,
        start=start,
        model=text_of(table, "model") or None,
        parent=text_of(table, "from"),
        words_of=text_of(table, "transcript_of"),
    )
    order.options(settings, Path("start") if start else None)
    return order


def parse_hear(table: Mapping[str, Any], settings: Wishes) -> HearOrder:
    """Raises UsageError for what cannot be heard, or drawn after it."""
    _check_names(table, ("hear", "language", "draw", "revise", "draw_at_once", "keep_sound"))
    hear = table.get("hear", "speech")
    if hear not in get_args(Hear):
        raise UsageError("`hear` is none of its choices", f"choose from: {', '.join(get_args(Hear))}")
    draw, revise = (
        None if table.get(name) is None else parse_draw(_table(table[name], name), settings)
        for name in ("draw", "revise")
    )
    order = HearOrder(
        hear=hear,
        language=text_of(table, "language") or None,
        draw=draw,
        revise=revise,
        draws_at_once=table.get("draw_at_once") is True,
        keeps_sound=table.get("keep_sound") is True,
    )
    order.options(settings)
    return order


def _parse_options(given: Any) -> tuple[dict[str, Any], str]:
    """(what is wished, by the names of Wishes; the picture to start from, "" for none)."""
    table = _table(given or {}, "options")
    _check_names(table, (*TEXTS, *NUMBERS, "width", "height", "init_image"))
    wishes: dict[str, Any] = {}
    for name in TEXTS:
        if text := text_of(table, name):
            wishes[name] = text
    for name in NUMBERS:
        if (number := table.get(name)) is not None:
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                raise UsageError(f"`{name}` is a number, not {str(number)[:40]!r}", "give a number")
            wishes[name] = number
    width, height = table.get("width"), table.get("height")
    if width is not None or height is not None:
        wishes["size"] = (width, height)
    return wishes, text_of(table, "init_image")


def _check_names(table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name in table:
        if name not in known:
            raise UsageError(f"nothing is known of {name[:40]!r}", f"choose from: {', '.join(known)}")


def _table(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"`{name}` is a JSON object", "load the page again")
    return value


def text_of(table: Mapping[str, Any], name: str, most: int = 1000) -> str:
    """The text of that name, "" where there is none. Raises UsageError for what is no text, or too long."""
    value = table.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UsageError(f"`{name}` is a text, not {str(value)[:40]!r}", "give a text")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise UsageError(f"`{name}` holds half a letter", "write it again")
    if len(value) > most:
        raise UsageError(f"`{name}` is longer than {most:,} letters", "say it in fewer words")
    return value
