"""The main job, in the order it happens: sound, words, prompt, picture.

The only module that knows the order. It loads the image model while the speech is
being transcribed, keeps its models between calls, and reports through one callback.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audio2img.backends import DrawingWishes, check_backend_name
from audio2img.diffusion.loras import parse_lora
from audio2img.pipeline.drawing import Drawing, Painter
from audio2img.pipeline.events import Event
from audio2img.pipeline.hearing import AudioSource, Hearing, HearingModels, existing_vad_model, name_of
from audio2img.pipeline.options import Options
from audio2img.pipeline.progress import Progress
from audio2img.store.catalog import ResolvedModel
from audio2img.types import AudioClip, ImageRequest, SoundEvents, SoundSummary, Transcript

if TYPE_CHECKING:
    from audio2img.pipeline.live import LiveInput

SOUNDS_REMEMBERED = 10  # categories that a picture's record holds


class Pipeline:
    """Speech or sounds to picture, with the models kept between calls.

    model, speech_model, sound_model: a name from `audio2img models list` or a path; None takes the default.
    backend: coreml, diffusers, or auto: by the model and the machine.
    compute_units: what Core ML may draw on, of `coreml.units.COMPUTE_UNITS`, or diffusers: cuda, mps or
    cpu; None chooses by the machine.
    low_memory: hold one part of the image model at a time; None does so where memory is small.
    precision, compile, loras: for diffusers, see `backends.DrawingWishes`; a LoRA is PATH or PATH:WEIGHT.
    vad_model: name or path of a Silero VAD ggml model, to leave out what is not speech. The one
        that is installed, if any, also tells when a person at the microphone has stopped.
    on_event: called from whichever thread has news; keep it short.

    One call at a time; `cancel` may be called from any thread. Use it as a context manager,
    or call `close` when done.
    """

    def __init__(
        self,
        model: str | None = None,
        speech_model: str | None = None,
        *,
        sound_model: str | None = None,
        backend: str = "auto",
        compute_units: str | None = None,
        low_memory: bool | None = None,
        precision: str | None = None,
        compile: bool = False,
        loras: Sequence[str | Path] = (),
        vad_model: str | Path | None = None,
        threads: int | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        check_backend_name(backend)
        files = tuple(parse_lora(str(lora)) for lora in loras)
        wishes = DrawingWishes(backend, compute_units, low_memory, precision, compile, files)
        models = HearingModels(speech_model, sound_model, existing_vad_model(vad_model), threads)
        self._progress = Progress(on_event)
        self._painter = Painter(model, wishes, self._progress)
        # An image model that cannot draw is told while the person speaks, not afterwards.
        self._hearing = Hearing(models, self._progress, while_listening=self._painter.check)

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free all models. The pipeline cannot be used afterwards; closing twice is no error."""
        self._painter.close()
        self._hearing.close()

    def cancel(self) -> None:
        """Stop the call that is running (or else the next one): it raises CancelledError at its next step."""
        self._progress.cancel()

    @property
    def image_model(self) -> ResolvedModel:
        """The model that draws. Raises ModelError when it cannot be found."""
        return self._painter.model

    @property
    def model_hash(self) -> str:
        """SHA-256 (hex) of the image model's files; loads the model."""
        return self._painter.model_hash

    @property
    def speech_model(self) -> ResolvedModel:
        """The model that hears words. Raises ModelError when it cannot be found."""
        return self._hearing.speech_model

    @property
    def sound_model(self) -> ResolvedModel:
        """The model that names sounds. Raises ModelError when it cannot be found."""
        return self._hearing.sound_model

    def run(
        self, audio: AudioSource, options: Options = Options(), heard: Transcript | None = None
    ) -> Drawing:
        """The whole way from a path, file object, "-" (stdin) or AudioClip to pictures.

        heard: what is said in `audio`, where `hear` has told already. Raises any kind of Audio2ImgError.
        """
        self.preload()
        transcript, sounds = self.recognize(audio, options, heard)
        summary = None if sounds is None else sounds.summary
        if transcript is not None:
            drawing = self.generate(transcript.text, options, summary if options.hear == "both" else None)
        else:
            drawing = self.generate("", options, summary)
        return replace(
            drawing,
            transcript=transcript,
            sounds=None if summary is None else summary.shortened(SOUNDS_REMEMBERED),
            audio_source=name_of(audio),
        )

    def preload(self) -> None:
        """Start loading the image model in the background, if that has not happened yet."""
        self._painter.preload()

    def record(self, seconds: float, device: str | None = None) -> AudioClip:
        """What the microphone hears for `seconds`. Raises MachineError when there is none to hear with."""
        return self._hearing.record(seconds, device)

    def listen(self, live: LiveInput) -> AudioClip:
        """What one person says into the microphone, until they have stopped.

        Raises NothingToDrawError when nobody speaks, MachineError when there is nothing to hear with.
        """
        return self._hearing.listen(live)

    def hear(
        self,
        live: LiveInput,
        options: Options = Options(),
        on_clip: Callable[[AudioClip], None] = lambda clip: None,
    ) -> tuple[AudioClip, Transcript]:
        """As `listen`, with the words, which are looked for while the person is still speaking.

        on_clip: gets the clip before its words stand. Raises as `listen` and `transcribe` do.
        """
        return self._hearing.hear(live, options, on_clip)

    def recognize(
        self, audio: AudioSource, options: Options = Options(), heard: Transcript | None = None
    ) -> tuple[Transcript | None, SoundEvents | None]:
        """What is said in `audio` and which sounds are in it, as far as `options.hear` asks for them.

        See `hearing.Hearing.recognize`. Raises what `transcribe` and `classify` raise.
        """
        return self._hearing.recognize(audio, options, heard)

    def transcribe(self, audio: AudioSource, options: Options = Options()) -> Transcript:
        """What is said in `audio`. Raises InputError, NothingToDrawError or ModelError."""
        return self._hearing.transcribe(audio, options)

    def classify(
        self,
        audio: AudioSource,
        max_results: int | None = None,
        watch: Callable[[NDArray[np.float32]], None] | None = None,
    ) -> SoundEvents:
        """Which sounds are in `audio`, in constant memory however long a file is.

        max_results: how many classes of each window are kept; None for a few, -1 for all.
        watch: is shown every block of (n,) float32 at 16 kHz as it passes.
        Raises InputError, NothingToDrawError, ModelError, MachineError.
        """
        return self._hearing.classify(audio, max_results, watch)

    def generate(
        self, text: str, options: Options = Options(), sounds: SoundSummary | None = None
    ) -> Drawing:
        """Pictures of what `text` describes, spoken style and all ("please draw a red house").

        sounds: what was heard besides, or with an empty text instead; it becomes a part of the scene.
        """
        return self._painter.generate(text, options, sounds)

    def draw(self, request: ImageRequest, init_image: str | Path | None = None) -> Drawing:
        """Exactly the picture of `request`, with no clean-up of its words.

        init_image: the file that `request.init_image` names, where there is one; InputError for another.
        """
        return self._painter.draw(request, init_image)
