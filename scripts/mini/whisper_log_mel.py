"""Whisper's log-mel spectrogram in PyTorch, computed as whisper.cpp computes it."""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray

from scripts.mini.mel_filters import HOP, N_FFT, N_MELS, mel_filterbank


@functools.cache
def _filterbank_tensor(warp: float) -> torch.Tensor:
    return torch.from_numpy(mel_filterbank(warp)).T.contiguous()


@functools.cache
def _window() -> torch.Tensor:
    return torch.hann_window(N_FFT)


def mel_power(samples: NDArray[np.float32], hop: int = HOP, warp: float = 1.0) -> torch.Tensor:
    """Mel power of the frames that hold sound: (frames, 80) float32 from (n,) float32.

    Frame i is centred on sample i * hop; whisper.cpp mirrors 200 samples before the clip
    and continues it with zeros. A hop other than 160 changes the tempo and nothing else.
    """
    half = N_FFT // 2
    clip = torch.from_numpy(np.ascontiguousarray(samples, np.float32))
    n_frames = (len(clip) + half) // hop + 1
    tail = torch.zeros(n_frames * hop + N_FFT - half - len(clip))
    padded = torch.cat([clip[1 : half + 1].flip(0), clip, tail])
    spectrum = torch.fft.rfft(padded.unfold(0, N_FFT, hop)[:n_frames] * _window())
    power: torch.Tensor = spectrum.real.square() + spectrum.imag.square()
    return power @ _filterbank_tensor(warp)


def normalize(power: torch.Tensor) -> torch.Tensor:
    """Whisper's logarithm of mel power (..., frames, 80), taken over the whole clip: 80 dB below its peak."""
    log_mel = power.clamp(min=1e-10).log10()
    floored = torch.maximum(log_mel, log_mel.amax((-2, -1), keepdim=True) - 8.0)
    return (floored + 4.0) / 4.0


def log_mel(samples: NDArray[np.float32], n_frames: int) -> torch.Tensor:
    """What the encoder hears of a clip, (80, n_frames) float32; the rest of the frames is silence."""
    power = torch.zeros(n_frames, N_MELS)
    heard = mel_power(samples)[:n_frames]
    power[: len(heard)] = heard
    return normalize(power).T
