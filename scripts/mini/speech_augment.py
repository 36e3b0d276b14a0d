"""Make clean synthetic speech sound like many speakers, rooms and microphones.

Everything is drawn from a NumPy generator; `level` in [0, 1] scales how often and how hard.
Speaker changes that live in the spectrogram (vocal tract, tempo) are drawn here and applied
where the spectrogram is made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scripts.mini.mel_filters import HOP, N_MELS, SAMPLE_RATE

Samples = NDArray[np.float32]

NOISE_BANK_S = 12.0
WARPS = tuple(round(float(warp), 3) for warp in np.geomspace(0.84, 1.19, 15))
MAX_CLIP_S = 10.2  # a little less than the encoder hears


@dataclass(frozen=True)
class Augmented:
    """A clip (n,) float32 at 16 kHz with what the spectrogram should do to it."""

    samples: Samples
    hop: int = HOP  # samples between frames: tempo
    warp: float = 1.0  # factor on the formants
    mel_gain: Samples | None = None  # (80,) factor on the mel power: the microphone


def _unit(sound: NDArray[np.floating]) -> Samples:
    return np.asarray(sound / sound.std(), np.float32)


def coloured_noise(n: int, slope: float, rng: np.random.Generator) -> Samples:
    """(n,) noise of standard deviation 1 whose power falls as frequency ** -slope."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    spectrum *= np.arange(1, len(spectrum) + 1) ** (-slope / 2)
    noise = np.fft.irfft(spectrum, n)
    return _unit(noise)


def hum(n: int, rng: np.random.Generator) -> Samples:
    """(n,) mains hum or an engine: a low tone with harmonics, standard deviation 1."""
    time_s = np.arange(n) / SAMPLE_RATE
    base_hz = rng.choice([50.0, 60.0, rng.uniform(40, 300)])
    falloff = rng.uniform(0.5, 2.0)
    tones = [
        np.sin(2 * np.pi * (base_hz * k * time_s + rng.random())) * k**-falloff
        for k in range(1, int(rng.integers(2, 12)))
    ]
    total = np.sum(tones, axis=0) + 0.01 * rng.standard_normal(n)
    return _unit(total)


def melody(n: int, rng: np.random.Generator) -> Samples:
    """(n,) notes and chords that come and go, standard deviation 1."""
    out = np.zeros(n)
    position = 0
    while position < n:
        length = min(n - position, int(SAMPLE_RATE * rng.uniform(0.1, 0.8)))
        time_s = np.arange(length) / SAMPLE_RATE
        shape = np.exp(-time_s * rng.uniform(0, 6)) * np.minimum(1, time_s / 0.01)
        for _ in range(int(rng.integers(1, 4))):
            note_hz = 440 * 2 ** (rng.integers(-24, 25) / 12)
            brightness = rng.uniform(0.1, 0.8)
            for k in range(1, 6):
                out[position : position + length] += (
                    shape * brightness**k * np.sin(2 * np.pi * note_hz * k * time_s)
                )
        position += length
    out += 1e-3 * rng.standard_normal(n)
    return _unit(out)


