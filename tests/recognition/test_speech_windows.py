from __future__ import annotations

import weakref
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio2img.recognition.speech_windows import FRAME, iter_windows

RATE = 16000


def sound(*parts):
    """(seconds, amplitude) after one another, as white noise of that RMS."""
    rng = np.random.default_rng(1)
    return np.concatenate(
        [rng.standard_normal(round(seconds * RATE)) * amplitude for seconds, amplitude in parts]
    ).astype(np.float32)


def plan_windows(samples, longest_s, *, n_block=1 << 16, **how):
    """The windows of samples that come in blocks; each must hold just what it says."""
    blocks = (samples[start : start + n_block] for start in range(0, samples.size, n_block))
    windows = []
    for window, part in iter_windows(blocks, longest_s, **how):
        assert np.array_equal(part, samples[window.start : window.stop])
        windows.append(window)
    return windows


def seconds(windows):
    return [(round(window.start_s, 1), round(window.stop_s, 1)) for window in windows]


def test_silence_has_no_window():
    assert plan_windows(np.zeros(RATE * 60, np.float32), 30) == []
    assert plan_windows(np.zeros(0, np.float32), 30) == []
    assert plan_windows(sound((5, 0.0005)), 30) == []  # -66 dBFS


def test_a_short_word_in_a_long_silence_is_one_window_with_its_margins():
    samples = sound((600, 0), (0.4, 0.05), (600, 0))
    assert seconds(plan_windows(samples, 30)) == [(599.7, 600.7)]


def test_short_pauses_stay_and_long_silences_go():
    samples = sound((2, 0.1), (1.5, 0), (2, 0.1), (60, 0), (3, 0.1))
    assert seconds(plan_windows(samples, 30)) == [(0.0, 5.8), (65.2, 68.5)]
    assert len(plan_windows(samples, 30, gap_s=1.0)) == 3
    assert seconds(plan_windows(samples, 100, gap_s=70.0)) == [(0.0, 68.5)]


def test_a_recording_without_pause_is_cut_to_length():
    samples = sound((25, 0.1))
    windows = plan_windows(samples, 10)
    assert windows[0].start == 0
    assert windows[-1].stop == samples.size
    assert all(a.stop == b.start for a, b in pairwise(windows))
    assert max(window.stop_s - window.start_s for window in windows) <= 10


def test_the_cut_is_in_the_quietest_place():
    samples = sound((7, 0.1), (0.5, 0.002), (8, 0.1))
    first, second = plan_windows(samples, 10)
    assert first.stop == second.start
    assert 7.0 <= first.stop_s <= 7.5


@pytest.mark.parametrize("floor", [0.0, 0.001, 0.002])
def test_pauses_divide_sentences_whatever_the_room_sounds_like(floor):
    samples = sound((2, 0.1), (1.0, floor), (2, 0.1), (0.3, floor), (1, 0.1))
    assert len(plan_windows(samples, 10)) == 1
    first, second = plan_windows(samples, 10, split_at_pauses=True)
    assert first.stop == second.start
    assert first.stop_s == pytest.approx(2.5, abs=0.1)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0.0, 4.0), st.sampled_from([0.0, 0.0005, 0.01, 0.1])), max_size=8),
    st.floats(1.0, 12.0),
    st.booleans(),
)
def test_windows_are_in_order_short_enough_and_leave_out_only_silence(parts, longest_s, split):
    samples = sound(*parts, (0.05, 0.0))
    windows = plan_windows(samples, longest_s, split_at_pauses=split)
    assert plan_windows(samples, longest_s, n_block=FRAME // 3, split_at_pauses=split) == windows
    covered = np.zeros(samples.size, bool)
    last = 0
    for window in windows:
        assert last <= window.start < window.stop <= samples.size
        assert window.stop_s - window.start_s <= longest_s + 1e-9
        covered[window.start : window.stop] = True
        last = window.stop
    left_out = samples[~covered]
    assert left_out.size == 0 or np.sqrt(np.mean(left_out**2)) < 0.0011


@pytest.mark.parametrize("split", [False, True])
def test_of_a_long_recording_only_a_few_minutes_are_held(split):
    """Two hours of unbroken sound, in blocks that are counted as long as anybody holds them."""
    held = most = 0

    def let_go():
        nonlocal held
        held -= 1

    def blocks():
        nonlocal held, most
        for number in range(7200):
            block = np.full(RATE, 0.1 + 0.001 * (number % 7), np.float32)
            weakref.finalize(block, let_go)
            held += 1
            most = max(most, held)
            yield block

    ends = [window.stop_s for window, _ in iter_windows(blocks(), 300.0, split_at_pauses=split)]
    assert ends[-1] == 7200.0
    assert 150 < most < 310
