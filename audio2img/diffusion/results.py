"""From drawn pictures to what a backend hands on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from audio2img.diffusion import Pixels
from audio2img.errors import NothingToDrawError
from audio2img.types import ImageRequest, ImageResult

STAGES = ("encode", "denoise", "decode")


def leave_out_refused(
    pictures: Mapping[int, Pixels], is_refused: Callable[[Pixels], bool], model: str
) -> dict[int, Pixels]:
    """The pictures, by index, that a safety checker lets pass. Raises NothingToDrawError for none."""
    kept = {index: pixels for index, pixels in pictures.items() if not is_refused(pixels)}
    if not kept:
        raise NothingToDrawError(
            f"the safety checker of {model} refused the picture", "try other words or another --seed"
        )
    return kept


def make_results(
    kept: Mapping[int, Pixels],
    request: ImageRequest,
    stops: Sequence[float],
    n_drawn: int,
    *,
    model: str,
    model_hash: str,
    backend: str,
) -> tuple[ImageResult, ...]:
    """A result for each picture that is kept, by index, of `n_drawn`.

    stops: seconds by one clock: the beginning, and the end of each of STAGES.
    """
    spans = zip(STAGES, stops, stops[1:], strict=False)
    timings = {name: (stop - start) / n_drawn for name, start, stop in spans}
    duration_s = (stops[-1] - stops[0]) / n_drawn
    return tuple(
        ImageResult(pixels, replace(request, index=index), model, model_hash, backend, duration_s, timings)
        for index, pixels in kept.items()
    )
