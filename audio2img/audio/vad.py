"""When does a person start and stop speaking: frame by frame, while the sound comes in.

A detector says of every 32 ms whether somebody speaks: Silero VAD where its file is installed, else
a gate that follows the noise and opens well above it. An Endpointer makes of these one utterance.
"""

from __future__ import annotations

import collections
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from audio2img.types import SAMPLE_RATE_HZ

Floats = NDArray[np.float32]

FRAME_SAMPLES = 512
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE_HZ

State = Literal["waiting", "hearing", "ended"]


class Detector(Protocol):
    """Says how likely it is that somebody speaks."""

    def hear(self, frame: Floats) -> float:
        """The probability, 0 to 1, for the next (512,) float32 samples at 16 kHz."""
        ...

    def reset(self) -> None:
        """Forget what was heard."""
        ...


def make_detector(model: Path | None) -> Detector:
    """Silero VAD from its ggml file, or the energy gate. Raises ModelError for a damaged file."""
    if model is None:
        return EnergyGate()
    from audio2img.audio.silero import SileroVad

    return SileroVad.load(model)


class EnergyGate:
    """Loudness in the band of speech against what the background is like: its mean and how much it varies.

    The gate opens well above the mean, by more in a restless background such as music. While it
    is open the mean rises slowly, and at once where a second was perfectly steady: a hum that was
    switched on closes the gate again. And it never stays above the loudest of the last second:
    somebody who spoke from the first moment on is found after the first pause. The numbers were
    chosen on the cases of scripts/evaluate_listening.py.
    """

    BAND_HZ = (200.0, 4000.0)
    MEMORY_S = 1.0
    SMOOTHING = 0.5  # of the level from frame to frame, against the gaps between syllables
    DEVIATIONS = 1.8  # above the mean it opens
    LEAST_DB = 3.5  # above the mean, however steady the background
    WIDTH_DB = 2.0  # from half sure to quite sure
    SILENCE_DBFS = -60.0  # below this nobody speaks into a microphone
    STEADY_DB = 3.0
    RISE_DB = 0.03  # of the mean, each frame that the gate is open
    FIRST_FRAMES, FIRST_RATE, RATE = 20, 0.1, 0.05  # how fast the background is learned
    VARIANCE_RANGE = (1.0, 100.0)

    def __init__(self) -> None:
        hertz = np.fft.rfftfreq(FRAME_SAMPLES, 1 / SAMPLE_RATE_HZ)
        self._band = (hertz >= self.BAND_HZ[0]) & (hertz <= self.BAND_HZ[1])
        self._window = np.hanning(FRAME_SAMPLES)
        self._gain = 2 / (FRAME_SAMPLES * float(np.square(self._window).sum()))
        self.reset()

    def reset(self) -> None:
        """See Detector."""
        self._recent: collections.deque[float] = collections.deque(maxlen=int(self.MEMORY_S / FRAME_S))
        self._smooth_db = self._mean_db = math.nan
        self._variance = 4.0
        self._n_frames = 0

    def hear(self, frame: Floats) -> float:
        """See Detector."""
        spectrum = np.abs(np.fft.rfft(frame * self._window))[self._band]
        level_db = 10 * math.log10(float(np.square(spectrum).sum()) * self._gain + 1e-12)
        if self._n_frames == 0:
            self._smooth_db = self._mean_db = level_db
        self._n_frames += 1
        self._smooth_db += (1 - self.SMOOTHING) * (level_db - self._smooth_db)
        self._recent.append(self._smooth_db)
        above_db = max(self.LEAST_DB, self.DEVIATIONS * math.sqrt(self._variance))
        opens_db = max(self._mean_db + above_db, self.SILENCE_DBFS)
        loud_db = max(level_db, self._smooth_db)
        self._learn(level_db, is_open=loud_db >= opens_db)
        score = 2 * (loud_db - opens_db) / self.WIDTH_DB
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, score))))

    def _learn(self, level_db: float, is_open: bool) -> None:
        if is_open:
            self._mean_db += self.RISE_DB
        else:
            rate = self.FIRST_RATE if self._n_frames <= self.FIRST_FRAMES else self.RATE
            difference = level_db - self._mean_db
            self._mean_db += rate * difference
            self._variance += rate * (difference**2 - self._variance)
            self._variance = min(max(self._variance, self.VARIANCE_RANGE[0]), self.VARIANCE_RANGE[1])
        if len(self._recent) < (self._recent.maxlen or 0):
            return
        quietest, loudest = min(self._recent), max(self._recent)
        self._mean_db = min(self._mean_db, loudest)
        if loudest - quietest < self.STEADY_DB:  # nobody speaks so evenly for so long
            self._mean_db = max(self._mean_db, quietest)


@dataclass(frozen=True)
class EndpointSettings:
    """When an utterance begins and ends; probabilities, and seconds.

    open_at, close_at: the detector must reach the one to begin, and fall below the other to pause.
    least_speech_s: of frames above `open_at` within `search_s` before it counts as a beginning.
    silence_s: of no speech after which it has ended. limit_s: the longest utterance.
    """

    open_at: float = 0.5
    close_at: float = 0.35
    least_speech_s: float = 0.13
    search_s: float = 0.4
    silence_s: float = 1.2
    limit_s: float = 30.0


class Endpointer:
    """Turns probabilities into one utterance. Times count from the first frame, in seconds."""

    def __init__(self, settings: EndpointSettings = EndpointSettings()) -> None:
        self.settings = settings
        self.state: State = "waiting"
        self.start_s: float | None = None
        self.end_s: float | None = None
        self.timed_out = False
        self._n_frames = 0
        self._recent: collections.deque[bool] = collections.deque(maxlen=round(settings.search_s / FRAME_S))

    def feed(self, probability: float) -> State:
        """Take in the next frame; the state after it."""
        if self.state == "ended":
            return self.state
        now_s = self._n_frames * FRAME_S
        self._n_frames += 1
        if self.state == "waiting":
            self._recent.append(probability >= self.settings.open_at)
            if self._recent[-1] and sum(self._recent) * FRAME_S >= self.settings.least_speech_s:
                first = list(self._recent).index(True)
                self.start_s = now_s - (len(self._recent) - 1 - first) * FRAME_S
                self.end_s = now_s + FRAME_S
                self.state = "hearing"
            return self.state
        if probability >= self.settings.close_at:
            self.end_s = now_s + FRAME_S
        assert self.start_s is not None
        assert self.end_s is not None
        is_over = now_s + FRAME_S - self.end_s >= self.settings.silence_s
        self.timed_out = now_s + FRAME_S - self.start_s >= self.settings.limit_s
        if is_over or self.timed_out:
            self.state = "ended"
        return self.state
