"""How long the words take after a speech of ten seconds that was transcribed while it went on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

import numpy as np
from bench_tools import Comparison
from numpy.typing import NDArray

from audio2img.audio.decode import decode_audio
from audio2img.pipeline.live import LiveInput, follow_utterance
from audio2img.recognition import SpeechRecognizer, load_recognizer
from audio2img.recognition.partial import LiveTranscriber
from audio2img.store.catalog import resolve_model
from audio2img.types import SAMPLE_RATE_HZ, AudioClip

MINI = Path(__file__).resolve().parent.parent / "models" / "mini"
Floats = NDArray[np.float32]

SPEECH_S = 10.0
GAP_S = 0.25  # between the sentences
CHUNK_S = 0.05
PRESSED_S = 0.3  # after the last word, by a quick person
ROOM = 3e-4  # about -70 dBFS


def words(ended_by: Literal["silence", "Enter"]) -> Comparison:
    """The wait for the words, from the moment on that the speech is known to be over, against the whole
    transcription of the same clip."""
    recognizer = load_recognizer(resolve_model("mini-whisper", "speech"))
    recognizer.load()
    clips: list[AudioClip] = []

    def ours() -> float:
        clip, text, waited_s = _speak(recognizer, ended_by)
        if text != recognizer.transcribe(clip).text:
            raise RuntimeError("the words are others than those of the whole clip")
        clips.append(clip)
        return waited_s

    def whole() -> float:
        started = time.perf_counter()
        recognizer.transcribe(clips[-1])
        return time.perf_counter() - started

    aim = 0.5 if ended_by == "silence" else None
    return Comparison(f"words, {ended_by}", ours, whole, "a whole transcription", aim)


def _speak(recognizer: SpeechRecognizer, ended_by: str) -> tuple[AudioClip, str, float]:
    """Ten seconds of speech in real time; the clip, its words and the wait for them."""
    speech = _ten_seconds()
    started = time.monotonic()
    over_s = 1.0 + speech.size / SAMPLE_RATE_HZ + PRESSED_S
    source = LiveInput(
        silence_s=60.0 if ended_by == "Enter" else 1.2,
        stop=lambda: ended_by == "Enter" and time.monotonic() - started >= over_s,
    )
    transcriber = LiveTranscriber(
        lambda clip, is_stopped: recognizer.transcribe(clip, cancelled=is_stopped), lambda partial: None
    )
    with closing(transcriber):
        listener = follow_utterance(_in_real_time(speech), source, lambda moment: None, transcriber)
        ended = time.perf_counter()
        clip = listener.clip()
        transcript = transcriber.finish(clip, listener.bounds)
        return clip, transcript.text, time.perf_counter() - ended


def _ten_seconds() -> Floats:
    """The demo sentence over and over, without the quiet around it."""
    samples = decode_audio(MINI / "demo.flac").samples
    loud = np.flatnonzero(np.abs(samples) > 0.02)
    sentence = np.concatenate(
        (samples[loud[0] : loud[-1]], np.zeros(round(GAP_S * SAMPLE_RATE_HZ), np.float32))
    )
    n_times = round(SPEECH_S * SAMPLE_RATE_HZ / sentence.size)
    return np.tile(sentence, n_times)[: -round(GAP_S * SAMPLE_RATE_HZ)]


def _in_real_time(speech: Floats) -> Iterator[Floats]:
    """A quiet second, the speech, and a quiet room for ever after; each chunk when its time has come."""
    rng = np.random.default_rng(1)
    n_chunk = round(CHUNK_S * SAMPLE_RATE_HZ)
    sound = np.concatenate((np.zeros(SAMPLE_RATE_HZ, np.float32), speech))
    started, n_given = time.monotonic(), 0
    while True:
        chunk = (rng.standard_normal(n_chunk) * ROOM).astype(np.float32)
        part = sound[n_given : n_given + n_chunk]
        chunk[: part.size] += part
        n_given += n_chunk
        time.sleep(max(0.0, started + n_given / SAMPLE_RATE_HZ - time.monotonic()))
        yield chunk
