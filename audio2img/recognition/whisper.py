"""From a clip to the words in it, with whisper.cpp."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from audio2img.audio.level import measure_level
from audio2img.errors import CancelledError, InputError, NothingToDrawError, UsageError
from audio2img.recognition.annotations import is_known_hallucination, strip_annotations
from audio2img.recognition.ggml import GgmlInfo, check_vad_file, check_whisper_file
from audio2img.recognition.native import DecodeSettings, NativeModel, RawSegment
from audio2img.recognition.windows import SILENCE_DBFS, Window, plan_windows
from audio2img.types import SAMPLE_RATE_HZ, AudioClip, Segment, Task, Transcript

SHORTEST_CLIP_S = 0.1  # whisper.cpp returns nothing for less
SHORTEST_INPUT = SAMPLE_RATE_HZ  # shorter windows are filled up with zeros to one second
LONGEST_WINDOW_S = 300.0  # bounds memory; a model of full context moves through this by itself
FULL_CONTEXT_S = 30.0
LONG_GAP_S = 10.0  # one window of 30 s costs as much as another, however little is said in it
DETECTION_S = 30.0  # how much of the first speech tells its language
MIN_PROBABILITY = 0.3  # Whisper is surer than this of words that were said
SURE_PROBABILITY = 0.8  # from here on even "thank you" was said, and not invented
MAX_THREADS = 4  # more hardly help whisper.cpp, and the image model is loading meanwhile
SMALL_MODEL_BYTES = 20_000_000
POLL_S = 0.05

AUTO = "auto"


class WhisperRecognizer:
    """A Whisper model in ggml form, loaded at its first use and kept until `close`.

    model_path: a ggml file. name: what the transcript calls it; the file's name without one.
    threads: of the processor; None chooses. language: what to listen for when a call does not say,
    a code or English name; None or "auto" detects it. vad_model_path: a Silero ggml file, which
    then decides what is speech. min_probability: segments in whose words the model believes less
    than this, in [0, 1], are dropped.

    May be shared between threads; transcriptions of one model run one after the other.
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str],
        *,
        name: str | None = None,
        threads: int | None = None,
        language: str | None = None,
        vad_model_path: str | os.PathLike[str] | None = None,
        min_probability: float | None = None,
        use_gpu: bool = True,
    ) -> None:
        if threads is not None and threads < 1:
            raise UsageError(f"{threads} threads cannot work", "choose one or more, or none for the default")
        self._path = Path(model_path)
        self.name = name or self._path.stem
        self._threads = threads
        self._language = language
        self._vad_path = None if vad_model_path is None else Path(vad_model_path)
        self._min_probability = MIN_PROBABILITY if min_probability is None else min_probability
        self._use_gpu = use_gpu
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None

    def __enter__(self) -> WhisperRecognizer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def load(self) -> GgmlInfo:
        """Check and load the model, if that has not happened yet, and say what it is.

        Raises ModelError for a file that is missing, damaged or of another kind, MachineError
        where whisper.cpp cannot run.
        """
        with self._lock:
            return self._load().info

    def close(self) -> None:
        """Free the model; the next call loads it again. Waits for a transcription that is running."""
        with self._lock:
            if self._loaded is not None:
                self._loaded.model.close()
                self._loaded = None

    def _load(self) -> _Loaded:
        if self._loaded is None:
            info = check_whisper_file(self._path)
            if self._vad_path is not None:
                check_vad_file(self._vad_path)
            model = NativeModel(os.fspath(self._path), use_gpu=self._use_gpu)
            self._loaded = _Loaded(info, model, self._threads or _good_threads(info))
        return self._loaded

    def transcribe(
        self,
        clip: AudioClip,
        *,
        language: str | None = None,
        task: Task = "transcribe",
        initial_prompt: str = "",
        progress: Callable[[Segment], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Transcript:
        """What is said in `clip`, however long it is.

        language: a code or English name; None means the recognizer's own, "auto" detects it.
        task: "translate" gives English. initial_prompt: names and words to expect.
        progress: called in this thread with each segment as it is understood.
        cancelled: asked in this thread, several times a second; True ends it with CancelledError.

        Raises NothingToDrawError for a clip without words, UsageError for a language or task that
        the model does not know, ModelError, InputError for samples that are none.
        """
        samples = _checked_samples(clip)
        info = self.load()
        windows = _plan(samples, info)
        if not windows:
            raise _silence(clip)
        request = _Request(language or self._language or AUTO, task, initial_prompt)
        heard: list[Segment] = []

        def take(segment: Segment) -> None:
            heard.append(segment)
            if progress is not None:
                progress(segment)

        stop = threading.Event()
        spoken, probability = _run_in_worker(
            lambda put: self._work(samples, windows, request, put, stop), take, cancelled, stop
        )
        if not heard or self._is_hallucinated(heard):
            raise _nothing_said(clip)
        return Transcript(tuple(heard), spoken, probability, task, self.name)

    def _work(
        self,
        samples: NDArray[np.float32],
        windows: list[Window],
        request: _Request,
        put: Callable[[Segment], None],
        stop: threading.Event,
    ) -> tuple[str, float | None]:
        """Everything native, in the worker thread. Returns the language and its probability."""
        with self._lock:
            loaded = self._load()
            first = samples[windows[0].start : windows[0].stop][: int(DETECTION_S * SAMPLE_RATE_HZ)]
            language, probability = _choose_language(loaded, request, _fill_up(first))
            settings = DecodeSettings(
                language=language,
                translate=request.task == "translate",
                initial_prompt=request.initial_prompt,
                threads=loaded.threads,
                writes_timestamps=loaded.info.writes_timestamps,
                vad_model_path=None if self._vad_path is None else os.fspath(self._vad_path),
            )
            for window in windows:
                if stop.is_set():
                    break

                def pass_on(raw: RawSegment, window: Window = window) -> None:
                    if segment := self._accept(raw, window):
                        put(segment)

                part = _fill_up(samples[window.start : window.stop])
                loaded.model.decode(part, settings, pass_on, stop.is_set)
        return language, probability

    def _accept(self, raw: RawSegment, window: Window) -> Segment | None:
        """The segment in the clip's own time and without annotations; None where nothing is left."""
        text = strip_annotations(raw.text)
        if not any(letter.isalnum() for letter in text) or raw.probability < self._min_probability:
            return None
        # A model that writes no timestamps gives a start long before the window and an end after it.
        start_s = min(max(window.start_s + raw.start_s, window.start_s), window.stop_s)
        end_s = min(max(window.start_s + raw.end_s, start_s), window.stop_s)
        return Segment(start_s, end_s, text, raw.probability)

    def _is_hallucinated(self, heard: list[Segment]) -> bool:
        """Whether all of it is one of Whisper's phrases for silence, and not surely said."""
        sure = max(segment.probability or 0.0 for segment in heard) >= SURE_PROBABILITY
        return not sure and is_known_hallucination(" ".join(segment.text for segment in heard))


@dataclass(frozen=True)
class _Loaded:
    info: GgmlInfo
    model: NativeModel
    threads: int


@dataclass(frozen=True)
class _Request:
    language: str
    task: Task
    initial_prompt: str


def _checked_samples(clip: AudioClip) -> NDArray[np.float32]:
    """The samples as whisper.cpp needs them; it would take other shapes and types for sound, too."""
    name = clip.source or "the clip"
    if clip.samples.ndim != 1 or clip.samples.dtype != np.float32:
        raise InputError(
            f"{name} is no clip of one channel in float32, but {clip.samples.shape} {clip.samples.dtype}",
            "make it with decode_audio",
        )
    if clip.duration_s < SHORTEST_CLIP_S:
        raise NothingToDrawError(
            f"{name} lasts {clip.duration_s * 1000:.0f} ms, which is too short for a word", "record it again"
        )
    samples = np.ascontiguousarray(clip.samples)
    # The sum is not finite where any sample is not; unlike isfinite it needs no memory of that size.
    if not np.isfinite(samples.sum(dtype=np.float64)):
        raise InputError(f"{name} holds samples that are not numbers", "export it again as 16-bit wav")
    return samples


def _plan(samples: NDArray[np.float32], info: GgmlInfo) -> list[Window]:
    """whisper.cpp steps through long sound by 30 s, so a model that hears less gets less at once.

    Such a model is a small one that has learned single sentences: it gets them one by one.
    """
    if info.window_s >= FULL_CONTEXT_S:
        return plan_windows(samples, LONGEST_WINDOW_S, gap_s=LONG_GAP_S)
    return plan_windows(samples, info.window_s, split_at_pauses=True)


def _fill_up(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """At least one second: whisper.cpp leaves out what is left in the last 100 ms."""
    if samples.size >= SHORTEST_INPUT:
        return samples
    return np.concatenate((samples, np.zeros(SHORTEST_INPUT - samples.size, np.float32)))


def _good_threads(info: GgmlInfo) -> int:
    """A small model is done before its threads have found one another."""
    return 1 if info.size_bytes < SMALL_MODEL_BYTES else min(MAX_THREADS, os.cpu_count() or 1)


def _choose_language(
    loaded: _Loaded, request: _Request, samples: NDArray[np.float32]
) -> tuple[str, float | None]:
    """The code of the language to listen for, and its probability where it was detected."""
    info, model = loaded.info, loaded.model
    wanted = request.language.strip().lower()
    if not info.multilingual:
        if request.task == "translate":
            raise UsageError("this speech model knows English only, so it cannot translate", _OTHER_MODEL)
        if wanted not in (AUTO, "en", "english"):
            raise UsageError(f"this speech model knows English only, not {request.language!r}", _OTHER_MODEL)
        return "en", None
    if wanted == AUTO:
        return model.detect_language(samples, loaded.threads)
    known = model.languages(info.n_languages)
    code = model.language_code(wanted)
    if code not in known:
        raise UsageError(
            f"{request.language!r} is not a language this speech model knows",
            f"choose from: auto, {', '.join(sorted(known))}",
        )
    return code, None


_OTHER_MODEL = "leave --language and --translate out, or choose a multilingual --speech-model"


def _silence(clip: AudioClip) -> NothingToDrawError:
    name, level = clip.source or "the clip", measure_level(clip.samples)
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


def _nothing_said(clip: AudioClip) -> NothingToDrawError:
    level = measure_level(clip.samples)
    return NothingToDrawError(
        f"no words could be made out in {clip.source or 'the clip'} (its level is {level.rms_dbfs:.0f} dBFS)",
        "say it again, closer to the microphone, or try a larger --speech-model",
    )


def _run_in_worker(
    job: Callable[[Callable[[Segment], None]], tuple[str, float | None]],
    take: Callable[[Segment], None],
    cancelled: Callable[[], bool] | None,
    stop: threading.Event,
) -> tuple[str, float | None]:
    """Run `job` in a thread of its own and hand what it puts out to `take` in this one.

    A Ctrl-C can then only strike here, in Python, and never inside a callback of native code,
    where an exception would end the process. Whatever is raised here stops the job first.
    """
    news: queue.SimpleQueue[Segment | None] = queue.SimpleQueue()
    outcome: list[tuple[str, float | None]] = []
    fault: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(job(news.put))
        except BaseException as error:  # handed over to the caller's thread below
            fault.append(error)
        finally:
            news.put(None)

    worker = threading.Thread(target=run, name="whisper", daemon=True)
    worker.start()
    try:
        while True:
            if cancelled is not None and cancelled():
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
    finally:
        worker.join()
    if fault:
        raise fault[0]
    return outcome[0]
