"""One utterance out of a stream of sound: from a little before its first word to a little after its last."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audio2img.audio.level import measure_level
from audio2img.audio.vad import FRAME_SAMPLES, Detector, Endpointer, EndpointSettings, State
from audio2img.types import SAMPLE_RATE_HZ, AudioClip

Floats = NDArray[np.float32]

LEAD_S = 0.3  # kept before the first word: a soft beginning is noticed late
TAIL_S = 0.2  # kept after the last one


@dataclass(frozen=True)
class Moment:
    """Where listening stands.

    level_dbfs: RMS of the newest sound. speech_s: how long the speech is so far, 0 before it begins.
    pause_s: how long it has been quiet since. given_up: nobody has begun to speak for too long.
    """

    state: State
    level_dbfs: float
    speech_s: float = 0.0
    pause_s: float = 0.0
    given_up: bool = False

    @property
    def is_pause(self) -> bool:
        """True once all that `Listener.clip` takes of this speech is there, unless it goes on."""
        return self.pause_s >= TAIL_S


class Listener:
    """Hears chunks of any length and says when the person has stopped.

    settings: when speech begins and ends; their limit also bounds the wait for the first word.
    """

    def __init__(self, detector: Detector, settings: EndpointSettings) -> None:
        self._detector = detector
        self._endpointer = Endpointer(settings)
        self._chunks: list[Floats] = []
        self._pending = np.zeros(0, np.float32)  # what does not fill a frame yet
        self._n_heard = 0

    def hear(self, chunk: Floats) -> Moment:
        """Take in the next samples: (n,) float32 at 16 kHz."""
        self._chunks.append(chunk)
        self._n_heard += chunk.size
        self._pending = np.concatenate((self._pending, chunk))
        n_whole = self._pending.size // FRAME_SAMPLES * FRAME_SAMPLES
        for frame in self._pending[:n_whole].reshape(-1, FRAME_SAMPLES):
            self._endpointer.feed(self._detector.hear(frame))
        self._pending = self._pending[n_whole:]
        return self._moment(measure_level(chunk).rms_dbfs)

    def _moment(self, level_dbfs: float) -> Moment:
        found = self._endpointer
        if found.start_s is None or found.end_s is None:
            given_up = self._n_heard >= found.settings.limit_s * SAMPLE_RATE_HZ
            return Moment(found.state, level_dbfs, given_up=given_up)
        pause_s = max(0.0, self._n_heard / SAMPLE_RATE_HZ - found.end_s)
        return Moment(found.state, level_dbfs, found.end_s - found.start_s, pause_s)

    @property
    def bounds(self) -> tuple[int, int]:
        """Of the utterance so far: its first sample and the one after its last.

        All that was heard where no speech was noticed: a person who ends it by hand knows better.
        """
        found = self._endpointer
        if found.start_s is None or found.end_s is None:
            return 0, self._n_heard
        start = round((found.start_s - LEAD_S) * SAMPLE_RATE_HZ)
        stop = round((found.end_s + TAIL_S) * SAMPLE_RATE_HZ)
        return max(0, start), min(stop, self._n_heard)

    def clip(self) -> AudioClip:
        """The utterance so far, as `bounds` tells."""
        self._chunks = [np.concatenate(self._chunks)] if self._chunks else [np.zeros(0, np.float32)]
        start, stop = self.bounds
        return AudioClip(self._chunks[0][start:stop].copy(), "microphone")
