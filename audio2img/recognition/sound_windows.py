"""The windows in which a recording is judged: from blocks of any length, in constant memory.

A window is as long as YAMNet's input and begins half a window after the one before. Nothing is
filled up with zeros, which YAMNet would call silence: the last window ends with the recording,
and what is shorter than a window is played forth and back until it fills one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from audio2img.types import SAMPLE_RATE_HZ

WINDOW = 15_600  # samples: .975 s at 16 kHz, what YAMNet hears at once
HOP = WINDOW // 2
WINDOW_S = WINDOW / SAMPLE_RATE_HZ

Samples = NDArray[np.float32]


def iter_windows(blocks: Iterable[Samples]) -> Iterator[tuple[int, Samples]]:
    """(the first sample's number, samples of (WINDOW,) float32) for each window of the recording.

    blocks: (n,) float32 at 16 kHz, one after the other. The array of a window is valid until the
    next one is asked for.
    """
    buffer = np.empty(0, np.float32)
    start = 0  # of the next window, in the buffer
    offset = 0  # of the buffer, in the recording
    for block in blocks:
        buffer = np.concatenate((buffer, block))
        while start + WINDOW <= buffer.size:
            yield offset + start, buffer[start : start + WINDOW]
            start += HOP
        # What is before the last window's begin will not be heard again, however the recording ends.
        done = max(0, start - HOP)
        buffer = buffer[done:]
        offset += done
        start -= done
    length = offset + buffer.size
    if 0 < length < WINDOW:
        yield 0, mirror(buffer)
    elif offset + start - HOP + WINDOW < length:  # the last whole window ends before the recording does
        yield length - WINDOW, buffer[-WINDOW:]


def mirror(samples: Samples) -> Samples:
    """`samples` played forth and back until they fill a window: (WINDOW,) float32.

    Of the ways to fill one this keeps best what a short sound is: steady sounds stay what they are,
    which zeros make into thuds and plops, and there is no jump, which repeating would make.
    """
    there_and_back = np.concatenate((samples, samples[::-1]))
    return np.resize(there_and_back, WINDOW)
