"""A picture drawn again from what it remembers, with the changes that somebody asks for."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from audio2img.backends import name_of_recorded
from audio2img.errors import ModelError, UsageError
from audio2img.pipeline.options import Options
from audio2img.store.catalog import split_name
from audio2img.types import ImageRequest

if TYPE_CHECKING:
    from audio2img.output.record import PictureRecord


@dataclass(frozen=True)
class Changes:
    """What shall be different from a picture that is drawn again; None: as it was.

    As in Options, and checked as there. count: draw so many pictures from the seed, instead of the one.
    """

    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    scheduler: str | None = None
    size: tuple[int, int] | None = None
    negative: str | None = None
    strength: float | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        start = None if self.strength is None else "the picture of the record"
        Options(init_image=start, **{name: value for name, value in given.items() if value is not None})

    def applied_to(self, request: ImageRequest) -> ImageRequest:
        """The request with these changes. Raises UsageError for a strength without a picture to leave."""
        if self.strength is not None and request.init_image is None:
            raise UsageError("this one was not drawn from another picture", "leave `strength` out")
        names = {"guidance": "guidance_scale", "negative": "negative_prompt"}
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        changes = {names.get(name, name): value for name, value in given.items() if value is not None}
        if self.size is not None:
            changes["width"], changes["height"] = changes.pop("size")
        if self.count is not None:
            changes["index"] = 0
        return replace(request, **changes)


def original_model(record: PictureRecord, picture: Path) -> tuple[str, str]:
    """(model, backend) to ask for so that a picture is drawn by what drew it.

    The model is a name of the catalogue, or the path of a file or folder of that name near the picture; the
    backend is "auto" where nobody knows. Raises ModelError for a model that is neither.
    """
    from audio2img.output import model_places

    model = record.model
    try:
        split_name(model)
    except ModelError:
        nearby = next(model_places(record, picture), None)
        if nearby is None:
            raise
        model = str(nearby)
    return model, name_of_recorded(record.backend)
