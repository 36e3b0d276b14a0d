"""What a classifier of sounds is, and which one reads which model: a table of one row for each format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from audio2img.recognition.blocks import Sound
from audio2img.types import SoundEvents


class SoundClassifier(Protocol):
    """A model that names sounds, loaded at its first use and kept until `close`.

    May be shared between threads; what must not run at once takes turns.
    """

    name: str

    def load(self) -> tuple[str, ...]:
        """Load the model, if that has not happened yet; the names it knows.

        Raises ModelError, MachineError.
        """
        ...

    def classify(
        self,
        sound: Sound,
        *,
        source: str = "",
        max_results: int | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> SoundEvents:
        """The sounds in a clip, or in blocks of (n,) float32 at 16 kHz, however long it is.

        source: what messages call it. max_results: how many classes of each window are kept; -1 keeps
        all. cancelled: asked for each window; True ends it with CancelledError.

        Raises NothingToDrawError for what is too short, InputError for samples that are none,
        UsageError, ModelError, MachineError, and what the blocks raise.
        """
        ...

    def close(self) -> None:
        """Free the model; the next call loads it again."""
        ...


class SoundModelFile(Protocol):
    """A model file, as far as a classifier needs to know it; the catalogue's `ResolvedModel` is one."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> Path: ...
    @property
    def format(self) -> str: ...


@dataclass(frozen=True)
class ClassifierRow:
    """format: of the catalogue; make: a classifier that is not loaded yet."""

    format: str
    make: Callable[[SoundModelFile], SoundClassifier]


def _make_yamnet(model: SoundModelFile) -> SoundClassifier:
    from audio2img.recognition.yamnet import YamnetClassifier

    return YamnetClassifier(model.path, name=model.name)


CLASSIFIERS: tuple[ClassifierRow, ...] = (ClassifierRow("tflite", _make_yamnet),)


def load_classifier(model: SoundModelFile) -> SoundClassifier:
    """The classifier for this model. It costs nothing until its first `load`.

    A file of unknown format goes to the first row, which says what is wrong with it.
    """
    row = next((row for row in CLASSIFIERS if row.format == model.format), CLASSIFIERS[0])
    return row.make(model)
