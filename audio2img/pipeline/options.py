"""How to hear and what to draw, checked at the door."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from audio2img.errors import UsageError
from audio2img.types import Hear, LongPrompt, Task


@dataclass(frozen=True)
class Options:
    """How to hear and what to draw. None means: the model's own default.

    seed: of all pictures of a call, whose noise is one stream; None draws one at random.
    size: (width, height) in pixels. init_image: path of a picture to start from;
    strength: how far to leave it, 0 to 1. long_prompt: cut a prompt that is longer than the model
    reads, or take it in chunks.
    hear: draw what is said, the sounds there are, what leads of the two ("auto"), or both.
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
        if self.count < 1:
            raise UsageError(f"{self.count} pictures cannot be drawn", "ask for one or more")
        if self.seed is not None and not 0 <= self.seed < 2**32:
            raise UsageError(f"{self.seed} is not a seed", "a seed is a whole number from 0 to 4294967295")
        if self.steps is not None and not 1 <= self.steps <= 1000:
            raise UsageError(f"{self.steps} steps cannot be taken", "choose 1 to 1000")
        if self.strength is not None and not 0 < self.strength <= 1:
            raise UsageError(f"the strength {self.strength} cannot be used", "choose more than 0, up to 1")
        if self.strength is not None and self.init_image is None:
            raise UsageError("a strength needs a picture to start from", "give one: --init-image PICTURE")
        if self.long_prompt not in get_args(LongPrompt):
            raise UsageError(f"there is no way {self.long_prompt!r} with long prompts", "choose cut or chunk")
        if self.hear not in get_args(Hear):
            raise UsageError(
                f"there is nothing called {self.hear!r} to hear", f"choose from: {', '.join(get_args(Hear))}"
            )
