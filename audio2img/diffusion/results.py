"""From drawn pictures to what a backend hands on."""

from __future__ import annotations

import time

from audio2img.diffusion import Pixels
from audio2img.errors import NothingToDrawError
from audio2img.types import ImageRequest, ImageResult


class StageClock:
    """Counts the seconds that each stage of a picture takes."""

    def __init__(self) -> None:
        self.timings_s: dict[str, float] = {}
        self.start()

    def start(self) -> None:
        """Leave out what has passed since the last stop."""
        self._last = time.perf_counter()

    def stop(self, stage: str, n_pictures: int = 1) -> None:
        """What has passed since the last stop was `stage`, of so many pictures together."""
        now = time.perf_counter()
        self.timings_s[stage] = (now - self._last) / n_pictures
        self._last = now

    def made(self, pixels: Pixels, request: ImageRequest, model: str, backend: str) -> ImageResult:
        """The result of a picture that is finished. Its identity is filled in by whoever knows it."""
        timings = dict(self.timings_s)
        return ImageResult(pixels, request, model, "", backend, sum(timings.values()), timings)


def refused_by_checker(model: str) -> NothingToDrawError:
    return NothingToDrawError(
        f"the safety checker of {model} refused the picture", "try other words or another `seed`"
    )
