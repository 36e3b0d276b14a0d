"""When an utterance begins and ends: the endpointer on given probabilities, the gate on built sounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio2img.audio.decode import decode_audio
from audio2img.audio.vad import (
    FRAME_S,
    FRAME_SAMPLES,
    Detector,
    Endpointer,
    EndpointSettings,
    EnergyGate,
    make_detector,
)

RATE = 16000


def frames(seconds: float) -> int:
    return round(seconds / FRAME_S)


def run(endpointer: Endpointer, *spans: tuple[float, float]) -> Endpointer:
    """Feed spans of (seconds, probability)."""
    for seconds, probability in spans:
        for _ in range(frames(seconds)):
            endpointer.feed(probability)
    return endpointer


def listen(detector: Detector, samples: np.ndarray, options: EndpointSettings | None = None) -> Endpointer:
    endpointer = Endpointer(options or EndpointSettings())
    for start in range(0, len(samples) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
        if endpointer.feed(detector.hear(samples[start : start + FRAME_SAMPLES])) == "ended":
            break
    return endpointer


def test_an_utterance_has_a_beginning_and_an_end() -> None:
    endpointer = run(Endpointer(), (1.0, 0.02), (2.0, 0.9), (2.0, 0.05))
    assert endpointer.state == "ended"
    assert endpointer.start_s == pytest.approx(1.0, abs=FRAME_S)
    assert endpointer.end_s == pytest.approx(3.0, abs=FRAME_S)
    assert not endpointer.timed_out


def test_a_pause_inside_a_sentence_does_not_end_it() -> None:
    endpointer = run(Endpointer(), (0.5, 0.0), (1.0, 0.9), (1.1, 0.0), (1.0, 0.9), (1.0, 0.0))
    assert endpointer.state == "hearing"
    run(endpointer, (0.3, 0.0))
    assert endpointer.state == "ended"
    assert endpointer.end_s == pytest.approx(3.6, abs=2 * FRAME_S)


def test_a_click_is_no_speech() -> None:
    assert run(Endpointer(), (1.0, 0.0), (0.06, 1.0), (3.0, 0.0)).state == "waiting"


def test_between_the_thresholds_speech_goes_on_but_does_not_begin() -> None:
    assert run(Endpointer(), (5.0, 0.45)).state == "waiting"
    assert run(Endpointer(), (1.0, 0.9), (5.0, 0.45)).state == "hearing"


def test_who_does_not_stop_is_stopped() -> None:
    endpointer = run(Endpointer(EndpointSettings(limit_s=3.0)), (1.0, 0.0), (10.0, 0.9))
    assert endpointer.state == "ended"
    assert endpointer.timed_out
    assert endpointer.end_s == pytest.approx(4.0, abs=2 * FRAME_S)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=400))
def test_times_stay_in_order(probabilities: list[float]) -> None:
    endpointer = Endpointer(EndpointSettings(limit_s=5.0, silence_s=0.5))
    seen = [endpointer.feed(probability) for probability in probabilities]
    order = ["waiting", "hearing", "ended"]
    assert sorted(seen, key=order.index) == seen
    if endpointer.start_s is not None and endpointer.end_s is not None:
        assert 0 <= endpointer.start_s < endpointer.end_s <= len(probabilities) * FRAME_S + 1e-9


def tone_bursts(lead_s: float, seconds: float, tail_s: float, level: float) -> np.ndarray:
    """Something with the rhythm of speech: bursts of a buzz, four a second."""
    time_s = np.arange(int(seconds * RATE)) / RATE
    buzz = sum(np.sin(2 * np.pi * 130 * k * time_s) / k for k in range(1, 20))
    rhythm = np.clip(np.sin(2 * np.pi * 4 * time_s) + 0.6, 0, 1)
    voice = level * buzz * rhythm
    return np.concatenate([np.zeros(int(lead_s * RATE)), voice, np.zeros(int(tail_s * RATE))])


@pytest.mark.parametrize("noise_db", [-70, -50, -35])
def test_the_gate_finds_a_voice_in_steady_noise(noise_db: int) -> None:
    rng = np.random.default_rng(5)
    samples = tone_bursts(1.5, 2.0, 2.5, 0.1)
    samples = samples + rng.standard_normal(len(samples)) * 10 ** (noise_db / 20)
    endpointer = listen(EnergyGate(), samples.astype(np.float32))
    assert endpointer.state == "ended"
    assert endpointer.start_s == pytest.approx(1.5, abs=0.2)
    assert endpointer.end_s == pytest.approx(3.5, abs=0.3)


@pytest.mark.parametrize("level", [0.0, 1e-4, 0.01, 0.2])
def test_the_gate_stays_shut_on_steady_noise(level: float) -> None:
    noise = np.random.default_rng(6).standard_normal(RATE * 12) * level
    assert listen(EnergyGate(), noise.astype(np.float32)).state == "waiting"


def test_a_hum_that_is_switched_on_closes_the_gate_again() -> None:
    time_s = np.arange(RATE * 12) / RATE
    hum = np.where(time_s > 1, 0.2, 0.0005) * np.sin(2 * np.pi * 400 * time_s)
    endpointer = listen(EnergyGate(), hum.astype(np.float32))
    assert endpointer.state == "ended"
    assert endpointer.end_s is not None
    assert endpointer.end_s < 3.5


def test_who_speaks_from_the_first_moment_is_found_after_a_pause() -> None:
    samples = np.concatenate([tone_bursts(0, 1.5, 0.8, 0.1), tone_bursts(0, 1.5, 2.5, 0.1)])
    endpointer = listen(EnergyGate(), samples.astype(np.float32))
    assert endpointer.state == "ended"
    assert endpointer.end_s == pytest.approx(3.8, abs=0.3)


@pytest.mark.parametrize("detector", ["gate", "silero"])
def test_a_real_speech_with_its_pauses_is_one_utterance(shared_data: Path, detector: str) -> None:
    model = shared_data / "silero-v6.2.0-ggml.bin" if detector == "silero" else None
    speech = decode_audio(shared_data / "jfk.wav").samples
    samples = np.concatenate([speech, np.zeros(2 * RATE, np.float32)])
    endpointer = listen(make_detector(model), samples)
    assert endpointer.state == "ended"
    assert endpointer.start_s is not None
    assert endpointer.end_s is not None
    assert endpointer.start_s < 0.6
    assert endpointer.end_s > 10.0
