"""The sound that a recognizer is given, checked and measured as it passes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from audio2img.audio.level import Level, to_dbfs
from audio2img.errors import InputError
from audio2img.types import SAMPLE_RATE_HZ, AudioClip

Samples: TypeAlias = NDArray[np.float32]
Sound: TypeAlias = AudioClip | Iterable[Samples]


class CheckedBlocks:
    """Blocks of (n,) float32 at 16 kHz, once through; raises InputError for what is no sound.

    sound: a clip, or such blocks (see `audio.decode.stream_audio`). source: what messages call it,
    the clip's own name without one.
    """

    def __init__(self, sound: Sound, source: str = "") -> None:
        is_clip = isinstance(sound, AudioClip)
        self._blocks = sound.blocks() if isinstance(sound, AudioClip) else sound
        self.source = (
            source
            or (sound.source if isinstance(sound, AudioClip) else "")
            or ("the clip" if is_clip else "the recording")
        )
        self.n_samples = 0
        self._peak = 0.0
        self._energy = 0.0

    @classmethod
    def of(cls, sound: Sound, source: str = "") -> CheckedBlocks:
        """`sound` itself where it is checked already."""
        return sound if isinstance(sound, CheckedBlocks) else cls(sound, source)

    def __iter__(self) -> Iterator[Samples]:
        for block in self._blocks:
            if block.ndim != 1 or block.dtype != np.float32:
                raise InputError(
                    f"{self.source} is no sound of one channel in float32, but {block.shape} {block.dtype}",
                    "make it with decode_audio",
                )
            energy = float(np.dot(block, block))
            if not math.isfinite(energy):  # loud beyond float32, too, which no decoder gives
                raise InputError(
                    f"{self.source} holds samples that are not numbers", "export it again as 16-bit wav"
                )
            if block.size:
                self._peak = max(self._peak, float(block.max()), -float(block.min()))
            self._energy += energy
            self.n_samples += block.size
            yield block

    @property
    def duration_s(self) -> float:
        """Of what has passed so far."""
        return self.n_samples / SAMPLE_RATE_HZ

    @property
    def level(self) -> Level:
        """Of what has passed so far."""
        rms = math.sqrt(self._energy / self.n_samples) if self.n_samples else 0.0
        return Level(to_dbfs(self._peak), to_dbfs(rms))
