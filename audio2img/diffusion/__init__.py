"""From words to a picture: what every image backend offers, and the mathematics they share.

A backend turns one ImageRequest into one ImageResult. Which one is taken is decided
by the pipeline; nothing here imports one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from audio2img.types import ImageRequest, ImageResult, LoraUse

__all__ = [
    "DEFAULT_STRENGTH",
    "CancelCheck",
    "DrawingStep",
    "ImageBackend",
    "ModelDefaults",
    "Pixels",
    "ProgressCallback",
]

DEFAULT_STRENGTH = 0.6
"""How far image-to-image leaves its picture, of 1, where nobody says it."""

Pixels = NDArray[np.uint8]
"""(height, width, 3) uint8 RGB."""


@dataclass(frozen=True, eq=False)
class DrawingStep:
    """One step of the denoising loop is done: `done` of `total`, over all pictures of the call.

    preview: makes a small picture (latent height, latent width, 3) of what is there so far,
    in well under a millisecond; call it or not, but only before the callback returns.
    """

    done: int
    total: int
    preview: Callable[[], Pixels]


ProgressCallback = Callable[[DrawingStep], None]

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

    @property
    def loras(self) -> tuple[LoraUse, ...]:
        """What was added to the model when it was loaded; a request must name the same."""
        ...

    def fit_prompt(self, text: str) -> tuple[str, str]:
        """(kept, dropped): the words that fit into the text encoder's window, and those that do not."""
        ...

    def generate(
        self,
        request: ImageRequest,
        progress: ProgressCallback | None = None,
        cancelled: CancelCheck | None = None,
        init_image: Pixels | None = None,
    ) -> ImageResult:
        """Picture `request.index` of `request`; the same request gives the same pixels on the same machine.

        init_image: the pixels of `request.init_image`, of any size; they are scaled and cropped to fit.
        Raises UsageError for a request the model cannot serve (size, steps, scheduler),
        CancelledError as soon as `cancelled` says so, ModelError for a damaged model,
        NothingToDrawError when the model's safety checker refuses the picture.
        """
        ...

    def generate_all(
        self,
        request: ImageRequest,
        progress: ProgressCallback | None = None,
        cancelled: CancelCheck | None = None,
        init_image: Pixels | None = None,
    ) -> tuple[ImageResult, ...]:
        """All `request.count` pictures, whatever `request.index` says; the same ones that `generate` gives.

        Raises what `generate` raises; NothingToDrawError only when every picture was refused.
        """
        ...

    def close(self) -> None:
        """Free the model's memory; closing twice is no error."""
        ...
