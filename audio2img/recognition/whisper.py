"""From sound to the words in it, with whisper.cpp."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import numpy as np

from audio2img.errors import CancelledError, NothingToDrawError, UsageError
from audio2img.recognition.blocks import CheckedBlocks, Samples, Sound
from audio2img.recognition.ggml import GgmlInfo, check_vad_file, check_whisper_file
from audio2img.recognition.memory import check_memory
from audio2img.recognition.native import DecodeSettings, NativeModel, RawSegment
from audio2img.recognition.speech import Cancelled, OnSegment, SpeechAbilities, SpeechWishes
from audio2img.recognition.speech_windows import GAP_S, SILENCE_DBFS, Window, iter_windows
from audio2img.types import SAMPLE_RATE_HZ, Segment, Transcript

Result = TypeVar("Result")

SHORTEST_CLIP_S = 0.1  # whisper.cpp returns nothing for less
SHORTEST_INPUT = SAMPLE_RATE_HZ  # shorter windows are filled up with zeros to one second
LONGEST_WINDOW_S = 300.0  # bounds memory; a model of full context moves through this by itself
FULL_CONTEXT_S = 30.0
LONG_GAP_S = 10.0  # one window of 30 s costs as much as another, however little is said in it
DETECTION_S = 30.0  # how much of the first speech tells its language
MAX_THREADS = 4  # more hardly help whisper.cpp, and the image model is loading meanwhile
SMALL_MODEL_BYTES = 20_000_000
POLL_S = 0.05

AUTO = "auto"


class WhisperRecognizer:
    """A Whisper model in ggml form, a `SpeechRecognizer` that gives what whisper.cpp writes, uncleaned.

    model_path: a ggml file. name: what the transcript calls it; the file's name without one.
    threads: of the processor; None chooses. vad_model_path: a Silero ggml file, which then decides
    what is speech.

    May be shared between threads; windows of sound are understood one after the other.
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str],
        *,
        name: str | None = None,
        threads: int | None = None,
        vad_model_path: str | os.PathLike[str] | None = None,
        use_gpu: bool = True,
    ) -> None:
        if threads is not None and threads < 1:
            raise UsageError(f"{threads} threads cannot work", "choose one or more, or none for the default")
        self._path = Path(model_path)
        self.name = name or self._path.stem
        self._threads = threads
        self._vad_path = None if vad_model_path is None else Path(vad_model_path)
        self._use_gpu = use_gpu
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None

    def __enter__(self) -> WhisperRecognizer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def load(self) -> SpeechAbilities:
        """Check and load the model, if that has not happened yet, and say what it can.

        Raises ModelError for a file that is missing, damaged or of another kind, MachineError
        where whisper.cpp cannot run.
        """
        with self._lock:
            loaded = self._load()
            languages = tuple(loaded.model.languages(loaded.info.n_languages))
        return SpeechAbilities(languages, loaded.info.multilingual, takes_initial_prompt=True)

    def close(self) -> None:
        """Free the model; the next call loads it again. Waits for a window that is being understood."""
        with self._lock:
            if self._loaded is not None:
                self._loaded.model.close()
                self._loaded = None

    def _load(self) -> _Loaded:
        if self._loaded is None:
            info = check_whisper_file(self._path)
            check_memory(self._path)
            if self._vad_path is not None:
                check_vad_file(self._vad_path)
            model = NativeModel(os.fspath(self._path), use_gpu=self._use_gpu)
            self._loaded = _Loaded(info, model, self._threads or _good_threads(info))
        return self._loaded

    def _info(self) -> GgmlInfo:
        with self._lock:
            return self._load().info

    def transcribe(
        self,
        sound: Sound,
        wishes: SpeechWishes = SpeechWishes(),
        *,
        source: str = "",
        progress: OnSegment | None = None,
        cancelled: Cancelled | None = None,
    ) -> Transcript:
        """As `SpeechRecognizer.transcribe`; the transcript of sound without words has no segments.

        Of blocks no more is held than a window needs, of `LONGEST_WINDOW_S` at most.
        """
        blocks = CheckedBlocks.of(sound, source)
        is_cancelled = cancelled or (lambda: False)
        info = _in_worker(lambda put, stop: self._info(), lambda segment: None, is_cancelled)
        heard: list[Segment] = []
        language: _Language | None = None

        def take(segment: Segment) -> None:
            heard.append(segment)
            if progress is not None:
                progress(segment)

        for window, samples in _iter_windows(blocks, info):
            understand = partial(self._understand, _Part(window, samples, wishes, language))
            language = _in_worker(understand, take, is_cancelled)
        if language is None:
            raise _nothing_to_hear(blocks)
        return Transcript(tuple(heard), language.code, language.probability, wishes.task, self.name)

    def _understand(self, part: _Part, put: OnSegment, stop: threading.Event) -> _Language:
        """Everything native for one window, in the worker thread. Returns its language."""
        with self._lock:
            if stop.is_set():
                return part.language or _Language(AUTO)
            loaded = self._load()
            samples = _fill_up(part.samples)
            language = part.language or _choose_language(loaded, part.wishes, samples, stop.is_set)
            settings = DecodeSettings(
                language=language.code,
                translate=part.wishes.task == "translate",
                initial_prompt=part.wishes.initial_prompt,
                threads=loaded.threads,
                writes_timestamps=loaded.info.writes_timestamps,
                vad_model_path=None if self._vad_path is None else os.fspath(self._vad_path),
            )
            loaded.model.decode(
                samples, settings, lambda raw: put(_segment_in(part.window, raw)), stop.is_set
            )
        return language


