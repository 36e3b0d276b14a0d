"""Where in a recording there is something to hear, and where it may be cut.

Whisper invents words for silence, so silence never reaches it; and a model that hears only ten
seconds at once gets a long recording in pieces, cut where nobody is speaking.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from audio2img.recognition.blocks import Samples
from audio2img.types import SAMPLE_RATE_HZ

SILENCE_DBFS = -60.0  # quieter than this in every frame is no speech, but a room
FRAME_S = 0.1
FRAME = int(FRAME_S * SAMPLE_RATE_HZ)
LONGEST_STRETCH_S = 300.0  # bounds what is held where pauses are looked for in a stretch as a whole
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


def iter_windows(
    blocks: Iterable[Samples], longest_s: float, *, gap_s: float = GAP_S, split_at_pauses: bool = False
) -> Iterator[tuple[Window, Samples]]:
    """The stretches of a recording that are louder than silence, in order, each with its samples.

    blocks: (n,) float32 at 16 kHz of any length. Of them no more is held than one stretch needs, of
    `LONGEST_STRETCH_S` at most, and eight bytes for each frame.

    None is longer than `longest_s` seconds, none overlaps another; no window means silence.
    gap_s: how long a silence inside a window may be.
    split_at_pauses: cut also in the middle of every pause, which loses nothing.
    """
    recording = _Recording()
    longest = int(longest_s / FRAME_S)
    longest_stretch = int(LONGEST_STRETCH_S / FRAME_S) if split_at_pauses else longest
    for start, stop in _iter_stretches(recording, blocks, longest_stretch, gap_s):
        energy = recording.energy(start, stop)
        edges = [0, *(_pauses(energy) if split_at_pauses else []), stop - start]
        for first, last in pairwise(edges):
            for cut_start, cut_stop in _cut(energy, first, last, longest):
                yield recording.window(start + cut_start, start + cut_stop)


class _Recording:
    """The energy of every frame that has passed, and the samples that may still belong to a window."""

    def __init__(self) -> None:
        self._energy = array("d")
        self._blocks: deque[Samples] = deque()
        self._kept_from = 0  # the first sample in the blocks
        self._n_samples = 0
        self._rest = np.zeros(0, np.float32)  # what does not fill a frame yet

    @property
    def n_frames(self) -> int:
        return len(self._energy)

    def energy(self, start: int, stop: int) -> NDArray[np.float64]:
        """Mean square of the frames [start, stop)."""
        return np.array(self._energy[start:stop])

    def add(self, block: Samples) -> NDArray[np.float64]:
        """The energies of the frames that this block fills."""
        self._blocks.append(block)
        self._n_samples += block.size
        samples = np.concatenate((self._rest, block)) if self._rest.size else block
        whole = samples.size // FRAME * FRAME
        frames = samples[:whole].reshape(-1, FRAME)
        self._rest = samples[whole:].copy()
        return self._note(np.einsum("ij,ij->i", frames, frames).astype(np.float64) / FRAME)

    def finish(self) -> NDArray[np.float64]:
        """The last frame, which may be shorter, and counts by its energy over a whole one."""
        rest, self._rest = self._rest, np.zeros(0, np.float32)
        return self._note(np.array([float(np.dot(rest, rest)) / FRAME] if rest.size else []))

    def _note(self, energies: NDArray[np.float64]) -> NDArray[np.float64]:
        self._energy.extend(energies.tolist())
        return energies

    def forget(self, frame: int) -> None:
        """Let go of the blocks before this frame."""
        while self._blocks and self._kept_from + self._blocks[0].size <= frame * FRAME:
            self._kept_from += self._blocks.popleft().size

    def window(self, start: int, stop: int) -> tuple[Window, Samples]:
        """The window of frames [start, stop), with its samples."""
        window = Window(start * FRAME, min(stop * FRAME, self._n_samples))
        parts, first = [], self._kept_from
        for block in self._blocks:
            parts.append(block[max(0, window.start - first) : max(0, window.stop - first)])
            first += block.size
        return window, np.concatenate(parts)


def _iter_stretches(
    recording: _Recording, blocks: Iterable[Samples], longest: int, gap_s: float
) -> Iterator[tuple[int, int]]:
    """Frames [start, stop) of each stretch that holds sound, its margins included, as soon as it is known.

    One that would be longer than `longest` frames is cut where it is quietest.
    """
    loud_energy = 10.0 ** (SILENCE_DBFS / 10.0)
    margin = math.ceil(MARGIN_S / FRAME_S)
    start: int | None = None
    last_loud = 0
    for energies in _energies(recording, blocks):
        frame = recording.n_frames - energies.size
        for is_loud in (energies > loud_energy).tolist():
            if start is not None and frame - last_loud > gap_s / FRAME_S:
                yield start, last_loud + 1 + margin
                start = None
            if is_loud:
                start = max(0, frame - margin) if start is None else start
                last_loud = frame
            frame += 1
            while start is not None and min(frame, last_loud + 1 + margin) - start > longest:
                cut = _find_cut(recording.energy(start, start + longest))
                yield start, start + cut
                start += cut
        recording.forget(max(0, frame - margin) if start is None else start)
    if start is not None:
        yield start, min(recording.n_frames, last_loud + 1 + margin)


def _energies(recording: _Recording, blocks: Iterable[Samples]) -> Iterator[NDArray[np.float64]]:
    for block in blocks:
        yield recording.add(block)
    yield recording.finish()


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
        cut = start + _find_cut(energy[start : start + longest])
        pieces.append((start, cut))
        start = cut
    pieces.append((start, stop))
    return pieces


def _find_cut(energy: NDArray[np.float64]) -> int:
    """The frame at which the longest allowed piece is cut: the quietest in its last part."""
    first = max(1, int(energy.size * EARLIEST_CUT))
    pause = np.convolve(energy[first:], np.ones(CUT_FRAMES), "same")
    # Of equally quiet places the last, so that there are few pieces.
    return first + pause.size - 1 - int(np.argmin(pause[::-1]))
