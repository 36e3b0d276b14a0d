from __future__ import annotations

import numpy as np
import pytest

from audio2img.audio.spectrogram import FRAME, HOP, MOST_COLUMNS, Spectrogram


def tone(hertz, n_samples, level=1.0):
    return (level * np.sin(2 * np.pi * hertz * np.arange(n_samples) / 16_000)).astype(np.float32)


def spectrogram_of(samples, block):
    spectrogram = Spectrogram()
    for start in range(0, samples.size, block):
        spectrogram.add(samples[start : start + block])
    return spectrogram


def test_a_tone_of_full_scale_is_0_db_in_its_own_bin():
    decibels = spectrogram_of(tone(1000, 16_000), 5000).decibels()
    assert decibels.shape == (FRAME // 2 + 1, (16_000 - FRAME) // HOP + 1)
    assert (decibels.argmax(axis=0) == 32).all()
    assert decibels.max(axis=0) == pytest.approx(0.0, abs=0.2)


def test_silence_is_the_floor():
    assert (spectrogram_of(np.zeros(5000, np.float32), 5000).decibels() < -99.9).all()


def test_nothing_has_no_columns():
    assert Spectrogram().decibels().shape[1] == 0
    assert spectrogram_of(tone(1000, 100), 100).decibels().shape[1] == 0


@pytest.mark.parametrize("block", [777, 16_000, 1_000_000])
def test_a_long_recording_has_few_columns_at_the_right_times(block):
    n_samples = 9_000 * HOP  # halved three times
    level = np.repeat([0.1, 1.0, 0.01], n_samples // 3)
    spectrogram = spectrogram_of(tone(1000, level.size) * level.astype(np.float32), block)
    line = spectrogram.decibels()[32]
    assert MOST_COLUMNS / 2 < line.size <= MOST_COLUMNS + 1
    assert line.size * spectrogram.column_s == pytest.approx(level.size / 16_000, rel=0.01)
    thirds = [part.mean() for part in np.array_split(line, 3)]
    assert thirds == pytest.approx([-20, 0, -40], abs=0.5)
