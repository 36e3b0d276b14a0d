"""The models that are loaded: once, for as many callers as there are."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from audio2img.backends import (
    AUTO,
    check_backend_name,
    default_image_model,
    load_backend,
    preferred_variant,
)
from audio2img.backends.protocol import DrawingWishes, ImageBackend
from audio2img.background import in_background
from audio2img.errors import CancelledError, ModelError, UsageError, about_setting
from audio2img.pipeline.call import Call
from audio2img.pipeline.events import Event
from audio2img.pipeline.turns import Turns
from audio2img.store.catalog import ResolvedModel, find_missing, resolve_model
from audio2img.store.rows import Kind

if TYPE_CHECKING:
    from audio2img.pipeline.session import Session
    from audio2img.recognition import SoundClassifier, SpeechRecognizer


@dataclass(frozen=True)
class ModelNames:
    """Which models there shall be: names or paths; None takes this machine's default.

    vad: a Silero file; None takes the one that is installed, if any, for telling when a person has
    stopped. threads: of the processor, for speech; None chooses.
    """

    image: str | None = None
    speech: str | None = None
    sound: str | None = None
    vad: str | Path | None = None
    threads: int | None = None


@dataclass(frozen=True, eq=False)
class LoadedImageModel:
    """identity: of the model; it may take a while, so that it is found out beside the first drawing."""

    backend: ImageBackend
    identity: Future[str]
    took_s: float

    def describe(self) -> str:
        """One line for people."""
        took, how = f"{self.backend.model} ready in {self.took_s:.1f} s", self.backend.describe()
        return f"{took}: {how}" if how else took


@dataclass(eq=False)
class _ImageLoad:
    """The loading of the image model, and whom it is for.

    callers: the calls that are going to draw with it. is_for_later: it is wanted apart from any call.
    is_given_up: it is for nobody any more, whom it was for having been stopped.
    """

    future: Future[LoadedImageModel] = field(init=False)
    callers: set[Call] = field(default_factory=set)
    is_for_later: bool = False
    is_given_up: bool = False

    @property
    def has_failed(self) -> bool:
        return self.future.done() and self.future.exception() is not None


class Models:
    """Loads each model when it is first needed and keeps it; safe for any number of threads.

    `session` makes a caller. A load that is only for calls that have been stopped is given up, where its
    backend asks; the next call begins it again. `close` frees everything: at once where nobody is at work,
    else as soon as those who are have stopped, which they are asked to.
    """

    def __init__(self, names: ModelNames = ModelNames(), drawing: DrawingWishes = DrawingWishes()) -> None:
        """Nothing is loaded yet, nor looked for. Raises UsageError for an unknown backend."""
        check_backend_name(drawing.backend)
        self._names, self._drawing = names, drawing
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._is_closed = False
        self._image: _ImageLoad | None = None
        self._recognizer: SpeechRecognizer | None = None
        self._classifier: SoundClassifier | None = None
        self.drawing_turns, self.speech_turns, self.sound_turns = Turns(), Turns(), Turns()

    def __enter__(self) -> Models:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def session(self, on_event: Callable[[Event], None] | None = None) -> Session:
        """A caller of these models. on_event: called from whichever thread has news; keep it short."""
        from audio2img.pipeline.session import Session

        self._check_open()
        return Session(self, on_event)

    def close(self) -> None:
        """Stop the calls that are running and free the models; closing twice is no error."""
        with self._lock:
            self._is_closed = True
            for call in self._calls:
                call.token.cancel("stopped: the models were closed")
            is_idle = not self._calls
        if is_idle:
            self._free()

    @contextmanager
    def in_use_by(self, call: Call) -> Iterator[None]:
        """Around a call: what it uses stays loaded until it ends. Raises UsageError after `close`."""
        with self._lock:
            self._check_open()
            self._calls.append(call)
        try:
            yield
        finally:
            with self._lock:
                self._calls.remove(call)
                self._leave_load(call)
                is_last = self._is_closed and not self._calls
            if is_last:
                self._free()

    def _check_open(self) -> None:
        if self._is_closed:
            raise UsageError("these models are closed", "open others: Pipeline(...) or Models(...)")

    def _free(self) -> None:
        with self._lock:
            image, recognizer, classifier = self._image, self._recognizer, self._classifier
            self._image = self._recognizer = self._classifier = None
        if image is not None:
            image.future.add_done_callback(_close_image_model)  # now, or as soon as it has loaded
        for model in (recognizer, classifier):
            if model is not None:
                model.close()

    # Which models

    @cached_property
    def image_model(self) -> ResolvedModel:
        """The model that draws. Raises ModelError when it cannot be found."""
        asked = self._names.image
        if asked is None and self._drawing.backend != AUTO:
            asked = default_image_model(self._drawing.backend)
        return _resolve("model", asked, "image", preferred_variant())

    @cached_property
    def speech_model(self) -> ResolvedModel:
        """The model that hears words. Raises ModelError when it cannot be found."""
        return _resolve("speech_model", self._names.speech, "speech")

    @cached_property
    def sound_model(self) -> ResolvedModel:
        """The model that names sounds. Raises ModelError when it cannot be found."""
        return _resolve("sound_model", self._names.sound, "sound")

    @property
    def is_sound_model_named(self) -> bool:
        """Whether somebody has asked for this model of sounds."""
        return self._names.sound is not None

    @cached_property
    def _vad(self) -> Path | None:
        """The Silero file that is asked for. Raises ModelError when it cannot be found."""
        if self._names.vad is None:
            return None
        path = _resolve("vad_model", str(self._names.vad), "vad").path
        if not path.is_file():
            raise ModelError(
                f"no voice activity model at {path}", "check the path, or leave it out", setting="vad_model"
            )
        return path

    def find_vad_model(self) -> Path | None:
        """The Silero file that is set or installed, where there is one. Raises ModelError."""
        if self._vad is not None:
            return self._vad
        return resolve_model(None, "vad").path if find_missing(None, "vad") is None else None

    # Loading

    def preload(self, call: Call | None = None) -> None:
        """Start loading the image model in the background, if that has not happened yet.

        call: for which it is; None: for later. Raises ModelError for a model that cannot be found.
        """
        self._want_image(call)

    def check_image_model(self, call: Call | None = None) -> None:
        """Raise what went wrong in loading the image model, if that is known already.

        call: which it has to be for; None: for whomever it is.
        """
        image = self._image
        if image is not None and image.future.done() and (call is None or call in image.callers):
            image.future.result()

    def image(self, call: Call) -> LoadedImageModel:
        """The image model, loaded. Raises ModelError, MachineError, CancelledError."""
        image = self._want_image(call)
        # What the person still waits for, not what was hidden behind the speech.
        with call.timed("load"):
            try:
                return call.wait(image.future)
            finally:
                if image.has_failed:
                    self._forget(image)  # the next call tries again: the machine may have changed

    def recognizer(self) -> SpeechRecognizer:
        """The recognizer of speech, which loads its model at the first use."""
        from audio2img.recognition import SpeechSetup, load_recognizer

        model, setup = self.speech_model, SpeechSetup(self._names.threads, self._vad)
        with self._lock:
            if self._recognizer is None:
                self._recognizer = load_recognizer(model, setup)
            return self._recognizer

    def classifier(self) -> SoundClassifier:
        """The classifier of sounds, which loads its model at the first use."""
        from audio2img.recognition import load_classifier

        model = self.sound_model
        with self._lock:
            if self._classifier is None:
                self._classifier = load_classifier(model)
            return self._classifier

    def _want_image(self, call: Call | None) -> _ImageLoad:
        """The load of the image model, begun now if need be, for this call or for later."""
        model = self.image_model  # unknown here and now, not in the thread
        with self._lock:
            self._check_open()
            image = self._image
            if image is None or (image.has_failed and call not in image.callers):
                image = _ImageLoad()
                image.future = in_background(partial(self._load_image_model, model, image))
                self._image = image
            image.is_given_up = False
            if call is None:
                image.is_for_later = True
            else:
                image.callers.add(call)
            return image

    def _leave_load(self, call: Call) -> None:
        """A call ends. Where it has been stopped and nobody else wants the model, loading it stops, too."""
        image = self._image
        if image is not None and call in image.callers:
            image.callers.remove(call)
            is_wanted = image.callers or image.is_for_later
            image.is_given_up = call.is_cancelled() and not is_wanted

    def _load_image_model(self, model: ResolvedModel, image: _ImageLoad) -> LoadedImageModel:
        started = time.perf_counter()
        backend = self._load_backend(model, image)
        took_s = time.perf_counter() - started
        return LoadedImageModel(backend, in_background(lambda: backend.identity), took_s)

    def _load_backend(self, model: ResolvedModel, image: _ImageLoad) -> ImageBackend:
        while True:
            try:
                return load_backend(model, self._drawing, lambda: image.is_given_up or self._is_closed)
            except CancelledError:
                with self._lock:
                    if image.is_given_up or self._is_closed:
                        self._image = None if self._image is image else self._image
                        raise
                # Somebody has come who wants it, after it was given up.

    def _forget(self, image: _ImageLoad) -> None:
        with self._lock:
            if self._image is image:
                self._image = None


def _close_image_model(loaded: Future[LoadedImageModel]) -> None:
    if loaded.exception() is None:
        loaded.result().backend.close()


def _resolve(setting: str, name: str | None, kind: Kind, preferred: str | None = None) -> ResolvedModel:
    """See resolve_model; an error names the setting that the model's name comes from."""
    with about_setting(setting if name is not None else ""):
        return resolve_model(name, kind, preferred)
