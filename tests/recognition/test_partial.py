"""Words while a person speaks: what is transcribed when, and that the last ones are the right ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from audio2img.audio.decode import decode_audio
from audio2img.errors import CancelledError, NothingToDrawError
from audio2img.recognition import SpeechRecognizer, load_recognizer
from audio2img.recognition.partial import LONG_PAUSE_S, SENTENCE_PAUSE_S, LiveTranscriber
from audio2img.types import AudioClip, Segment, Transcript
from tests.recognition.conftest import ModelFile

RATE = 16_000
NOTHING = Transcript((), "en", None, "transcribe", "test")


@pytest.fixture
def recognizer(mini_whisper: Path) -> Iterator[SpeechRecognizer]:
    with closing(load_recognizer(ModelFile(mini_whisper))) as recognizer:
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
    recognizer: SpeechRecognizer, sentence: AudioClip
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
    recognizer: SpeechRecognizer, sentence: AudioClip
) -> None:
    live = LiveTranscriber(lambda clip, _: recognizer.transcribe(clip), lambda partial: None)
    live.offer(AudioClip(sentence.samples[:RATE]), (0, RATE))
    result = live.finish(sentence, (0, sentence.samples.size))
    assert result.text == recognizer.transcribe(sentence).text


def test_silence_is_told_at_the_end_and_not_before(recognizer: SpeechRecognizer) -> None:
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
    wait_until(lambda: slow.calls == [1.0, 2.0])
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


def test_listening_never_waits_for_a_recognizer_that_cannot_stop() -> None:
    """As one that is loading its model. Waiting would lose sound, and be deaf to Enter and Ctrl-C."""
    let_go, calls = threading.Event(), []

    def recognize(clip: AudioClip, is_stopped: Callable[[], bool]) -> Transcript:
        calls.append(clip.duration_s)
        let_go.wait()
        return NOTHING

    live = LiveTranscriber(recognize, lambda partial: None)
    for seconds in (1, 2, 3):
        live.offer(clip_of(seconds), (0, seconds * RATE))
    wait_until(lambda: calls == [1.0])
    let_go.set()
    live.finish(clip_of(3.0), (0, 3 * RATE))
    assert calls == [1.0, 3.0]


def test_words_before_a_pause_stand_when_the_speech_goes_on() -> None:
    calls: list[float] = []
    partials: list[str] = []

    def recognize(clip: AudioClip, is_stopped: Callable[[], bool]) -> Transcript:
        calls.append(clip.duration_s)
        segment = Segment(0.0, clip.duration_s, f"{clip.duration_s:g} s")
        return Transcript((segment,), "en", None, "transcribe", "test")

    live = LiveTranscriber(recognize, lambda partial: partials.append(partial.text))
    live.offer(clip_of(5), (0, 5 * RATE))
    assert not live.wants((0, 5 * RATE), SENTENCE_PAUSE_S)
    live.offer(clip_of(7), (0, 7 * RATE))
    live.offer(clip_of(8), (0, 8 * RATE))
    transcript = live.finish(clip_of(8), (0, 8 * RATE))
    assert [(one.start_s, one.end_s, one.text) for one in transcript.segments] == [
        (0.0, 5.0, "5 s"),
        (5.0, 8.0, "3 s"),
    ]
    assert calls[0] == 5.0
    assert calls[-1] == 3.0
    assert partials[-1] == transcript.text


@pytest.mark.parametrize(
    ("seconds", "pause_s", "stands"), [(5, 0.6, False), (3, 2.0, False), (21, 0.3, True)]
)
def test_what_stands_is_long_enough_and_ends_in_a_pause(seconds: int, pause_s: float, stands: bool) -> None:
    calls: list[float] = []

    def recognize(clip: AudioClip, is_stopped: Callable[[], bool]) -> Transcript:
        calls.append(clip.duration_s)
        return NOTHING

    live = LiveTranscriber(recognize, lambda partial: None)
    live.offer(clip_of(seconds), (0, seconds * RATE))
    live.wants((0, seconds * RATE), pause_s)
    live.finish(clip_of(seconds + 2), (0, (seconds + 2) * RATE))
    assert calls[-1] == (2 if stands else seconds + 2)


def test_silence_after_words_that_stand_is_no_fault() -> None:
    said = Transcript((Segment(0, 5, "a red house"),), "en", None, "transcribe", "test")

    def recognize(clip: AudioClip, is_stopped: Callable[[], bool]) -> Transcript:
        if clip.duration_s < 5:
            raise NothingToDrawError("nothing said")
        return said

    live = LiveTranscriber(recognize, lambda partial: None)
    live.offer(clip_of(5), (0, 5 * RATE))
    live.wants((0, 5 * RATE), SENTENCE_PAUSE_S)
    assert live.finish(clip_of(7), (0, 7 * RATE)) == said


@pytest.mark.slow
def test_a_minute_of_speech_is_transcribed_a_few_times_over_and_not_by_its_square(
    recognizer: SpeechRecognizer, sentence: AudioClip
) -> None:
    """Offered every two seconds and at every pause, as a quick machine would."""
    gap = np.random.default_rng(3).standard_normal(round(0.8 * RATE)).astype(np.float32) * 3e-4
    period = np.concatenate((sentence.samples, gap))
    n_times = round(55 * RATE / period.size)
    speech = np.tile(period, n_times)
    transcribed_s = 0.0

    def recognize(clip: AudioClip, is_stopped: Callable[[], bool]) -> Transcript:
        nonlocal transcribed_s
        transcribed_s += clip.duration_s
        return recognizer.transcribe(clip, cancelled=is_stopped)

    live = LiveTranscriber(recognize, lambda partial: None)
    texts = []
    for number in range(n_times):
        begin, end = number * period.size, number * period.size + sentence.samples.size
        for stop in [*range(begin + 2 * RATE, end, 2 * RATE), end]:
            texts.append(live.finish(AudioClip(speech[:stop]), (0, stop)).text)
        live.wants((0, end), 0.75)
    assert texts[-1] == " ".join([recognizer.transcribe(sentence).text] * n_times)
    assert transcribed_s < 3 * speech.size / RATE
