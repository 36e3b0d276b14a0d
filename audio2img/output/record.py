"""How a picture was made: everything it takes to draw it again, as JSON inside the picture."""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

import audio2img
from audio2img.errors import InputError
from audio2img.foreign_json import parse_json
from audio2img.types import ImageRequest, ImageResult, SoundSummary, Transcript

RECORD_VERSION = 1
"""Raised when a reader of the old version could no longer draw the same picture from a new record."""

NOISE_GENERATOR = "numpy-mt19937"
"""The name of the generator in `diffusion.noise`: what a backend starts from unless it says otherwise."""

MAX_COUNT = 1000
"""The most pictures whose noise is one stream: all of it is made for each of them."""

MAX_SIDE = 16_384  # pixels
MAX_NAME = 300  # letters of what is called by name: files, models, schedulers
MAX_RECORD_BYTES = 8 << 20  # hours of speech with every segment

T = TypeVar("T")


@dataclass(frozen=True)
class PictureRecord:
    """Everything that decided a picture, and where its words came from. Unknown texts are "".

    request: with the width and height that the picture really has.
    model_hash: SHA-256 (hex) over the model's files; backend: what ran it ("coreml", "reference").
    noise_generator: what the seed was fed to.
    transcript: what was said, None where nobody spoke; sounds: those that were heard, None where nobody
    listened for them; audio_source: the recording's own name.
    created: UTC, ISO 8601 ("2026-11-21T08:30:00Z").
    """

    request: ImageRequest
    model: str
    model_hash: str = ""
    backend: str = ""
    noise_generator: str = ""
    transcript: Transcript | None = None
    sounds: SoundSummary | None = None
    audio_source: str = ""
    audio2img_version: str = ""
    numpy_version: str = ""
    created: str = ""

    @classmethod
    def of(
        cls,
        image: ImageResult,
        *,
        transcript: Transcript | None = None,
        sounds: SoundSummary | None = None,
        audio_source: str = "",
        noise_generator: str = NOISE_GENERATOR,
        created: datetime | None = None,
    ) -> PictureRecord:
        """The record of `image`, made by this installation; `created` (aware) is now unless given."""
        import numpy as np

        height, width = image.pixels.shape[:2]
        moment = (created or datetime.now(timezone.utc)).astimezone(timezone.utc)
        return cls(
            request=replace(image.request, width=width, height=height),
            model=image.model,
            model_hash=image.model_hash,
            backend=image.backend,
            noise_generator=noise_generator,
            transcript=transcript,
            sounds=sounds,
            audio_source=audio_source,
            audio2img_version=audio2img.__version__,
            numpy_version=np.__version__,
            created=moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        )

    def to_json(self) -> str:
        """One JSON object, always the same text for the same record; ASCII, so that any tool carries it."""
        values = {"version": RECORD_VERSION, **asdict(self)}
        return json.dumps(values, sort_keys=True, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> PictureRecord:
        """The record that `to_json` wrote.

        Raises InputError for anything else: damaged text, fields that are missing or of another type,
        numbers that nothing can be drawn with, and what a newer audio2img wrote.
        """
        if len(text) > MAX_RECORD_BYTES:
            raise InputError(f"the picture's record is longer than {MAX_RECORD_BYTES >> 20} MB", _DAMAGED)
        try:
            values = parse_json(text)
        except ValueError as error:
            raise InputError(f"the picture's record cannot be read: {error}", _DAMAGED) from error
        if not isinstance(values, dict) or type(values.get("version")) is not int:
            raise InputError("the picture's record has no version number", _DAMAGED)
        version = values.pop("version")
        if version < 1:
            raise InputError(f"the picture's record has the version {version}, which never was", _DAMAGED)
        if version > RECORD_VERSION:
            raise _newer(f"has version {version}, and this one reads version {RECORD_VERSION}")
        record = _parse_dataclass(cls, values, "the picture's record")
        check_drawable(record)
        return record


_DAMAGED = "the file may be damaged; use another copy of the picture"


def check_drawable(record: PictureRecord) -> None:
    """Raise InputError where a number or a name in `record` is none that a picture can be drawn with."""
    request = record.request
    ranges: dict[str, tuple[float | None, float, float]] = {
        "seed": (request.seed, 0, 2**32 - 1),
        "steps": (request.steps, 1, 1000),
        "width": (request.width, 1, MAX_SIDE),
        "height": (request.height, 1, MAX_SIDE),
        "count": (request.count, 1, MAX_COUNT),
        "index": (request.index, 0, request.count - 1),
        "guidance": (request.guidance_scale, -1e6, 1e6),
        "strength": (request.strength, 1e-6, 1),
    }
    for name, (value, low, high) in ranges.items():
        if value is not None and not low <= value <= high:  # not a number is in no range
            found = str(value) if isinstance(value, float) or abs(value) < 1 << 64 else "far beyond it"
            raise InputError(
                f"the picture cannot be drawn again: its {name} is {found}, and can be {low} to {high}",
                _DAMAGED,
            )
    names = [record.model, record.model_hash, record.backend, record.audio_source, request.scheduler]
    names += [lora.name for lora in request.loras]
    names += [] if request.init_image is None else [request.init_image.name]
    longest = max(len(name) for name in names)
    if longest > MAX_NAME:
        raise InputError(f"a name in the picture's record is {longest} letters long", _DAMAGED)


def model_places(record: PictureRecord, picture: Path) -> Iterator[Path]:
    """Where the model may lie that was given by its path: a record holds its name only, and no folders.

    Files and folders of that name beside the picture and in the current folder, and in a folder `models`
    there. Whether one is the very model tells only its hash, `record.model_hash`.
    """
    if not record.model or set(record.model) & set("/\\:*?[]\0") or set(record.model) == {"."}:
        return
    for folder in dict.fromkeys((picture.expanduser().absolute().parent, Path.cwd())):
        for inner in (folder, folder / "models"):
            if (inner / record.model).exists():
                yield inner / record.model
            yield from sorted(inner.glob(f"{record.model}.safetensors"))


def _newer(why: str) -> InputError:
    return InputError(
        f"a newer audio2img wrote this picture's record: it {why}", "upgrade audio2img, then try again"
    )


def _parse_dataclass(cls: type[T], values: object, where: str) -> T:
    """An instance of the dataclass `cls` from parsed JSON, every field checked against its type hint."""
    if not isinstance(values, dict):
        raise InputError(f"{where} is not an object", _DAMAGED)
    hints = typing.get_type_hints(cls)
    known = {field.name: field for field in fields(typing.cast(Any, cls))}
    if unknown := sorted(values.keys() - known.keys()):
        raise _newer(f"has a field {unknown[0][:40]!r} that this one does not know")
    parsed: dict[str, Any] = {}
    for name, field in known.items():
        if name in values:
            parsed[name] = _parse_value(hints[name], values[name], f"{name!r} in {where}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{where} lacks the field {name!r}", _DAMAGED)
    return cls(**parsed)


def _parse_value(hint: Any, value: object, where: str) -> Any:
    """`value` if it is what `hint` says: str, int, float, dataclass, Literal, `X | None`, `tuple[X, ...]`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _parse_value(next(one for one in arguments if one is not type(None)), value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_parse_value(arguments[0], one, where) for one in value)
    if origin is typing.Literal and value in arguments:
        return value
    if is_dataclass(hint) and isinstance(hint, type):
        return _parse_dataclass(hint, value, where)
    if hint is float and type(value) in (int, float) and _is_finite(value):
        return float(typing.cast(float, value))
    if hint in (str, int) and type(value) is hint:
        return value
    raise InputError(f"{where} is not what it should be: {str(value)[:40]!r}", _DAMAGED)


def _is_finite(value: object) -> bool:
    try:
        return math.isfinite(typing.cast(float, value))
    except OverflowError:  # an integer beyond what a float holds
        return False
