from __future__ import annotations

import math

import numpy as np
import pytest

from audio2img.audio.level import loudest_window_dbfs, measure_level, to_dbfs


def test_the_level_of_known_signals():
    times = np.arange(16000) / 16000
    sine = (0.5 * np.sin(2 * np.pi * 100 * times)).astype(np.float32)
    level = measure_level(sine)
    assert level.peak_dbfs == pytest.approx(-6.02, abs=0.01)
    assert level.rms_dbfs == pytest.approx(-9.03, abs=0.01)
    assert measure_level(np.full(100, -1.0, np.float32)).rms_dbfs == pytest.approx(0.0)


def test_digital_silence_is_silence_and_one_least_bit_is_not():
    samples = np.zeros(1000, np.float32)
    assert measure_level(samples).is_digital_silence
    assert measure_level(samples[:0]).is_digital_silence
    samples[500] = 1 / 32768
    assert not measure_level(samples).is_digital_silence


def test_the_level_of_a_long_signal_is_not_lost_in_rounding():
    assert measure_level(np.full(5_000_000, 0.1, np.float32)).rms_dbfs == pytest.approx(-20.0, abs=1e-3)


def test_a_word_in_the_quiet_raises_the_loudest_window_and_a_click_does_not():
    quiet = np.zeros(16000 * 60, np.float32)
    assert loudest_window_dbfs(quiet, 3200) == -math.inf
    word = quiet.copy()
    word[32000:38400] = 0.1
    assert loudest_window_dbfs(word, 3200) == pytest.approx(-20.0, abs=0.1)
    click = quiet.copy()
    click[-1] = 0.1
    assert loudest_window_dbfs(click, 3200) == pytest.approx(-55.05, abs=0.1)


def test_decibels():
    assert to_dbfs(0.1) == pytest.approx(-20)
    assert to_dbfs(0.0) == -math.inf
