"""From the wishes of a command to a pipeline that works on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audio2img.cli.display import Display
    from audio2img.pipeline.pipeline import Pipeline
    from audio2img.pipeline.wishes import Wishes


def open_pipeline(wishes: Wishes, display: Display, draws: bool = True) -> Pipeline:
    """draws: False for a command that only hears, which no setting for drawing concerns.

    Raises UsageError, which names the place, for wishes that cannot be.
    """
    from audio2img.backends.protocol import DrawingWishes
    from audio2img.pipeline.pipeline import Pipeline

    return Pipeline.of(wishes.models(), wishes.drawing() if draws else DrawingWishes(), display)
