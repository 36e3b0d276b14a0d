"""Naming the sounds of ten minutes, against the ffmpeg program and a bare LiteRT interpreter."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bench_tools import Comparison, SkippedError, command, timed

from audio2img.config import load_settings
from audio2img.errors import Audio2ImgError
from audio2img.pipeline import Pipeline
from audio2img.types import AudioClip

WINDOW = 15_600
SECONDS = 600


def naming(folder: Path) -> Comparison:
    """Ten minutes of 44.1 kHz stereo mp3, everything on one thread and every model loaded."""
    pipeline = Pipeline("mini", sound_model=load_settings().sound_model)
    try:
        model = pipeline.sound_model.path
        pipeline.classify(AudioClip(np.zeros(WINDOW, np.float32)))
    except Audio2ImgError as error:
        raise SkippedError(f"{error.message}: {error.remedy}") from None
    program = shutil.which("ffmpeg")
    if program is None:
        raise SkippedError("it needs the ffmpeg program")
    path = folder / "sounds.mp3"
    source = f"anoisesrc=d={SECONDS}:r=44100:a=0.3:seed=1,aformat=channel_layouts=stereo"
    command(program, "-v", "error", "-f", "lavfi", "-i", source, path)()
    raw = folder / "sounds.f32"
    ffmpeg = command(program, "-v", "error", "-y", "-i", path, "-ac", "1", "-ar", "16000", "-f", "f32le", raw)
    bare = _bare_loop(model)

    def theirs() -> None:
        ffmpeg()
        bare(np.fromfile(raw, np.float32))

    ours = timed(lambda: pipeline.classify(path))
    return Comparison("name sounds, mp3", ours, timed(theirs), "ffmpeg and a bare interpreter")


def _bare_loop(model: Path) -> Callable[[np.ndarray], None]:
    """The same windows through the same file, and nothing done with the scores."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(model), num_threads=1)
    interpreter.allocate_tensors()
    sound = interpreter.get_input_details()[0]
    scores = interpreter.get_output_details()[0]["index"]

    def loop(samples: np.ndarray) -> None:
        for start in range(0, samples.size - WINDOW + 1, WINDOW // 2):
            interpreter.set_tensor(sound["index"], samples[start : start + WINDOW].reshape(sound["shape"]))
            interpreter.invoke()
            interpreter.get_tensor(scores)

    return loop
