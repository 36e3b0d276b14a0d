"""What a speech recognizer is, and which one reads which model: a table of one row for each format.

Another recognizer is one module with a class of this shape, and one row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from audio2img.recognition.blocks import Sound
from audio2img.types import Segment, Task, Transcript

OnSegment = Callable[[Segment], None]
Cancelled = Callable[[], bool]


@dataclass(frozen=True)
class SpeechWishes:
    """What one transcription is asked for.

    language: a code or English name; None or "auto" detects it. task: "translate" gives English.
    initial_prompt: names and words to expect.
    """

    language: str | None = None
    task: Task = "transcribe"
    initial_prompt: str = ""


@dataclass(frozen=True)
class SpeechAbilities:
    """What a loaded recognizer can be asked for. languages: codes, as ISO 639-1 has them where it can."""

    languages: tuple[str, ...]
    translates: bool
    takes_initial_prompt: bool


class SpeechRecognizer(Protocol):
    """A model that hears words, loaded at its first use and kept until `close`.

    May be shared between threads; what must not run at once takes turns.
    """

    name: str

    def load(self) -> SpeechAbilities:
        """Load the model, if that has not happened yet. Raises ModelError, MachineError."""
        ...

    def transcribe(
        self,
        sound: Sound,
        wishes: SpeechWishes = SpeechWishes(),
        *,
        source: str = "",
        progress: OnSegment | None = None,
        cancelled: Cancelled | None = None,
    ) -> Transcript:
        """What is said in a clip, or in blocks of (n,) float32 at 16 kHz, however long it is.

        source: what messages call it. progress: called in this thread with each segment as it is
        understood. cancelled: asked in this thread, several times a second, also while the model is
        being loaded; True ends it with CancelledError.

        Raises NothingToDrawError for silence, UsageError for wishes that the model does not know,
        InputError for samples that are none, ModelError, MachineError, and what the blocks raise.
        """
        ...

    def close(self) -> None:
        """Free the model; the next call loads it again. Waits for what is running."""
        ...


class SpeechModelFile(Protocol):
    """A model file, as far as a recognizer needs to know it; the catalogue's `ResolvedModel` is one.

    format: "" where only a path is known. vocabulary: not empty where it knows one small world only.
    min_probability: segments that the model believes less than this, in [0, 1], are dropped; None
    takes the usual.
    """

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> Path: ...
    @property
    def format(self) -> str: ...
    @property
    def vocabulary(self) -> str: ...
    @property
    def min_probability(self) -> float | None: ...


@dataclass(frozen=True)
class SpeechSetup:
    """How to run any recognizer. threads: of the processor, None chooses. vad: a Silero ggml file."""

    threads: int | None = None
    vad: Path | None = None
    use_gpu: bool = True


@dataclass(frozen=True)
class RecognizerRow:
    """format: of the catalogue; make: a recognizer that is not loaded yet."""

    format: str
    make: Callable[[SpeechModelFile, SpeechSetup], SpeechRecognizer]


def _make_whisper(model: SpeechModelFile, setup: SpeechSetup) -> SpeechRecognizer:
    from audio2img.recognition.whisper import WhisperRecognizer

    return WhisperRecognizer(
        model.path, name=model.name, threads=setup.threads, vad_model_path=setup.vad, use_gpu=setup.use_gpu
    )


RECOGNIZERS: tuple[RecognizerRow, ...] = (RecognizerRow("ggml", _make_whisper),)


def load_recognizer(model: SpeechModelFile, setup: SpeechSetup = SpeechSetup()) -> SpeechRecognizer:
    """The recognizer for this model, whose words are cleaned. It costs nothing until its first `load`.

    A file of unknown format goes to the first row, which says what is wrong with it. Raises UsageError.
    """
    from audio2img.recognition.cleaning import CleaningRecognizer

    row = next((row for row in RECOGNIZERS if row.format == model.format), RECOGNIZERS[0])
    return CleaningRecognizer(
        row.make(model, setup), min_probability=model.min_probability, knows_one_world=bool(model.vocabulary)
    )
