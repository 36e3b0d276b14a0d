"""Words while a person speaks: what is transcribed when, and that the last ones are the right ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from audio2img.audio.decode import decode_audio
from audio2img.errors import CancelledError, NothingToDrawError
from audio2img.recognition.partial import LONG_PAUSE_S, LiveTranscriber
from audio2img.recognition.whisper import WhisperRecognizer
from audio2img.types import AudioClip, Transcript

RATE = 16_000
NOTHING = Transcript((), "en", None, "transcribe", "test")


@pytest.fixture
def recognizer(mini_whisper: Path) -> Iterator[WhisperRecognizer]:
    with WhisperRecognizer(mini_whisper) as recognizer:
        yield recognizer


@pytest.fixture
def sentence(demo_audio: Path) -> AudioClip:
    return decode_audio(demo_audio)


def clip_of(seconds: float) -> AudioClip:
    return AudioClip(np.zeros(round(seconds * RATE), np.float32))


class Slow:
    """A recognizer that takes until it is let go, and notes how it was used."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.calls: list[float] = []
        self.stopped: list[float] = []

    def __call__(self, clip: AudioClip, is_stopped: Callable[[], bool]) -> Transcript:
        self.calls.append(clip.duration_s)
        while not self.let_go.wait(0.005):
            if is_stopped():
                self.stopped.append(clip.duration_s)
                raise CancelledError("stopped")
        return NOTHING


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_the_words_of_the_last_offer_are_the_result(
    recognizer: WhisperRecognizer, sentence: AudioClip
) -> None:
    whole = recognizer.transcribe(sentence)
    partials: list[str] = []
    calls: list[float] = []

    def recognize(clip: AudioClip, is_stopped: Callable[[], bool]) -> Transcript:
        calls.append(clip.duration_s)
        return recognizer.transcribe(clip, cancelled=is_stopped)

    live = LiveTranscriber(recognize, lambda partial: partials.append(partial.text))
    half = AudioClip(sentence.samples[: sentence.samples.size // 2])
    live.offer(half, (0, half.samples.size))
    wait_until(lambda: len(partials) == 1)
    live.offer(sentence, (0, sentence.samples.size))
    wait_until(lambda: len(partials) == 2)
    result = live.finish(sentence, (0, sentence.samples.size))
    assert result.text == whole.text == partials[1]
    assert whole.text.startswith(partials[0].split()[0])
    assert len(calls) == 2, "what stands is not looked for again"


def test_more_speech_than_was_offered_is_heard_whole(
    recognizer: WhisperRecognizer, sentence: AudioClip
) -> None:
    live = LiveTranscriber(lambda clip, _: recognizer.transcribe(clip), lambda partial: None)
    live.offer(AudioClip(sentence.samples[:RATE]), (0, RATE))
    result = live.finish(sentence, (0, sentence.samples.size))
    assert result.text == recognizer.transcribe(sentence).text


def test_silence_is_told_at_the_end_and_not_before(recognizer: WhisperRecognizer) -> None:
    live = LiveTranscriber(lambda clip, _: recognizer.transcribe(clip), lambda partial: None)
    live.offer(clip_of(1.0), (0, RATE))
    live.offer(clip_of(2.0), (0, 2 * RATE))
    with pytest.raises(NothingToDrawError):
        live.finish(clip_of(2.0), (0, 2 * RATE))


def test_a_new_offer_and_closing_stop_what_is_under_way() -> None:
    slow = Slow()
    live = LiveTranscriber(slow, lambda partial: None)
    live.offer(clip_of(1.0), (0, RATE))
    live.offer(clip_of(2.0), (0, 2 * RATE))
    assert slow.stopped == [1.0]
    live.close()
    assert slow.stopped == [1.0, 2.0]


def test_it_begins_with_a_second_of_speech_or_with_a_pause() -> None:
    live = LiveTranscriber(Slow(), lambda partial: None)
    assert not live.wants((0, RATE - 1), None)
    assert live.wants((0, RATE), None)
    assert live.wants((0, RATE // 2), 0.2)


def test_while_one_is_under_way_only_a_long_pause_begins_anew() -> None:
    slow = Slow()
    live = LiveTranscriber(slow, lambda partial: None)
    live.offer(clip_of(1.0), (0, RATE))
    assert not live.wants((0, 5 * RATE), None)
    assert not live.wants((0, 5 * RATE), LONG_PAUSE_S / 2)
    assert live.wants((0, 5 * RATE), LONG_PAUSE_S)
    assert not live.wants((0, RATE), LONG_PAUSE_S), "it is being transcribed already"
    live.close()


def test_partial_ones_leave_the_processor_to_others() -> None:
    slow = Slow()
    live = LiveTranscriber(slow, lambda partial: None)
    live.offer(clip_of(1.0), (0, RATE))
    time.sleep(0.2)
    slow.let_go.set()
    live.finish(clip_of(1.0), (0, RATE))
    assert not live.wants((0, 3 * RATE), None), "not straight after one that took .2 s"
    assert live.wants((0, 3 * RATE), 0.2), "but at once in a pause"
    wait_until(lambda: live.wants((0, 3 * RATE), None))
    assert not live.wants((0, int(1.5 * RATE)), None), "half a second of news is too little"


def test_a_fault_of_the_recognizer_is_told_at_the_end() -> None:
    def recognize(clip: AudioClip, is_stopped: Callable[[], bool]) -> Transcript:
        raise ValueError("broken")

    live = LiveTranscriber(recognize, lambda partial: None)
    live.offer(clip_of(1.0), (0, RATE))
    with pytest.raises(ValueError, match="broken"):
        live.finish(clip_of(1.0), (0, RATE))
