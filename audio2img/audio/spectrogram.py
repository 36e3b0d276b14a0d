"""The spectrogram of a recording as it passes, in constant memory however long it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audio2img.types import SAMPLE_RATE_HZ

FRAME = 512  # samples: 32 ms, a bin every 31.25 Hz
HOP = FRAME // 2
MOST_COLUMNS = 2048  # twice what a plot shows; from then on two become one
FLOOR = 1e-10  # -100 dB: quieter is silence


class Spectrogram:
    """Power over time and frequency, averaged so that there are never more than MOST_COLUMNS columns."""

    def __init__(self) -> None:
        self._rest = np.empty(0, np.float32)
        self._window = np.hanning(FRAME).astype(np.float32)
        self._columns = np.empty((FRAME // 2 + 1, 0), np.float32)
        self._frames: NDArray[np.float32] = self._columns  # those of the column that is not full yet
        self._frames_a_column = 1

    def add(self, block: NDArray[np.float32]) -> None:
        """block: (n,) float32 at 16 kHz, the next samples."""
        samples = np.concatenate((self._rest, block))
        n_frames = (samples.size - FRAME) // HOP + 1 if samples.size >= FRAME else 0
        self._rest = samples[n_frames * HOP :]
        if n_frames == 0:
            return
        frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[: n_frames * HOP : HOP]
        spectrum = np.fft.rfft(frames * self._window, axis=1)
        power = (np.abs(spectrum) ** 2 / np.square(self._window.sum() / 2)).T.astype(np.float32)
        self._frames = np.concatenate((self._frames, power), axis=1)
        self._gather()

    def decibels(self) -> NDArray[np.float32]:
        """(257, columns) float32: dB relative to a sine at full scale, from 0 to 8 kHz, in order of time."""
        power = self._columns
        if self._frames.shape[1]:
            power = np.concatenate((power, self._frames.mean(axis=1, keepdims=True)), axis=1)
        decibels: NDArray[np.float32] = 10 * np.log10(np.maximum(power, np.float32(FLOOR)))
        return decibels

    @property
    def column_s(self) -> float:
        """Seconds from one column to the next."""
        return self._frames_a_column * HOP / SAMPLE_RATE_HZ

    def _gather(self) -> None:
        """Make full columns of the frames; where there are too many, halve them."""
        whole = self._frames.shape[1] // self._frames_a_column
        used = whole * self._frames_a_column
        full = _average(self._frames[:, :used], self._frames_a_column)
        self._columns = np.concatenate((self._columns, full), axis=1)
        self._frames = self._frames[:, used:]
        while self._columns.shape[1] > MOST_COLUMNS:
            even = self._columns.shape[1] // 2 * 2
            odd = np.repeat(self._columns[:, even:], self._frames_a_column, axis=1)
            self._columns = _average(self._columns[:, :even], 2)
            self._frames = np.concatenate((odd, self._frames), axis=1)
            self._frames_a_column *= 2


def _average(power: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    """The mean of every `n` columns."""
    mean: NDArray[np.float32] = power.reshape(power.shape[0], -1, n).mean(axis=2)
    return mean
