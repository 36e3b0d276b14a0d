"""What a tab of the page has asked for: its jobs, how far each is, and who is told of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from audio2img.errors import Audio2ImgError, CancelledError
from audio2img.pipeline.drawing import Origin
from audio2img.server.inline import as_address
from audio2img.wording import as_options, as_typed

if TYPE_CHECKING:
    from audio2img.pipeline.events import Event
    from audio2img.pipeline.models import Models
    from audio2img.pipeline.session import Session

JobKind = Literal["speak", "hear", "draw"]
JobState = Literal["running", "done", "failed", "stopped"]

KEPT_JOBS = 20  # finished ones that a tab may ask for again
KEPT_SOUNDS = 3  # of those, with the sounds that were in them
KEPT_WARNINGS = 20
SILENCE_DBFS = -99.0  # JSON knows no infinity


@dataclass(frozen=True)
class JobView:
    """How far a job is, as the page is told; `as_table` is the JSON of it.

    stage: of `pipeline.events.Stage`, "" before and after; place: how many are before it in that stage;
    done: of the stage, in [0, 1], None where nobody knows. final: whether `words` stand.
    level: dBFS of the newest sound, while somebody is listened to; speaking: somebody has begun.
    preview: a data address of the picture so far; pictures: names in the gallery.
    error: {"message", "remedy"}; revised: a `prompt.Revision` as a table; sounds: see
    `sounds.describe_sounds`. parent: the picture that this is a new version of.
    """

    id: str
    kind: JobKind
    state: JobState = "running"
    stage: str = ""
    place: int = 0
    done: float | None = None
    steps: tuple[int, int] | None = None
    words: str = ""
    final: bool = False
    level: float = SILENCE_DBFS
    speaking: bool = False
    prompt: str = ""
    preview: str = ""
    pictures: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: Mapping[str, str] | None = None
    revised: Mapping[str, str] | None = None
    sounds: Mapping[str, Any] | None = None
    parent: str = ""

    def as_table(self) -> dict[str, Any]:
        table = dict(vars(self))
        table["from"] = table.pop("parent")
        return table


class Job:
    """One job: its view, which any thread may change, and the session that works on it just now."""

    def __init__(self, view: JobView, on_change: Callable[[], None]) -> None:
        self._view = view
        self._on_change = on_change
        self.origin = Origin()  # of the words that it heard
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._is_stopped = False
        self._on_stop: Callable[[], None] = _do_nothing

    @property
    def view(self) -> JobView:
        return self._view

    @property
    def is_over(self) -> bool:
        return self._view.state != "running"

    def change(self, **news: Any) -> None:
        with self._lock:
            if self.is_over:
                return
            self._view = replace(self._view, **news)
        self._on_change()

    def warn(self, text: str) -> None:
        self.change(warnings=(*self._view.warnings, as_options(text))[-KEPT_WARNINGS:])

    def hear(self, event: Event) -> None:
        """Take in what the pipeline tells. For the thread that has the news."""
        if event.warning:
            self.warn(event.text)
            return
        news: dict[str, Any] = {"stage": event.stage, "place": event.place, "done": event.done}
        if event.listening is not None:
            news["level"] = max(SILENCE_DBFS, round(event.listening.level_dbfs, 1))
            news["speaking"] = event.listening.is_speech
        if event.stage in ("record", "transcribe") and event.text and not event.place:
            news["words"] = event.text
        if event.stage == "prompt":
            news["prompt"] = event.text
        if event.steps is not None:
            news["steps"] = event.steps
        if event.preview is not None:
            from PIL import Image

            news["preview"] = as_address(Image.fromarray(event.preview()), "JPEG", 80)
        self.change(**news)

    # Stopping

    def stop(self) -> bool:
        """Ask whoever works on it to stop. False where it is over."""
        with self._lock:
            if self.is_over:
                return False
            self._is_stopped = True
            session = self._session
        if session is not None:
            session.cancel()
        self._on_stop()
        return True

    def check(self) -> None:
        """Raises CancelledError after `stop`."""
        if self._is_stopped:
            raise CancelledError("stopped")

    def when_stopped(self, do: Callable[[], None]) -> None:
        """do: called once more by every `stop`, for what no session knows of."""
        self._on_stop = do
        if self._is_stopped:
            do()

    @contextmanager
    def session(self, models: Models) -> Iterator[Session]:
        """A caller of `models` that tells this job its news, and that `stop` stops."""
        with models.session(self.hear) as session, session.cancellable():
            with self._lock:
                self._session = session
            try:
                self.check()  # stopped before there was a session to stop
                yield session
            finally:
                with self._lock:
                    self._session = None

    def end(self, state: JobState, error: Audio2ImgError | None = None) -> None:
        told = None if error is None else as_table(error)
        self.change(state=state, stage="", place=0, done=None, preview="", error=told)
        self._on_stop = _do_nothing  # which may hold the sound

    def forget_sounds(self) -> None:
        """What takes most of the memory of a job that is over."""
        with self._lock:
            self._view = replace(self._view, sounds=None)


class Visitor:
    """A tab of the page, by the name it gave itself. It may be away: its jobs go on."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen_s = time.monotonic()
        self.uploads: dict[str, Path] = {}
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._listeners: list[Callable[[], None]] = []

    def add(self, number: str, kind: JobKind, parent: str = "") -> Job:
        job = Job(JobView(number, kind, parent=parent), self._tell)
        with self._lock:
            over = [one for one, old in self._jobs.items() if old.is_over]
            for one in over[: max(0, len(over) - KEPT_JOBS + 1)]:
                del self._jobs[one]
            for one in over[:-KEPT_SOUNDS]:
                if one in self._jobs:
                    self._jobs[one].forget_sounds()
            self._jobs[number] = job
        self._tell()
        return job

    @property
    def jobs(self) -> list[Job]:
        with self._lock:
            return list(self._jobs.values())

    @property
    def running(self) -> list[Job]:
        return [job for job in self.jobs if not job.is_over]

    def find(self, number: str) -> Job | None:
        with self._lock:
            return self._jobs.get(number)

    @property
    def is_idle(self) -> bool:
        return not self._listeners and not self.running

    @contextmanager
    def listener(self, tell: Callable[[], None]) -> Iterator[None]:
        """tell: called from whichever thread has news of a job; it must not wait."""
        with self._lock:
            self._listeners.append(tell)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(tell)
                self.seen_s = time.monotonic()

    def _tell(self) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for tell in listeners:
            tell()


def _do_nothing() -> None:
    pass


def as_table(error: Audio2ImgError) -> dict[str, str]:
    """The error in the words of the terminal, as the page shows it."""
    return {"message": as_options(error.message), "remedy": as_options(as_typed(error.remedy))}
