"""One caller of the models: its calls, in the order it happens: sound, words, prompt, picture."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audio2img.errors import CancelledError, UsageError
from audio2img.pipeline.call import Call, CancelToken
from audio2img.pipeline.drawing import Drawing, Origin, Painter
from audio2img.pipeline.events import Event
from audio2img.pipeline.hearing import AudioSource, Hearing, name_of
from audio2img.pipeline.live import LiveInput
from audio2img.pipeline.models import Models
from audio2img.pipeline.options import Options
from audio2img.pipeline.redrawing import Changes
from audio2img.store.catalog import ResolvedModel
from audio2img.types import AudioClip, ImageRequest, SoundEvents, SoundSummary, Transcript

if TYPE_CHECKING:
    from audio2img.backends.protocol import Capabilities
    from audio2img.diffusion import ModelDefaults
    from audio2img.output.record import PictureRecord

SOUNDS_REMEMBERED = 10  # categories that a picture's record holds

Watch = Callable[[NDArray[np.float32]], None]
"""Is shown every block of (n,) float32 at 16 kHz as it passes."""

OnPicture = Callable[[Drawing], None]
"""Gets each picture as soon as it is finished, as a Drawing of its own; what it raises ends the call."""


class Session:
    """One caller of `Models`, which others may be calling, too; made by `Models.session`.

    One call at a time; `cancel` may be called from any thread. Use it as a context manager, or call
    `close` when done.
    """

    def __init__(self, models: Models, on_event: Callable[[Event], None] | None = None) -> None:
        self.models = models
        self._on_event = on_event
        self._lock = threading.Lock()
        self._token: CancelToken | None = None  # of the call that is running
        self._shared_token: CancelToken | None = None  # of several calls, see `cancellable`
        self._is_busy = False
        self._is_closed = False

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the call that is running, and take no other; the models stay. Closing twice is no error."""
        with self._lock:
            self._is_closed = True
            token = self._token
        if token is not None:
            token.cancel("stopped: the session was closed")

    # Stopping

    def cancel(self) -> bool:
        """Stop the call that is running: it raises CancelledError at its next step. False if there is none:
        then it is void, and the next call runs."""
        with self._lock:
            token = self._token or self._shared_token
        if token is not None:
            token.cancel()
        return token is not None

    @contextmanager
    def cancellable(self) -> Iterator[None]:
        """Around several calls that are one to whoever stops them: after `cancel` none of them goes on."""
        token = CancelToken()
        with self._lock:
            outer, self._shared_token = self._shared_token, token
        try:
            yield
        finally:
            with self._lock:
                self._shared_token = outer

    @contextmanager
    def _call(self) -> Iterator[Call]:
        """A call, from its first step to its last."""
        with self._lock:
            if self._is_closed:
                raise UsageError(
                    "this session is closed", "open another one: Pipeline(...) or models.session()"
                )
            if self._is_busy:
                raise UsageError(
                    "this session is busy with another call", "open one for each caller: pipeline.session()"
                )
            self._is_busy = True
            self._token = token = self._shared_token or CancelToken()
        call = Call(token, self._on_event)
        try:
            with self.models.in_use_by(call):
                call.check()
                yield call
        except CancelledError:
            token.check()  # which knows why
            raise
        finally:
            with self._lock:
                self._is_busy, self._token = False, None

    # Which models

    @property
    def image_model(self) -> ResolvedModel:
        """The model that draws. Raises ModelError when it cannot be found."""
        return self.models.image_model

    @property
    def speech_model(self) -> ResolvedModel:
        """The model that hears words. Raises ModelError when it cannot be found."""
        return self.models.speech_model

    @property
    def sound_model(self) -> ResolvedModel:
        """The model that names sounds. Raises ModelError when it cannot be found."""
        return self.models.sound_model

    @property
    def model_hash(self) -> str:
        """The identity of the image model, such as the SHA-256 (hex) of its files; loads the model."""
        with self._call() as call:
            return Painter(self.models, call).find_identity()

    def describe_image_model(self) -> tuple[Capabilities, ModelDefaults]:
        """What the image model can do, and how it draws where nobody says; loads the model."""
        with self._call() as call:
            backend = self.models.image(call).backend
            return backend.capabilities, backend.defaults

    def preload(self) -> None:
        """Start loading the image model in the background, if that has not happened yet."""
        self.models.preload()

    # The main job

    def run(
        self,
        source: AudioSource | LiveInput,
        options: Options = Options(),
        *,
        on_clip: Callable[[AudioClip], None] = lambda clip: None,
        on_picture: OnPicture | None = None,
    ) -> Drawing:
        """The whole way from sound to pictures.

        source: a path, a file object, "-" (stdin), an AudioClip, or a LiveInput: a person at a microphone,
        who is listened to until they have stopped, or for some seconds where it need not be words.
        on_clip: gets what a LiveInput gave, before anything is made of it.
        Raises any kind of Audio2ImgError.
        """
        with self._call() as call:
            self.models.preload(call)
            hearing = Hearing(self.models, call)
            if isinstance(source, LiveInput):
                source, heard = hearing.hear_live(source, options, on_clip)
            else:
                heard = None
            transcript, sounds = hearing.recognize(source, options, heard)
            summary = None if sounds is None else sounds.summary
            shortened = None if summary is None else summary.shortened(SOUNDS_REMEMBERED)
            origin = Origin(transcript, shortened, name_of(source))
            painter = Painter(self.models, call, on_picture, origin)
            if transcript is None:
                return painter.generate("", options, summary)
            return painter.generate(transcript.text, options, summary if options.hear == "both" else None)

    def redraw(
        self,
        record: PictureRecord,
        changes: Changes = Changes(),
        *,
        init_image: str | Path | None = None,
        on_picture: OnPicture | None = None,
    ) -> Drawing:
        """A picture again from its record (`output.read_record`), which the new one inherits.

        init_image: the file that it was drawn from, where there is one; InputError for another.
        """
        if init_image is not None and record.request.init_image is None:
            raise UsageError("this one was not drawn from another picture", "leave `init_image` out")
        request = changes.applied_to(record.request)
        with self._call() as call:
            painter = Painter(
                self.models, call, on_picture, Origin(record.transcript, record.sounds, record.audio_source)
            )
            if record.model_hash and painter.find_identity() != record.model_hash:
                call.warn("the model is not the one that drew this picture: the new one may differ")
            return painter.draw(request, init_image, all_of_them=changes.count is not None)

    # Its parts

    def record(self, seconds: float, device: str | None = None) -> AudioClip:
        """What the microphone hears for `seconds`. Raises MachineError when there is none to hear with."""
        return self.listen(LiveInput(device, seconds=seconds))

    def listen(self, live: LiveInput) -> AudioClip:
        """What one person says into the microphone, until they have stopped.

        Raises NothingToDrawError when nobody speaks, MachineError when there is nothing to hear with.
        """
        with self._call() as call:
            return Hearing(self.models, call).listen(live)

    def hear(
        self,
        live: LiveInput,
        options: Options = Options(),
        on_clip: Callable[[AudioClip], None] = lambda clip: None,
    ) -> tuple[AudioClip, Transcript]:
        """As `listen`, with the words, which are looked for while the person is still speaking.

        on_clip: gets the clip before its words stand. Raises as `listen` and `transcribe` do.
        """
        with self._call() as call:
            return Hearing(self.models, call).hear(live, options, on_clip)

    def recognize(
        self,
        audio: AudioSource,
        options: Options = Options(),
        watch: Watch | None = None,
        on_sounds: Callable[[SoundEvents], None] = lambda sounds: None,
    ) -> tuple[Transcript | None, SoundEvents | None]:
        """What is said in `audio` and which sounds are in it, as far as `options.hear` asks for them.

        watch: see `classify`. on_sounds: gets the sounds before words are looked for.
        See `hearing.Hearing.recognize`. Raises what `transcribe` and `classify` raise.
        """
        with self._call() as call:
            return Hearing(self.models, call).recognize(audio, options, None, watch, on_sounds)

    def transcribe(self, audio: AudioSource, options: Options = Options()) -> Transcript:
        """What is said in `audio`. Raises InputError, NothingToDrawError or ModelError."""
        with self._call() as call:
            return Hearing(self.models, call).transcribe(audio, options)

    def classify(
        self,
        audio: AudioSource,
        max_results: int | None = None,
        watch: Watch | None = None,
    ) -> SoundEvents:
        """Which sounds are in `audio`, in constant memory however long a file is.

        max_results: how many classes of each window are kept; None for a few, -1 for all.
        watch: is shown every block of (n,) float32 at 16 kHz as it passes.
        Raises InputError, NothingToDrawError, ModelError, MachineError.
        """
        with self._call() as call:
            return Hearing(self.models, call).classify(audio, max_results, watch)

    def generate(
        self,
        text: str,
        options: Options = Options(),
        sounds: SoundSummary | None = None,
        *,
        on_picture: OnPicture | None = None,
        origin: Origin = Origin(),
    ) -> Drawing:
        """Pictures of what `text` describes, spoken style and all ("please draw a red house").

        sounds: what was heard besides, or with an empty text instead; it becomes a part of the scene.
        origin: what the pictures shall remember of where the words came from.
        """
        with self._call() as call:
            return Painter(self.models, call, on_picture, origin).generate(text, options, sounds)

    def draw(
        self,
        request: ImageRequest,
        init_image: str | Path | None = None,
        *,
        on_picture: OnPicture | None = None,
    ) -> Drawing:
        """Exactly the picture of `request`, with no clean-up of its words.

        init_image: the file that `request.init_image` names, where there is one; InputError for another.
        """
        with self._call() as call:
            return Painter(self.models, call, on_picture).draw(request, init_image)
