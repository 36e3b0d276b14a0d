"""The engines of a picture called by hand, one after the other: what `audio2img run` is measured against.

Usage: python scripts/bare_engines.py SOUND [--seed N] -o FILE.png

No overlap, no progress, no checks, no record in the picture; the same sound, words, steps and size.
"""

from __future__ import annotations

from pathlib import Path

import av
import click
import numpy as np
import soxr
from PIL import Image
from pywhispercpp.model import Model

from audio2img.backends.coreml.backend import CoreMLBackend
from audio2img.types import ImageRequest

MINI = Path(__file__).resolve().parent.parent / "models" / "mini"


def decode(sound: str) -> np.ndarray:
    """(n,) float32 at 16 kHz, mono."""
    with av.open(sound) as container:
        rate = container.streams.audio[0].rate
        planar = av.AudioResampler(format="fltp")
        blocks = [
            block.to_ndarray().mean(axis=0)
            for frame in container.decode(audio=0)
            for block in planar.resample(frame)
        ]
    return soxr.resample(np.concatenate(blocks), rate, 16000).astype(np.float32)


@click.command()
@click.argument("sound")
@click.option("--seed", type=int, default=0)
@click.option("-o", "--output", required=True)
def main(sound: str, seed: int, output: str) -> None:
    """Sound to picture with bare calls."""
    samples = decode(sound)
    whisper = Model(
        str(MINI / "mini-whisper.bin"), n_threads=1, print_progress=False, redirect_whispercpp_logs_to=None
    )
    words = " ".join(segment.text for segment in whisper.transcribe(samples, temperature_inc=0.0)).strip()
    prompt = words.removeprefix("please draw ")
    backend = CoreMLBackend.load(MINI / "coreml")
    defaults = backend.defaults
    request = ImageRequest(prompt, seed=seed, steps=defaults.steps, guidance_scale=defaults.guidance_scale)
    Image.fromarray(backend.generate(request).pixels).save(output)


if __name__ == "__main__":
    main()
