from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio2img.recognition.sound_windows import HOP, WINDOW, iter_windows, mirror


def windows_of(samples, cuts=()):
    """(start, samples) of every window, the samples copied."""
    return [(start, window.copy()) for start, window in iter_windows(np.split(samples, sorted(cuts)))]


@pytest.mark.parametrize(
    ("n_samples", "starts"),
    [
        (WINDOW - 1, [0]),
        (WINDOW, [0]),
        (WINDOW + 1, [0, 1]),
        (WINDOW + HOP - 1, [0, HOP - 1]),
        (WINDOW + HOP, [0, HOP]),
        (WINDOW + HOP + 1, [0, HOP, HOP + 1]),
        (176_000, [*range(0, 176_000 - WINDOW, HOP), 176_000 - WINDOW]),
    ],
)
def test_the_last_window_ends_with_the_recording(n_samples, starts):
    samples = np.arange(n_samples, dtype=np.float32)
    found = windows_of(samples)
    assert [start for start, _ in found] == starts
    if n_samples >= WINDOW:
        for start, window in found:
            np.testing.assert_array_equal(window, samples[start : start + WINDOW])


@given(st.integers(1, 60_000), st.lists(st.integers(0, 60_000), max_size=12))
def test_blocks_of_any_length_give_the_same_windows(n_samples, cuts):
    samples = np.arange(n_samples, dtype=np.float32)
    whole = windows_of(samples)
    cut = windows_of(samples, [min(place, n_samples) for place in cuts])
    assert [start for start, _ in cut] == [start for start, _ in whole]
    for (_, ours), (_, theirs) in zip(cut, whole, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len(whole) == (1 if n_samples <= WINDOW else 1 + -(-(n_samples - WINDOW) // HOP))


def test_nothing_has_no_window():
    assert windows_of(np.empty(0, np.float32)) == []


def test_what_is_short_goes_forth_and_back():
    filled = mirror(np.array([1, 2, 3], np.float32))
    assert filled.shape == (WINDOW,)
    assert filled[:8].tolist() == [1, 2, 3, 3, 2, 1, 1, 2]
