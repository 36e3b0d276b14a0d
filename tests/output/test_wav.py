"""WAV files that we write can be read back as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from audio2img.audio.decode import decode_audio
from audio2img.output.wav import write_wav
from audio2img.types import AudioClip


def test_a_clip_survives_the_round_trip_to_16_bits(tmp_path: Path) -> None:
    samples = np.random.default_rng(4).uniform(-1, 1, 5000).astype(np.float32)
    path = write_wav(AudioClip(samples), tmp_path / "a.wav")
    again = decode_audio(path).samples
    assert again.shape == samples.shape
    assert np.abs(again - samples).max() <= 1 / 32768


def test_loud_samples_are_clipped_and_nothing_is_overwritten(tmp_path: Path) -> None:
    loud = AudioClip(np.array([2.0, -2.0], np.float32))
    first, second = (write_wav(loud, tmp_path / "a.wav") for _ in range(2))
    assert (first.name, second.name) == ("a.wav", "a-2.wav")
    assert np.allclose(decode_audio(second).samples, [1, -1], atol=1e-4)
