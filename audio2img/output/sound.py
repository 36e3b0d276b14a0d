"""Sound as a file: 16 kHz, mono, in the format of its ending, through FFmpeg's encoders (PyAV)."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audio2img.errors import MachineError, UsageError
from audio2img.installation import how_to_repair
from audio2img.output.files import write_new_file
from audio2img.output.naming import numbered_names
from audio2img.types import SAMPLE_RATE_HZ, AudioClip

if TYPE_CHECKING:
    import av

BLOCK_SAMPLES = 1 << 16


@dataclass(frozen=True)
class SoundFormat:
    """container, codec: FFmpeg's names. bit_rate: bits a second, 0 where nothing is lost."""

    container: str
    codec: str
    bit_rate: int = 0


# Bit rates that speech at 16 kHz does not outgrow.
FORMATS = {
    ".wav": SoundFormat("wav", "pcm_s16le"),
    ".flac": SoundFormat("flac", "flac"),
    ".opus": SoundFormat("opus", "libopus", 48_000),
    ".m4a": SoundFormat("ipod", "aac", 64_000),
    ".mp3": SoundFormat("mp3", "libmp3lame", 64_000),
}


def sound_format(path: Path) -> SoundFormat:
    """What `path` is going to be, by its ending in any case.

    Raises UsageError for an ending that is none of FORMATS, MachineError where FFmpeg has no such encoder.
    """
    chosen = FORMATS.get(path.suffix.lower())
    if chosen is None:
        problem = f"the ending {path.suffix}" if path.suffix else "a name without an ending"
        raise UsageError(
            f"{problem} is no sound that can be written: {path.name!r}",
            f"choose from {', '.join(FORMATS)}: -o {path.stem or 'recording'}.wav",
        )
    import av

    if chosen.codec not in av.codecs_available:
        raise MachineError(
            f"the FFmpeg of this machine's PyAV cannot write {path.suffix.lower()}",
            f"choose .wav, or install PyAV's own package again; {how_to_repair('av')}",
        )
    return chosen


def write_sound(clip: AudioClip, path: Path) -> Path:
    """Write `clip` to `path`, or to the same name with a number where that is taken; the file's path.

    Samples beyond [-1, 1] are clipped, and rounded to 16 bit. The file appears whole or not at all.
    Raises MachineError when the disk refuses, UsageError for a path that cannot be, and what
    `sound_format` raises.
    """
    data = _encode(clip.samples, sound_format(path))
    return write_new_file(path.parent, numbered_names(path.name), data)


def _encode(samples: NDArray[np.float32], form: SoundFormat) -> bytes:
    import av

    file = io.BytesIO()
    with av.open(file, "w", format=form.container) as container:
        stream = container.add_stream(form.codec, rate=SAMPLE_RATE_HZ)
        stream.layout = "mono"
        if form.bit_rate:
            stream.bit_rate = form.bit_rate
        for start in range(0, len(samples), BLOCK_SAMPLES):
            for packet in stream.encode(_frame(samples[start : start + BLOCK_SAMPLES], start)):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return file.getvalue()


def _frame(samples: NDArray[np.float32], start: int) -> av.AudioFrame:
    import av

    integers = np.clip(np.round(samples * 32768.0), -32768, 32767).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(integers[None], format="s16", layout="mono")
    frame.sample_rate, frame.pts = SAMPLE_RATE_HZ, start
    return frame
