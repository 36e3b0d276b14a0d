"""Built recordings for measuring the end of speech: a speaker somewhere in noise, music or hum."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audio2img.types import SAMPLE_RATE_HZ
from scripts.mini.speech_corpus import write_sentence
from scripts.mini.synthesizers import Voice, held_out_voices, speak, training_voices

Samples = NDArray[np.float32]

BACKGROUNDS = ("quiet", "white", "pink", "babble-shaped", "hum", "music")
LEAD_S = (0.6, 2.5)  # before the first word
TAIL_S = 2.6  # after the last word: more than the pause that ends an utterance
SPEECH_PEAK = 0.3
ACTIVE_DB = -35.0  # below the loudest 20 ms of clean speech it is silence: this is the truth


@dataclass(frozen=True)
class Case:
    """samples: (n,) float32 at 16 kHz; start_s, end_s: of the speech; pauses: how many were put into it.

    snr_db: None for hardly any noise.
    """

    samples: Samples
    start_s: float
    end_s: float
    n_pauses: int
    background: str
    snr_db: float | None


def build_cases(n: int, seed: int) -> list[Case]:
    """`n` cases over all backgrounds, 0 to 30 dB, and all synthesizers."""
    rng, numbers = random.Random(seed), np.random.default_rng(seed)
    voices = [*training_voices("espeak"), *training_voices("flite"), *training_voices("festival")]
    voices += [voice for group in held_out_voices().values() for voice in group]
    cases: list[Case] = []
    while len(cases) < n:
        speech, n_pauses = _speak_with_pauses(rng, rng.choice(voices))
        if speech is None:
            continue
        background = BACKGROUNDS[len(cases) % len(BACKGROUNDS)]
        snr_db = None if background == "quiet" else rng.uniform(0, 30)
        cases.append(_place(speech, n_pauses, background, snr_db, rng, numbers))
    return cases


def _speak_with_pauses(rng: random.Random, voice: Voice) -> tuple[Samples | None, int]:
    """A sentence, in half of the cases in two or three pieces with pauses of .3 to 1 s between them."""
    words = write_sentence(rng, held_out=True).split()
    n_pauses = rng.choice((0, 0, 1, 2)) if len(words) >= 6 else 0
    cuts = sorted(rng.sample(range(2, len(words) - 1), n_pauses)) if n_pauses else []
    pieces = [" ".join(words[a:b]) for a, b in zip([0, *cuts], [*cuts, len(words)], strict=True)]
    clips = [clip for clip in speak(pieces, voice, rng) if clip is not None]
    if len(clips) < len(pieces):
        return None, 0
    trimmed = [_trim(clip) for clip in clips]
    silence = [np.zeros(int(rng.uniform(0.3, 1.0) * SAMPLE_RATE_HZ), np.float32) for _ in cuts]
    parts = [trimmed[0]]
    for pause, clip in zip(silence, trimmed[1:], strict=True):
        parts += [pause, clip]
    speech = np.concatenate(parts)
    return speech / np.abs(speech).max() * np.float32(SPEECH_PEAK), n_pauses


def _trim(clip: Samples) -> Samples:
    """From the first to the last 20 ms that are not silence."""
    size = SAMPLE_RATE_HZ // 50
    frames = clip[: len(clip) // size * size].reshape(-1, size)
    level_db = 10 * np.log10(np.square(frames).mean(axis=1) + 1e-12)
    active = np.flatnonzero(level_db > level_db.max() + ACTIVE_DB)
    return clip[active[0] * size : (active[-1] + 1) * size]


def _place(
    speech: Samples,
    n_pauses: int,
    background: str,
    snr_db: float | None,
    rng: random.Random,
    numbers: np.random.Generator,
) -> Case:
    lead_s = rng.uniform(*LEAD_S)
    start = int(lead_s * SAMPLE_RATE_HZ)
    n = start + len(speech) + int(TAIL_S * SAMPLE_RATE_HZ)
    samples = _noise(background, n, speech, numbers)
    loud = speech[np.abs(speech) > 0.01 * SPEECH_PEAK]
    level = np.sqrt(np.square(loud).mean()) * 10 ** (-(60.0 if snr_db is None else snr_db) / 20)
    samples *= np.float32(level / np.sqrt(np.square(samples).mean()))
    samples[start : start + len(speech)] += speech
    end_s = (start + len(speech)) / SAMPLE_RATE_HZ
    return Case(samples, start / SAMPLE_RATE_HZ, end_s, n_pauses, background, snr_db)


def _noise(background: str, n: int, speech: Samples, rng: np.random.Generator) -> Samples:
    """(n,) float32 of that kind, of any level."""
    time_s = np.arange(n) / SAMPLE_RATE_HZ
    white = rng.standard_normal(n)
    if background == "hum":
        base = rng.choice((50.0, 60.0))
        tones = sum(np.sin(2 * np.pi * base * k * time_s + rng.uniform(0, 6)) / k for k in range(1, 9))
        return np.asarray(tones + 0.05 * white, dtype=np.float32)
    if background == "music":
        return _music(n, rng)
    if background in ("white", "quiet"):
        return white.astype(np.float32)
    spectrum = np.fft.rfft(white)
    hertz = np.fft.rfftfreq(n, 1 / SAMPLE_RATE_HZ)
    if background == "pink":
        shape = 1 / np.sqrt(np.maximum(hertz, 20.0))
    else:  # the long-term spectrum of the speaker, without its rhythm
        power = np.abs(np.fft.rfft(speech, 4096))
        shape = np.interp(hertz, np.fft.rfftfreq(4096, 1 / SAMPLE_RATE_HZ), power)
    return np.asarray(np.fft.irfft(spectrum * shape, n), dtype=np.float32)


def _music(n: int, rng: np.random.Generator) -> Samples:
    """Chords of plucked strings, two to four a second."""
    out = np.zeros(n, np.float32)
    position = 0
    while position < n:
        length = int(SAMPLE_RATE_HZ * rng.uniform(0.25, 0.5))
        ring = min(n - position, 3 * length)
        time_s = np.arange(ring) / SAMPLE_RATE_HZ
        root = 110 * 2 ** (rng.integers(0, 24) / 12)
        for ratio in (1.0, 1.26, 1.5):
            for k in range(1, 5):
                out[position : position + ring] += np.asarray(
                    np.sin(2 * np.pi * root * ratio * k * time_s) * np.exp(-time_s * 3 * k) / k, np.float32
                )
        position += length
    return out
