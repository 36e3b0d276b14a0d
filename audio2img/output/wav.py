"""Sound as a WAV file: 16 kHz, mono, 16 bit."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np

from audio2img.output.files import write_new_file
from audio2img.output.naming import numbered_names
from audio2img.types import SAMPLE_RATE_HZ, AudioClip


def write_wav(clip: AudioClip, path: Path) -> Path:
    """Write `clip` to `path`, or to the same name with a number where that is taken; the file's path.

    Samples beyond [-1, 1] are clipped. The file appears whole or not at all. Raises MachineError
    when the disk refuses, UsageError for a path that cannot be.
    """
    samples = np.clip(np.round(clip.samples * 32768.0), -32768, 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(samples.tobytes())
    return write_new_file(path.parent, numbered_names(path.name), buffer.getvalue())