@dataclass(frozen=True)
class _Loaded:
    info: GgmlInfo
    model: NativeModel
    threads: int


@dataclass(frozen=True)
class _Language:
    """A code, and its probability where it was detected."""

    code: str
    probability: float | None = None


@dataclass(frozen=True, eq=False)
class _Part:
    """One window's work. language: None where it is not known yet."""

    window: Window
    samples: Samples
    wishes: SpeechWishes
    language: _Language | None


def _segment_in(window: Window, raw: RawSegment) -> Segment:
    """The segment in the recording's own time."""
    # A model that writes no timestamps gives a start long before the window and an end after it.
    start_s = min(max(window.start_s + raw.start_s, window.start_s), window.stop_s)
    end_s = min(max(window.start_s + raw.end_s, start_s), window.stop_s)
    return Segment(start_s, end_s, raw.text, raw.probability)


def _iter_windows(blocks: CheckedBlocks, info: GgmlInfo) -> Iterator[tuple[Window, Samples]]:
    """whisper.cpp steps through long sound by 30 s, so a model that hears less gets less at once.

    Such a model is a small one that has learned single sentences: it gets them one by one.
    """
    hears_all = info.window_s >= FULL_CONTEXT_S
    windows = iter_windows(
        blocks,
        LONGEST_WINDOW_S if hears_all else info.window_s,
        gap_s=LONG_GAP_S if hears_all else GAP_S,
        split_at_pauses=not hears_all,
    )
    for window, samples in windows:
        # A whole recording that is shorter than a word is no window; whisper.cpp would skip it, too.
        if blocks.duration_s >= SHORTEST_CLIP_S:
            yield window, samples


def _fill_up(samples: Samples) -> Samples:
    """At least one second: whisper.cpp leaves out what is left in the last 100 ms."""
    if samples.size >= SHORTEST_INPUT:
        return samples
    return np.concatenate((samples, np.zeros(SHORTEST_INPUT - samples.size, np.float32)))


def _good_threads(info: GgmlInfo) -> int:
    """A small model is done before its threads have found one another."""
    return 1 if info.size_bytes < SMALL_MODEL_BYTES else min(MAX_THREADS, os.cpu_count() or 1)


def _choose_language(
    loaded: _Loaded, wishes: SpeechWishes, samples: Samples, should_stop: Callable[[], bool]
) -> _Language:
    """The language to listen for."""
    info, model = loaded.info, loaded.model
    wanted = (wishes.language or AUTO).strip().lower()
    if not info.multilingual:
        if wishes.task == "translate":
            raise UsageError("this speech model knows English only, so it cannot translate", _OTHER_MODEL)
        if wanted not in (AUTO, "en", "english"):
            raise UsageError(f"this speech model knows English only, not {wishes.language!r}", _OTHER_MODEL)
        return _Language("en")
    if wanted == AUTO:
        first = samples[: int(DETECTION_S * SAMPLE_RATE_HZ)]
        return _Language(*model.detect_language(first, loaded.threads, should_stop))
    known = model.languages(info.n_languages)
    code = model.language_code(wanted)
    if code not in known:
        raise UsageError(
            f"{wishes.language!r} is not a language this speech model knows",
            f"choose from: auto, {', '.join(sorted(known))}",
        )
    return _Language(code)


_OTHER_MODEL = "leave `language` and `task=translate` out, or choose a multilingual `speech_model`"


def _nothing_to_hear(blocks: CheckedBlocks) -> NothingToDrawError:
    """Why there is no window in what has passed."""
    name, level = blocks.source, blocks.level
    if blocks.duration_s < SHORTEST_CLIP_S:
        return NothingToDrawError(
            f"{name} lasts {blocks.duration_s * 1000:.0f} ms, which is too short for a word",
            "record it again",
        )
    if level.is_digital_silence:
        return NothingToDrawError(
            f"{name} is silent: every sample is zero",
            "check that the microphone is on, and that this program may use it (audio2img devices)",
        )
    return NothingToDrawError(
        f"{name} is too quiet to hold speech: its peak is {level.peak_dbfs:.0f} dBFS, "
        f"and nothing in it is louder than {SILENCE_DBFS:.0f} dBFS on average",
        "speak closer to the microphone, or raise its input level",
    )


def _in_worker(
    job: Callable[[OnSegment, threading.Event], Result], take: OnSegment, cancelled: Cancelled
) -> Result:
    """Run `job` in a thread of its own and hand what it puts out to `take` in this one.

    A Ctrl-C can then only strike here, in Python, and never inside a callback of native code,
    where an exception would end the process. Whatever is raised here stops the job and does not
    wait for it: a model that is being loaded cannot be stopped. The interpreter waits for it at
    exit, because native code must not outlive it.
    """
    news: queue.SimpleQueue[Segment | None] = queue.SimpleQueue()
    outcome: list[Result] = []
    fault: list[BaseException] = []
    stop = threading.Event()

    def run() -> None:
        try:
            outcome.append(job(news.put, stop))
        except BaseException as error:  # handed over to the caller's thread below
            fault.append(error)
        finally:
            news.put(None)

    threading.Thread(target=run, name="whisper", daemon=False).start()
    try:
        while True:
            if cancelled():
                raise CancelledError("stopped while listening to the recording")
            try:
                segment = news.get(timeout=POLL_S)
            except queue.Empty:
                continue
            if segment is None:
                break
            take(segment)
    except BaseException:
        stop.set()
        raise
    if fault:
        raise fault[0]
    return outcome[0]
