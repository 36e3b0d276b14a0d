"""One utterance out of a stream: where it is cut, in chunks of any length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from audio2img.audio.decode import decode_audio
from audio2img.audio.listening import LEAD_S, TAIL_S, Listener, Moment
from audio2img.audio.vad import EndpointSettings, EnergyGate, make_detector

RATE = 16_000
Floats = NDArray[np.float32]


def room(seconds: float, seed: int = 3) -> Floats:
    """A quiet room."""
    return (np.random.default_rng(seed).standard_normal(round(seconds * RATE)) * 3e-4).astype(np.float32)


@pytest.fixture(scope="module")
def sentence() -> Floats:
    demo = Path(__file__).resolve().parents[2] / "models" / "mini" / "demo.flac"
    samples = decode_audio(demo).samples
    loud = np.flatnonzero(np.abs(samples) > 0.02)
    return samples[loud[0] : loud[-1]]


def hear(listener: Listener, sound: Floats, sizes: list[int]) -> list[Moment]:
    """Feed chunks of these sizes in turn, until the listener has heard enough."""
    moments, at, turn = [], 0, 0
    while at < sound.size:
        size = sizes[turn % len(sizes)]
        moments.append(listener.hear(sound[at : at + size]))
        at, turn = at + size, turn + 1
        if moments[-1].state == "ended" or moments[-1].given_up:
            break
    return moments


def test_an_utterance_is_cut_a_little_around_its_words(sentence: Floats) -> None:
    sound = np.concatenate((room(1.5), sentence, room(4.0)))
    listener = Listener(EnergyGate(), EndpointSettings())
    moments = hear(listener, sound, [800])
    assert moments[-1].state == "ended"
    start, stop = listener.bounds
    end = int(1.5 * RATE) + sentence.size
    assert 1.5 * RATE - (LEAD_S + 0.15) * RATE <= start <= 1.5 * RATE
    assert end - 0.1 * RATE <= stop <= end + (TAIL_S + 0.3) * RATE
    assert np.array_equal(listener.clip().samples, sound[start:stop])
    heard_s = sum(1 for _ in moments) * 800 / RATE
    assert heard_s < end / RATE + 1.2 + 0.4


def test_the_moments_tell_what_is_going_on(sentence: Floats) -> None:
    listener = Listener(EnergyGate(), EndpointSettings())
    moments = hear(listener, np.concatenate((room(1.0), sentence, room(3.0))), [800])
    states = [moment.state for moment in moments]
    assert states == sorted(states, key=["waiting", "hearing", "ended"].index)
    assert moments[5].level_dbfs == pytest.approx(-70, abs=2)
    assert max(moment.level_dbfs for moment in moments) > -30
    assert moments[-1].pause_s == pytest.approx(1.2, abs=0.1)
    assert moments[-1].speech_s == pytest.approx(sentence.size / RATE, abs=0.3)
    pauses = [moment for moment in moments if moment.is_pause]
    assert pauses
    assert all(moment.pause_s >= TAIL_S for moment in pauses)


def test_what_stands_in_a_pause_is_what_stands_at_the_end(sentence: Floats) -> None:
    """So that words found in the pause need not be looked for again."""
    listener = Listener(EnergyGate(), EndpointSettings())
    sound = np.concatenate((room(1.0), sentence, room(3.0)))
    at_pause: dict[tuple[int, int], Floats] = {}
    for at in range(0, sound.size, 800):
        moment = listener.hear(sound[at : at + 800])
        if moment.is_pause:
            at_pause[listener.bounds] = listener.clip().samples
        if moment.state == "ended":
            break
    assert np.array_equal(at_pause[listener.bounds], listener.clip().samples)


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 5000), min_size=1, max_size=6))
def test_the_length_of_the_chunks_does_not_matter(sizes: list[int]) -> None:
    """But for how long it goes on listening when it is over."""
    rng = np.random.default_rng(8)
    speech = (rng.standard_normal(RATE) * 0.1).astype(np.float32)
    sound = np.concatenate((room(0.8), speech, room(2.0)))
    usual, other = (Listener(EnergyGate(), EndpointSettings()) for _ in range(2))
    hear(usual, sound, [512])
    hear(other, sound, sizes)
    assert other.bounds == usual.bounds
    assert np.array_equal(other.clip().samples, usual.clip().samples)


def test_who_says_nothing_is_given_up() -> None:
    listener = Listener(EnergyGate(), EndpointSettings(limit_s=3.0))
    moments = hear(listener, room(10.0), [800])
    assert len(moments) == 60
    assert moments[-1].given_up
    assert moments[-1].state == "waiting"


def test_all_is_kept_where_no_speech_was_noticed() -> None:
    """A whisper under the noise: whoever presses Enter then wants it understood."""
    listener = Listener(EnergyGate(), EndpointSettings())
    sound = room(2.0)
    hear(listener, sound, [700])
    assert np.array_equal(listener.clip().samples, sound)


def test_nothing_heard_is_an_empty_clip() -> None:
    assert Listener(EnergyGate(), EndpointSettings()).clip().samples.size == 0


def test_with_silero(shared_data: Path, sentence: Floats) -> None:
    detector = make_detector(shared_data / "silero-v6.2.0-ggml.bin")
    listener = Listener(detector, EndpointSettings())
    noise = np.random.default_rng(4).standard_normal(round(6 * RATE)).astype(np.float32) * 0.004
    noise[2 * RATE : 2 * RATE + sentence.size] += sentence
    hear(listener, noise, [800])
    start, stop = listener.bounds
    assert start / RATE == pytest.approx(2.0 - LEAD_S, abs=0.25)
    assert stop / RATE == pytest.approx(2.0 + sentence.size / RATE + TAIL_S, abs=0.3)
