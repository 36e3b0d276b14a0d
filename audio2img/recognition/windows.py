"""Where in a recording there is something to hear, and where it may be cut.

Whisper invents words for silence, so silence never reaches it; and a model that hears only ten
seconds at once gets a long recording in pieces, cut where nobody is speaking.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from audio2img.types import SAMPLE_RATE_HZ

SILENCE_DBFS = -60.0  # quieter than this in every frame is no speech, but a room
FRAME_S = 0.1
FRAME = int(FRAME_S * SAMPLE_RATE_HZ)
GAP_S = 2.0  # silence longer than this is left out, shorter belongs to the speech around it
MARGIN_S = 0.3  # kept on either side: the first and last sounds of a word are soft
EARLIEST_CUT = 0.5  # a piece is cut somewhere in the last part of the longest allowed one
CUT_FRAMES = 3  # a cut is put into the quietest stretch this long, not into one quiet frame
PAUSE_S = 0.7  # between two sentences; within one, speakers rarely wait that long
PAUSE_DB = 30.0  # a pause is this much quieter than the loud tenth of its stretch


@dataclass(frozen=True)
class Window:
    """Samples [start, stop) of a recording."""

    start: int
    stop: int

    @property
    def start_s(self) -> float:
        return self.start / SAMPLE_RATE_HZ

    @property
    def stop_s(self) -> float:
        return self.stop / SAMPLE_RATE_HZ


def plan_windows(
    samples: NDArray[np.float32], longest_s: float, *, gap_s: float = GAP_S, split_at_pauses: bool = False
) -> list[Window]:
    """The stretches of samples: (n,) float32 at 16 kHz that are louder than silence, in order.

    None is longer than `longest_s` seconds, none overlaps another; no window means silence.
    gap_s: how long a silence inside a window may be.
    split_at_pauses: cut also in the middle of every pause, which loses nothing.
    """
    energy = _frame_energy(samples)
    longest = int(longest_s / FRAME_S)
    windows: list[Window] = []
    for start, stop in _loud_stretches(energy, gap_s):
        pauses = _pauses(energy[start:stop]) if split_at_pauses else []
        edges = [start, *(start + pause for pause in pauses), stop]
        for first, last in pairwise(edges):
            for cut_start, cut_stop in _cut(energy, first, last, longest):
                windows.append(Window(cut_start * FRAME, min(cut_stop * FRAME, samples.size)))
    return windows


def _frame_energy(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean square of each frame of 100 ms: (ceil(n / FRAME),); the last one may be shorter."""
    whole = samples.size // FRAME * FRAME
    frames = samples[:whole].reshape(-1, FRAME)
    energy: NDArray[np.float64] = np.einsum("ij,ij->i", frames, frames).astype(np.float64) / FRAME
    rest = samples[whole:]
    if rest.size:
        energy = np.append(energy, float(np.dot(rest, rest)) / FRAME)
    return energy


def _loud_stretches(energy: NDArray[np.float64], gap_s: float) -> list[tuple[int, int]]:
    """Frames [start, stop) of each stretch that holds sound, its margins included."""
    loud = np.flatnonzero(energy > 10.0 ** (SILENCE_DBFS / 10.0))
    if loud.size == 0:
        return []
    breaks = np.flatnonzero(np.diff(loud) > gap_s / FRAME_S)
    firsts = loud[np.concatenate(([0], breaks + 1))]
    lasts = loud[np.concatenate((breaks, [loud.size - 1]))]
    margin = math.ceil(MARGIN_S / FRAME_S)
    return [
        (max(0, int(first) - margin), min(energy.size, int(last) + 1 + margin))
        for first, last in zip(firsts, lasts, strict=True)
    ]


def _pauses(energy: NDArray[np.float64]) -> list[int]:
    """The middle frame of each pause inside a stretch, in order."""
    speech = float(np.quantile(energy, 0.9))
    loud = np.flatnonzero(energy > speech * 10.0 ** (-PAUSE_DB / 10.0))
    return [
        int(before + after + 1) // 2
        for before, after in pairwise(loud)
        if after - before - 1 >= PAUSE_S / FRAME_S
    ]


def _cut(energy: NDArray[np.float64], start: int, stop: int, longest: int) -> list[tuple[int, int]]:
    """Frames [start, stop) in pieces of at most `longest`, each cut in the quietest pause it has."""
    pieces: list[tuple[int, int]] = []
    while stop - start > longest:
        first = start + max(1, int(longest * EARLIEST_CUT))
        pause = np.convolve(energy[first : start + longest], np.ones(CUT_FRAMES), "same")
        # Of equally quiet places the last, so that there are few pieces.
        cut = first + pause.size - 1 - int(np.argmin(pause[::-1]))
        pieces.append((start, cut))
        start = cut
    pieces.append((start, stop))
    return pieces
