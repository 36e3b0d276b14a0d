"""Sound from a browser's microphone: blocks as they come, chunks as listening takes them."""

from __future__ import annotations

import queue
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from audio2img.audio.resampling import check_rate, to_16_khz
from audio2img.errors import UsageError

AWAY_S = 10.0  # without any sound: the browser is asleep, or gone
MOST_WAITING_S = 20.0  # of sound; more is not read from the socket before some was heard


class IncomingSound:
    """One person's sound. `put` and `end` from one thread, `chunks` in another.

    rate_hz: of the blocks. Raises InputError for a rate that no microphone has.
    """

    def __init__(self, rate_hz: int) -> None:
        check_rate(rate_hz, "the microphone")
        self._rate_hz = rate_hz
        self._blocks: queue.SimpleQueue[NDArray[np.int16] | None] = queue.SimpleQueue()
        self._n_put = self._n_taken = 0  # samples, each counted by one thread
        self.is_over = False

    def put(self, block: bytes) -> None:
        """The next samples, little-endian int16, mono. Raises UsageError for half a sample."""
        if len(block) % 2:
            raise UsageError("the sound is no 16-bit samples", "load the page again")
        if block and not self.is_over:
            self._n_put += len(block) // 2
            self._blocks.put(np.frombuffer(block, "<i2"))

    @property
    def is_full(self) -> bool:
        """Whether so much waits that whoever brings more should wait, too."""
        return self._n_put - self._n_taken >= MOST_WAITING_S * self._rate_hz

    def end(self) -> None:
        """Nothing more comes: the person has pressed, or is gone."""
        self.is_over = True
        self._blocks.put(None)

    def chunks(self) -> Iterator[NDArray[np.float32]]:
        """(n,) float32 at 16 kHz, until the end."""
        yield from to_16_khz(self._received(), self._rate_hz, "the microphone")

    def _received(self) -> Iterator[NDArray[np.int16]]:
        try:
            while (block := self._blocks.get(timeout=AWAY_S)) is not None:
                self._n_taken += block.size
                yield block
        except queue.Empty:
            return
        finally:
            self.is_over = True
