"""What was heard besides words, as the page shows it: the things, when they sound, the spectrogram."""

from __future__ import annotations

from typing import Any

import numpy as np

from audio2img.audio.spectrogram import Spectrogram
from audio2img.server.inline import as_address
from audio2img.types import SoundEvents

MOST_EVENTS = 500
RANGE_DB = 70.0  # from the loudest down
WIDTH, HEIGHT = 1024, 128  # pixels
# From silence to the loudest, evenly spaced: dark blue, violet, orange, pale yellow.
COLOURS = np.array([[4, 5, 24], [74, 24, 98], [190, 60, 75], [247, 150, 60], [252, 250, 190]], np.float64)


def describe_sounds(sounds: SoundEvents, spectrogram: Spectrogram) -> dict[str, Any]:
    """SOUNDS of the page's protocol: duration_s, things, timeline, and the spectrogram as a data address."""
    return {
        "duration_s": round(sounds.summary.duration_s, 2),
        "things": [
            {"phrase": thing.phrase, "weight": round(thing.weight, 3)} for thing in sounds.summary.things
        ],
        "timeline": [
            {
                "start_s": round(event.start_s, 2),
                "end_s": round(event.end_s, 2),
                "name": event.name,
                "score": round(event.score, 3),
            }
            for event in sounds.timeline()[:MOST_EVENTS]
        ],
        "spectrogram": _draw(spectrogram),
    }


def _draw(spectrogram: Spectrogram) -> str:
    """A WebP of WIDTH x HEIGHT, 8 kHz on top, as a data address; "" where there was no sound."""
    from PIL import Image

    decibels = spectrogram.decibels()
    if not decibels.size:
        return ""
    shares = np.clip((decibels - decibels.max()) / RANGE_DB + 1, 0, 1)
    steps = np.linspace(0, 1, len(COLOURS))
    colours = np.stack([np.interp(shares, steps, COLOURS[:, one]) for one in range(3)], axis=-1)
    image = Image.fromarray(colours[::-1].astype(np.uint8)).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    return as_address(image, "WEBP", 60)
