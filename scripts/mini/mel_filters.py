"""The frames and mel filters of Whisper's spectrogram.

Window, hop and number of filters: openai/whisper `audio.py`. Mel scale and filters: the
"slaney" form of M. Slaney's Auditory Toolbox (1998), as librosa has it.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000  # Hz
N_FFT = 400  # samples, 25 ms
HOP = 160  # samples, 10 ms
FRAMES_PER_SECOND = SAMPLE_RATE // HOP
N_MELS = 80
NYQUIST_HZ = SAMPLE_RATE / 2

_LINEAR_HZ_PER_MEL = 200 / 3
_LOG_START_HZ = 1000.0  # linear below, logarithmic above
_LOG_START_MEL = _LOG_START_HZ / _LINEAR_HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27
_WARP_KNEE_HZ = 4800.0  # vocal tract warping is linear below and returns to Nyquist above


def _hz_to_mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _LOG_START_MEL + np.log(np.maximum(hz, _LOG_START_HZ) / _LOG_START_HZ) / _LOG_STEP
    return np.where(hz < _LOG_START_HZ, hz / _LINEAR_HZ_PER_MEL, above)


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _LOG_START_HZ * np.exp((mel - _LOG_START_MEL) * _LOG_STEP)
    return np.where(mel < _LOG_START_MEL, mel * _LINEAR_HZ_PER_MEL, above)


@functools.cache
def mel_filterbank(warp: float = 1.0) -> NDArray[np.float32]:
    """Triangular filters of unit area over the power spectrum, (80, 201) float32.

    A `warp` other than 1 hears the spectrum as if the speaker's formants lay that much
    higher (vocal tract length perturbation, Jaitly and Hinton 2013); it is for training only.
    """
    edges_hz = _mel_to_hz(np.linspace(0.0, _hz_to_mel(np.array(NYQUIST_HZ)), N_MELS + 2))
    bins_hz = np.linspace(0.0, NYQUIST_HZ, N_FFT // 2 + 1)
    knee = _WARP_KNEE_HZ / max(warp, 1.0)
    bins_hz = np.interp(bins_hz, [0.0, knee, NYQUIST_HZ], [0.0, knee * warp, NYQUIST_HZ])
    left, centre, right = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising = (bins_hz - left) / (centre - left)
    falling = (right - bins_hz) / (right - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * 2.0 / (right - left)).astype(np.float32)
