"""What a Pipeline tells its caller while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audio2img.types import Segment

Stage = Literal["record", "fetch", "decode", "load", "classify", "transcribe", "prompt", "draw", "save"]


@dataclass(frozen=True)
class Listening:
    """What the microphone hears just now.

    is_speech: somebody has begun to speak. level_dbfs: RMS, -inf for digital silence.
    """

    is_speech: bool
    level_dbfs: float


@dataclass(frozen=True)
class Event:
    """One piece of news.

    done: part of the stage that is finished, in [0, 1]; None where it cannot be known.
    text: what there is to say (the transcript so far, dropped words); segment: the newest one heard.
    listening: in the stage "record" while a person is listened to, whose words so far are `text`.
    place: how many callers are before this one, where it waits for its turn in `stage`.
    warning: True when `text` is something the person should read.
    steps: in the stage "draw", how many are done, and of how many.
    preview: in the stage "draw", makes a small picture (height, width, 3) uint8 of what is there so
        far; call it before the callback returns, or not at all.
    """

    stage: Stage
    done: float | None = None
    text: str = ""
    segment: Segment | None = None
    listening: Listening | None = None
    place: int = 0
    warning: bool = False
    steps: tuple[int, int] | None = None
    preview: Callable[[], NDArray[np.uint8]] | None = None

    def __repr__(self) -> str:
        """What there is to say, and no more: a preview holds the arrays that it is made of."""
        said = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "preview"}
        changed = [one.name for one in fields(self)[1:] if said.get(one.name, one.default) != one.default]
        words = [repr(self.stage), *(f"{name}={said[name]!r}" for name in changed)]
        return f"Event({', '.join(words)}{'' if self.preview is None else ', preview=…'})"

    @classmethod
    def of_place(cls, stage: Stage, place: int) -> Event:
        """That so many others come first."""
        others = "one other" if place == 1 else f"{place} others"
        return cls(stage, None, f"waiting for {others}", place=place)
