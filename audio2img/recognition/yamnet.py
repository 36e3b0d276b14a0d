"""From a recording to the sounds in it, with YAMNet or another model of its shape.

YAMNet (TensorFlow Model Garden, research/audioset/yamnet) gives each stretch of .975 s a score for
each of the 521 classes of its AudioSet. However long a recording is, memory holds a few numbers for
each window and nothing of the sound.
"""

from __future__ import annotations

import os
import threading
from array import array
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from audio2img.errors import CancelledError, NothingToDrawError, UsageError
from audio2img.recognition.blocks import CheckedBlocks, Sound
from audio2img.recognition.sound_table import FamilyTally, describe_sounds, load_sound_classes
from audio2img.recognition.sound_windows import WINDOW_S, iter_windows
from audio2img.recognition.tflite import SoundModel
from audio2img.types import SAMPLE_RATE_HZ, SoundCategory, SoundEvents, SoundSummary

SHORTEST_S = 0.2  # what is shorter is a click to YAMNet, whatever it was
MAX_RESULTS = 5


class YamnetClassifier:
    """A `SoundClassifier`, loaded at its first use and kept until `close`.

    model_path: a TFLite file of YAMNet's shape, see `tflite.SoundModel`. name: what the results call it;
    the file's name without one.

    May be shared between threads; recordings are judged one after the other.
    """

    def __init__(self, model_path: str | os.PathLike[str], *, name: str | None = None) -> None:
        self._path = Path(model_path)
        self.name = name or self._path.stem
        self._lock = threading.Lock()
        self._model: SoundModel | None = None

    def __enter__(self) -> YamnetClassifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def load(self) -> tuple[str, ...]:
        """Load the model, if that has not happened yet; the names it knows.

        Raises ModelError, MachineError.
        """
        with self._lock:
            return self._load().names

    def close(self) -> None:
        """Free the model; the next call loads it again."""
        with self._lock:
            self._model = None

    def _load(self) -> SoundModel:
        if self._model is None:
            self._model = SoundModel(self._path, [one.name for one in load_sound_classes()])
        return self._model

    def classify(
        self,
        sound: Sound,
        *,
        source: str = "",
        max_results: int | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> SoundEvents:
        """See `SoundClassifier.classify`; of each window MAX_RESULTS are kept unless told otherwise.

        Too short is less than SHORTEST_S.
        """
        kept = MAX_RESULTS if max_results is None else max_results
        if kept < 1 and kept != -1:
            raise UsageError(f"{kept} results cannot be kept", "ask for one or more, or -1 for all")
        with self._lock:
            model = self._load()
            tally = _Tally(model.names, kept)
            blocks = CheckedBlocks.of(sound, source)
            for start, window in iter_windows(blocks):
                if cancelled is not None and cancelled():
                    raise CancelledError("stopped while listening for sounds")
                tally.add(start, model.score(window))
        if blocks.duration_s < SHORTEST_S:
            raise NothingToDrawError(
                f"{blocks.source} is too short to name what is in it: {blocks.duration_s:.2f} s",
                f"give {SHORTEST_S:g} s or more",
            )
        return tally.finish(self.name, blocks.duration_s)


class _Tally:
    """Adds up the scores of all windows, and keeps the best few of each in six bytes a class."""

    def __init__(self, names: tuple[str, ...], max_results: int) -> None:
        self.names = names
        self.n_windows = 0
        self._n_kept = len(names) if max_results == -1 else min(max_results, len(names))
        self._starts = array("q")
        self._classes = array("H")
        self._scores = array("f")
        self._sums = np.zeros(len(names))
        self._peaks = np.zeros(len(names))
        self._leads = np.zeros(len(names), np.int64)
        self._families = FamilyTally()

    def add(self, start: int, scores: NDArray[np.float32]) -> None:
        best = np.argsort(-scores, kind="stable")[: self._n_kept]
        self._starts.append(start)
        self._classes.extend(best.tolist())
        self._scores.extend(scores[best].tolist())
        self._sums += scores
        np.maximum(self._peaks, scores, out=self._peaks)
        self._leads[best[0]] += 1
        self._families.add(scores)
        self.n_windows += 1

    def finish(self, model: str, duration_s: float) -> SoundEvents:
        n_windows, shape = self.n_windows, (self.n_windows, self._n_kept)
        categories = sorted(
            (
                SoundCategory(name, round(leads / n_windows, 4), round(total / n_windows, 4), round(peak, 4))
                for name, leads, total, peak in zip(
                    self.names, self._leads.tolist(), self._sums.tolist(), self._peaks.tolist(), strict=True
                )
            ),
            key=lambda category: (-category.weight, -category.peak_score),
        )
        heard = tuple(category for category in categories if category.peak_score > 0)
        return SoundEvents(
            names=self.names,
            starts_s=np.array(self._starts, np.float64) / SAMPLE_RATE_HZ,
            window_s=WINDOW_S,
            classes=np.array(self._classes, np.uint16).reshape(shape),
            scores=np.array(self._scores, np.float32).reshape(shape),
            summary=SoundSummary(
                model,
                round(duration_s, 3),
                n_windows,
                heard,
                describe_sounds(heard, self._families.finish()),
            ),
        )
