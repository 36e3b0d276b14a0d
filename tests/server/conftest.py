from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from audio2img.audio.decode import decode_audio
from audio2img.output import PictureRecord, write_picture
from audio2img.types import ImageRequest, ImageResult, Segment, Transcript
from tests.server.clients import Server, run_server

Draw = Callable[..., Path]


@pytest.fixture(scope="session")
def draw() -> Draw:
    """Writes a small picture of ours to a path: `draw(folder / "a.png", "a red house", at_s=5)`.

    said: the words of its transcript; at_s: when it says it was written; size: width and height.
    """

    def draw(
        path: Path,
        prompt: str = "a red house",
        *,
        said: str = "",
        at_s: int | None = None,
        size: tuple[int, int] = (32, 24),
    ) -> Path:
        pixels = np.random.RandomState(0).randint(0, 256, (*size[::-1], 3)).astype(np.uint8)
        request = ImageRequest(prompt, "blurry", seed=42, steps=12, guidance_scale=6.5)
        image = ImageResult(pixels, request, "mini", "0123456789abcdef" * 4, "reference")
        transcript = Transcript((Segment(0, 1, said),), "en", 0.9, "transcribe", "tiny") if said else None
        written = write_picture(image, PictureRecord.of(image, transcript=transcript), path)
        assert written == path
        if at_s is not None:
            os.utime(path, (at_s, at_s))
        return path

    return draw


@pytest.fixture(scope="session")
def demo_pcm() -> bytes:
    """The demo's sentence as little-endian int16 at 16 kHz, with 2 s of silence after it."""
    clip = decode_audio(Path(__file__).parents[2] / "models" / "mini" / "demo.flac")
    samples = (clip.samples * 32767).astype("<i2").tobytes()
    return samples + bytes(2 * 16_000 * 2)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from run_server(tmp_path_factory.mktemp("studio"))
