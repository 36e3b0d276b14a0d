"""The main job, in the order it happens: sound, words, prompt, picture.

The one place that knows the order. `Pipeline` is loaded when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audio2img.pipeline.pipeline import Pipeline

__all__ = ["Pipeline"]


def __getattr__(name: str) -> Any:
    if name != "Pipeline":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from audio2img.pipeline.pipeline import Pipeline

    return Pipeline
