"""How loud a signal is. A leaf like `types`: every room may use it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Level:
    """Loudness in dB relative to full scale: a full-scale square wave is 0 dBFS RMS, a sine -3.01.

    Both are -inf for digital silence (every sample exactly zero) and for no samples at all.
    """

    peak_dbfs: float
    rms_dbfs: float

    @property
    def is_digital_silence(self) -> bool:
        return self.peak_dbfs == -math.inf


def measure_level(samples: NDArray[np.float32]) -> Level:
    """Peak and RMS of samples: (n,) float32."""
    if samples.size == 0:
        return Level(-math.inf, -math.inf)
    peak = max(abs(float(samples.max())), abs(float(samples.min())))
    return Level(to_dbfs(peak), to_dbfs(_rms(samples)))


def loudest_window_dbfs(samples: NDArray[np.float32], window: int) -> float:
    """RMS in dBFS of the loudest of the consecutive windows of `window` samples; -inf for silence.

    A word in an hour of quiet raises this, and not the RMS of the whole; a click in a minute
    raises the peak, and this hardly.
    """
    loudest = 0.0
    for start in range(0, samples.size, window):
        block = samples[start : start + window]
        # A short last block counts by its energy over a whole window: one loud sample is no word.
        energy = float(np.dot(block, block)) / window
        loudest = max(loudest, energy)
    return to_dbfs(math.sqrt(loudest))


def to_dbfs(amplitude: float) -> float:
    """20 log10(amplitude); -inf for zero."""
    return 20.0 * math.log10(amplitude) if amplitude > 0.0 else -math.inf


def _rms(samples: NDArray[np.float32]) -> float:
    """Root mean square, summed blockwise so that float32 rounding stays harmless over hours."""
    block = 1 << 16
    total = sum(
        float(np.dot(samples[i : i + block], samples[i : i + block])) for i in range(0, samples.size, block)
    )
    return math.sqrt(total / samples.size)
