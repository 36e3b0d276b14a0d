"""Long values show themselves in one short line."""

from __future__ import annotations

import numpy as np

from audio2img import AudioClip, ImageRequest, ImageResult, SoundEvents, SoundSummary
from audio2img.pipeline.drawing import Drawing
from audio2img.types import HeardThing, Prompt

PIXELS = np.zeros((512, 768, 3), np.uint8)


def test_values_with_arrays_have_short_reprs() -> None:
    clip = AudioClip(np.zeros(36_800, np.float32), "memo.m4a")
    assert repr(clip) == "AudioClip(2.30 s of 'memo.m4a')"
    image = ImageResult(PIXELS, ImageRequest("a red house " * 50, seed=7), "mini", "f" * 64, "reference")
    assert (
        repr(image) == "ImageResult(768x512, 'a red house a red house a red house a re…', seed 7, by 'mini')"
    )
    drawing = Drawing((image,), Prompt(image.request.prompt))
    assert repr(drawing) == f"Drawing({image!r})"
    thing = HeardThing("rain on a roof", "Rain", 0.5)
    windows = np.zeros((9, 5))
    summary = SoundSummary("yamnet", 3.0, 9, (), (thing,))
    sounds = SoundEvents(
        ("Rain",), np.arange(9.0), 0.975, windows.astype(np.uint16), windows.astype(np.float32), summary
    )
    assert repr(sounds) == "SoundEvents(9 windows, 'rain on a roof')"
