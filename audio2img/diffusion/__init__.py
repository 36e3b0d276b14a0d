"""From words to a picture: what every image backend offers, and the mathematics they share.

A backend turns one ImageRequest into one ImageResult. Which one is taken is decided
by the pipeline; nothing here imports one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from audio2img.types import ImageRequest, ImageResult

__all__ = ["CancelCheck", "ImageBackend", "ModelDefaults", "ProgressCallback"]

ProgressCallback = Callable[[int, int], None]
"""Called as (model calls done, model calls in all) after each model call of the denoising loop."""

CancelCheck = Callable[[], bool]
"""True as soon as the person wants to stop; asked before each model call."""


@dataclass(frozen=True)
class ModelDefaults:
    """What a model draws best with, for the settings that a request leaves open.

    scheduler: a name of `schedulers.SCHEDULER_NAMES`; width, height in pixels.
    """

    steps: int
    guidance_scale: float
    scheduler: str
    width: int
    height: int


class ImageBackend(Protocol):
    """A loaded image model, ready to draw.

    name: the kind of backend as it is recorded with the picture ("coreml", "reference", "diffusers");
    model: the model's name; model_hash: SHA-256 (hex) over its files.
    """

    @property
    def name(self) -> str: ...

    @property
    def model(self) -> str: ...

    @property
    def model_hash(self) -> str: ...

    @property
    def defaults(self) -> ModelDefaults: ...

    def fit_prompt(self, text: str) -> tuple[str, str]:
        """(kept, dropped): the words that fit into the text encoder's window, and those that do not."""
        ...

    def generate(
        self,
        request: ImageRequest,
        progress: ProgressCallback | None = None,
        cancelled: CancelCheck | None = None,
    ) -> ImageResult:
        """The picture of `request`; the same request gives the same pixels on the same machine.

        Raises UsageError for a request the model cannot serve (size, steps, scheduler),
        CancelledError as soon as `cancelled` says so, ModelError for a damaged model.
        """
        ...

    def close(self) -> None:
        """Free the model's memory; closing twice is no error."""
        ...
