"""How to hear and what to draw, checked at the door."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from audio2img.errors import UsageError
from audio2img.names import did_you_mean
from audio2img.types import Hear, LongPrompt, Task

MAX_COUNT = 1000
MAX_STEPS = 1000
MAX_GUIDANCE = 100.0
SIDES = (8, 16384)  # of a picture, in pixels: what any model could draw
SHOWN = 60  # letters of a value that a message repeats


@dataclass(frozen=True)
class Options:
    """How to hear and what to draw. None means: the model's own default.

    seed: of all pictures of a call, whose noise is one stream; None draws one at random.
    size: (width, height) in pixels. init_image: path of a picture to start from;
    strength: how far to leave it, 0 to 1. long_prompt: cut a prompt that is longer than the model
    reads, or take it in chunks.
    hear: draw what is said, the sounds there are, what leads of the two ("auto"), or both.

    Raises UsageError, which names the value, for what no model could do.
    """

    language: str | None = None
    task: Task = "transcribe"
    initial_prompt: str = ""
    style: str | None = None
    template: str | None = None
    negative: str = ""
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    scheduler: str | None = None
    size: tuple[int, int] | None = None
    count: int = 1
    init_image: str | Path | None = None
    strength: float | None = None
    long_prompt: LongPrompt = "cut"
    hear: Hear = "speech"

    def __post_init__(self) -> None:
        for name in ("language", "style", "template", "scheduler"):
            _check_text(name, getattr(self, name), may_be_none=True)
        for name in ("initial_prompt", "negative"):
            _check_text(name, getattr(self, name))
        _check_choice("task", self.task, get_args(Task))
        _check_choice("long_prompt", self.long_prompt, get_args(LongPrompt))
        _check_choice("hear", self.hear, get_args(Hear))
        if not _is_whole(self.count, 1, MAX_COUNT):
            raise UsageError(
                f"{_shown(self.count)} pictures cannot be drawn", f"ask for one or more, up to {MAX_COUNT}"
            )
        if self.seed is not None and not _is_whole(self.seed, 0, 2**32 - 1):
            raise UsageError(
                f"{_shown(self.seed)} is not a seed", "a seed is a whole number from 0 to 4294967295"
            )
        if self.steps is not None and not _is_whole(self.steps, 1, MAX_STEPS):
            raise UsageError(
                f"{_shown(self.steps)} steps cannot be taken", f"choose 1 to {MAX_STEPS}", setting="steps"
            )
        if self.guidance is not None and not _is_number(self.guidance, 0, MAX_GUIDANCE):
            raise UsageError(
                f"the guidance {_shown(self.guidance)} cannot be used",
                f"choose 0 to {MAX_GUIDANCE:g}; 7.5 is usual",
                setting="guidance",
            )
        self._check_size()
        self._check_start()
        if self.scheduler is not None:
            _check_scheduler(self.scheduler)

    def _check_size(self) -> None:
        size: Any = self.size
        if size is None:
            return
        if not (isinstance(size, tuple) and len(size) == 2 and all(_is_whole(side, *SIDES) for side in size)):
            raise UsageError(
                f"{_shown(size)} is no size of a picture",
                f"give width and height in pixels, each {SIDES[0]} to {SIDES[1]}: (512, 512)",
            )

    def _check_start(self) -> None:
        if self.init_image is not None and not isinstance(self.init_image, (str, Path)):
            raise UsageError(f"{_shown(self.init_image)} is no path of a picture", "give a path")
        if self.strength is None:
            return
        if not _is_number(self.strength, 0, 1) or self.strength == 0:
            raise UsageError(
                f"the strength {_shown(self.strength)} cannot be used", "choose more than 0, up to 1"
            )
        if self.init_image is None:
            raise UsageError("a strength needs a picture to start from", "give one: `init_image=PICTURE`")


def _shown(value: object) -> str:
    """The value as a message repeats it: whole where that is short."""
    try:
        text = repr(value)
    except Exception:  # of any class, with any repr; a number of 5,000 digits is a ValueError
        text = f"a {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _is_whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_number(value: object, least: float, most: float) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and least <= value <= most and math.isfinite(value)  # type: ignore[operator, arg-type]


def _check_text(name: str, value: object, may_be_none: bool = False) -> None:
    if not isinstance(value, str) and not (may_be_none and value is None):
        raise UsageError(
            f"`{name}` is a text, not {_shown(value)}", "give a text, or leave it out", setting=name
        )


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(
            f"`{name}` cannot be {_shown(value)}", f"choose from: {', '.join(choices)}", setting=name
        )


def _check_scheduler(name: str) -> None:
    from audio2img.diffusion.facts import SCHEDULER_CLASSES

    if name not in SCHEDULER_CLASSES:
        raise UsageError(
            f"there is no scheduler called {_shown(name)}",
            f"{did_you_mean(name, SCHEDULER_CLASSES)}choose from: {', '.join(SCHEDULER_CLASSES)}",
            setting="scheduler",
        )