def clatter(n: int, rng: np.random.Generator) -> Samples:
    """(n,) clicks, knocks and keystrokes, standard deviation 1."""
    out = 0.01 * rng.standard_normal(n)
    for _ in range(int(rng.integers(1, 4 * n // SAMPLE_RATE + 2))):
        length = int(SAMPLE_RATE * rng.uniform(0.002, 0.15))
        start = int(rng.integers(0, max(1, n - length)))
        burst = coloured_noise(length + 2, rng.uniform(-1, 2), rng)[:length]
        burst = burst * np.exp(-6 * np.arange(length) / length) * rng.uniform(0.3, 1.0)
        out[start : start + length] += burst[: n - start]
    return _unit(out)


def swaying_noise(n: int, rng: np.random.Generator) -> Samples:
    """(n,) noise whose loudness rises and falls as wind, waves or far talk does, standard deviation 1."""
    rate_hz = rng.uniform(0.2, 6)
    knots = np.abs(rng.standard_normal(int(n / SAMPLE_RATE * rate_hz) + 3)) + 0.05
    loudness = np.interp(np.linspace(0, len(knots) - 1, n), np.arange(len(knots)), knots)
    noise = coloured_noise(n, rng.uniform(0, 2.5), rng) * loudness
    return _unit(noise)


class Augmenter:
    """Holds the bank of noises, which are too dear to make afresh for every clip."""

    def __init__(self, rng: np.random.Generator, n_noises: int = 96) -> None:
        n = int(NOISE_BANK_S * SAMPLE_RATE)
        makers = (hum, melody, clatter, swaying_noise)
        steady = [coloured_noise(n, slope, rng) for slope in np.linspace(0, 2.2, n_noises // 3)]
        self._noises = steady + [makers[k % 4](n, rng) for k in range(n_noises - len(steady))]

    def noise(self, n: int, rng: np.random.Generator) -> Samples:
        """(n,) a piece of the bank, standard deviation about 1; n at most 12 s."""
        noise = self._noises[rng.integers(len(self._noises))]
        start = int(rng.integers(0, len(noise) - n + 1))
        return noise[start : start + n]

    def no_speech(self, rng: np.random.Generator) -> Augmented:
        """Silence or noise of any kind and loudness, .2 to 10 s."""
        n = int(SAMPLE_RATE * rng.uniform(0.2, 10.0))
        if rng.random() < 0.15:
            return Augmented(np.zeros(n, np.float32))
        sound = self.noise(n, rng)
        if rng.random() < 0.3:
            sound = sound + self.noise(n, rng) * np.float32(10 ** rng.uniform(-1, 0.5))
        sound = sound / max(1e-3, float(np.abs(sound).max())) * np.float32(10 ** rng.uniform(-4, -0.02))
        return Augmented(sound, mel_gain=_microphone(rng, 1.0))

    def speech(self, clip: NDArray[np.int16], level: float, rng: np.random.Generator) -> Augmented:
        """A clip as another speaker might say it, elsewhere."""
        samples = clip.astype(np.float32) * np.float32(1 / 32768)
        if rng.random() < 0.6 * level:
            samples = _resample(samples, rng.uniform(0.86, 1.17))
        if rng.random() < 0.3 * level:
            samples = _reverberate(samples, rng)
        samples = _place(samples, rng)
        samples *= np.float32(10 ** rng.uniform(-1.4, -0.02)) / max(1e-6, float(np.abs(samples).max()))
        if rng.random() < 0.6 * level:
            power = float(np.sqrt(np.mean(samples**2)))
            snr_db = rng.uniform(4 + 20 * (1 - level), 45)
            samples = samples + self.noise(len(samples), rng) * np.float32(power * 10 ** (-snr_db / 20))
        hop = int(rng.integers(138, 187)) if rng.random() < 0.5 * level else HOP
        if len(samples) / hop > MAX_CLIP_S * SAMPLE_RATE / HOP:
            hop = HOP
        warp = float(rng.choice(WARPS)) if rng.random() < 0.7 * level else 1.0
        return Augmented(np.clip(samples, -1, 1), hop, warp, _microphone(rng, level))


def _resample(samples: Samples, factor: float) -> Samples:
    """Play faster: pitch, formants and tempo together. Left alone where the clip grew too long."""
    if len(samples) / factor > MAX_CLIP_S * SAMPLE_RATE:
        return samples
    positions = np.arange(0, len(samples) - 1, factor, dtype=np.float32)
    return np.interp(positions, np.arange(len(samples), dtype=np.float32), samples).astype(np.float32)


def _reverberate(samples: Samples, rng: np.random.Generator) -> Samples:
    """A room: noise that decays over 30 to 350 ms behind the direct sound."""
    n = int(SAMPLE_RATE * rng.uniform(0.03, 0.35))
    response = rng.standard_normal(n) * np.exp(-6.9 * np.arange(n) / n) * rng.uniform(0.05, 0.3)
    response[0] = 1.0
    size = 1 << (len(samples) + n - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(response, size), size)
    return wet[: min(len(samples) + n // 2, int(MAX_CLIP_S * SAMPLE_RATE))].astype(np.float32)


def _place(samples: Samples, rng: np.random.Generator) -> Samples:
    """Silence before and after, as much as there is room for."""
    room = max(0, int(MAX_CLIP_S * SAMPLE_RATE) - len(samples))
    before = int(SAMPLE_RATE * rng.choice([0.0, rng.uniform(0, 0.3), rng.uniform(0, 1.2)]))
    after = int(SAMPLE_RATE * rng.choice([0.0, 0.0, rng.uniform(0, 0.6)]))
    before = min(before, room)
    after = min(after, room - before)
    return np.pad(samples, (before, after))


def _microphone(rng: np.random.Generator, level: float) -> Samples | None:
    """(80,) a smooth random frequency response, at times that of a telephone; None for a flat one."""
    if rng.random() > 0.6 * level:
        return None
    knots = rng.normal(0, 0.35, 6)
    response = np.interp(np.linspace(0, 5, N_MELS), np.arange(6), knots)
    response += rng.normal(0, 0.3) * np.linspace(-1, 1, N_MELS)
    if rng.random() < 0.15:
        response[: rng.integers(1, 8)] -= 2.0
        response[rng.integers(58, 78) :] -= 3.0
    return (10**response).astype(np.float32)
