from __future__ import annotations

from datetime import datetime, timezone

import numpy as np
import pytest

from audio2img.output.record import PictureRecord
from audio2img.types import ImageRequest, ImageResult, Segment, Transcript

CREATED = datetime(2026, 11, 21, 8, 30, tzinfo=timezone.utc)


@pytest.fixture
def image() -> ImageResult:
    pixels = np.random.RandomState(0).randint(0, 256, (24, 32, 3)).astype(np.uint8)
    request = ImageRequest("a red house under a yellow moon", "blurry", seed=42, steps=12, guidance_scale=6.5)
    return ImageResult(pixels, request, "mini", "0123456789abcdef" * 4, "reference")


@pytest.fixture
def transcript() -> Transcript:
    segments = (Segment(0.0, 1.5, "Draw a red house", 0.93), Segment(1.5, 2.75, "under a yellow moon."))
    return Transcript(segments, "en", 0.99, "transcribe", "mini-whisper")


@pytest.fixture
def record(image: ImageResult, transcript: Transcript) -> PictureRecord:
    return PictureRecord.of(image, transcript=transcript, audio_source="memo.m4a", created=CREATED)
