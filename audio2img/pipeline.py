"""The main job, in the order it happens: sound, words, prompt, picture.

The only module that knows the order. It loads the image model while the speech is
being transcribed, keeps its models between calls, and reports through one callback.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from audio2img.backends import DrawingWishes, describe_backend, load_backend
from audio2img.diffusion import DEFAULT_STRENGTH, DrawingStep, Pixels
from audio2img.diffusion.loras import check_same, parse_lora
from audio2img.errors import (
    CancelledError,
    InputError,
    MachineError,
    ModelError,
    NothingToDrawError,
    UsageError,
)
from audio2img.events import Event, Listening, Stage
from audio2img.options import Options
from audio2img.store.catalog import ResolvedModel, default_name, resolve_model
from audio2img.types import (
    AudioClip,
    ImageRequest,
    ImageResult,
    InitImage,
    Prompt,
    Segment,
    SoundEvents,
    SoundSummary,
    Transcript,
)

if TYPE_CHECKING:
    from audio2img.audio.listening import Moment
    from audio2img.diffusion import ImageBackend
    from audio2img.live import LiveInput
    from audio2img.output.record import PictureRecord
    from audio2img.recognition.whisper import WhisperRecognizer
    from audio2img.recognition.yamnet import SoundClassifier

Result = TypeVar("Result")
AudioSource = AudioClip | str | Path | BinaryIO
Draw = Callable[..., tuple[ImageResult, ...]]

SOUNDS_REMEMBERED = 10  # categories that a picture's record holds
SOUNDS_SAID = 3


@dataclass(frozen=True, eq=False)
class Drawing:
    """The pictures of one call with all that led to them; `save` writes them as PNG files."""

    images: tuple[ImageResult, ...]
    prompt: Prompt
    transcript: Transcript | None = None
    sounds: SoundSummary | None = None
    audio_source: str = ""
    timings_s: dict[str, float] = field(default_factory=dict)

    def save(self, target: str | Path) -> list[Path]:
        """Write the pictures into a folder, or the only one to a `.png` path.

        Raises MachineError when the disk refuses, UsageError for several pictures and one path.
        """
        from audio2img.output.png import write_picture

        path = Path(target).expanduser()
        if path.suffix.lower() == ".png" and not path.is_dir() and len(self.images) > 1:
            raise UsageError(
                f"{len(self.images)} pictures do not fit into {path}", "give a folder with --output"
            )
        return [write_picture(image, self.record_of(image), path) for image in self.images]

    def record_of(self, image: ImageResult) -> PictureRecord:
        from audio2img.output.record import PictureRecord

        return PictureRecord.of(
            image, transcript=self.transcript, sounds=self.sounds, audio_source=self.audio_source
        )


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
        self._model = model
        self._speech_model = speech_model
        self._sound_model = sound_model
        files = tuple(parse_lora(str(lora)) for lora in loras)
        self._wishes = DrawingWishes(backend, compute_units, low_memory, precision, compile, files)
        self._vad_model = _existing_vad_model(vad_model)
        self._threads = threads
        self._on_event = on_event
        self._backend: Future[ImageBackend] | None = None
        self._recognizer: WhisperRecognizer | None = None
        self._classifier: SoundClassifier | None = None
        self._cancelled = threading.Event()
        self._timings_s: dict[str, float] = {}

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free all models. The pipeline cannot be used afterwards; closing twice is no error."""
        if self._backend is not None:
            self._backend.add_done_callback(_close_backend)  # now, or as soon as it has loaded
        if self._recognizer is not None:
            self._recognizer.close()
        if self._classifier is not None:
            self._classifier.close()
        self._backend = self._recognizer = self._classifier = None

    def cancel(self) -> None:
        """Stop the call that is running (or else the next one): it raises CancelledError at its next step."""
        self._cancelled.set()

    @cached_property
    def image_model(self) -> ResolvedModel:
        """The model that draws. Raises ModelError when it cannot be found."""
        from audio2img.coreml.units import preferred_attention

        asked = self._model
        if asked is None and self._wishes.backend != "auto":
            asked = default_name("image", self._wishes.backend)
        return resolve_model(asked, "image", preferred_attention())

    @cached_property
    def speech_model(self) -> ResolvedModel:
        """The model that listens. Raises ModelError when it cannot be found."""
        return resolve_model(self._speech_model, "speech")

    @cached_property
    def sound_model(self) -> ResolvedModel:
        """The model that names sounds. Raises ModelError when it cannot be found."""
        return resolve_model(self._sound_model, "sound")

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
            audio_source=_name_of(audio),
        )

    def preload(self) -> None:
        """Start loading the image model in the background, if that has not happened yet."""
        if self._backend is None:
            model = self.image_model  # unknown here and now, not in the thread
            self._backend = in_background(lambda: self._load_backend(model))

    def record(self, seconds: float, device: str | None = None) -> AudioClip:
        """What the microphone hears for `seconds`. Raises MachineError when there is none to hear with."""
        from audio2img.audio.microphone import record_audio

        def report(done: float) -> None:
            self._check_cancelled()
            self._tell(Event("record", done))

        with self._cancellable():
            return record_audio(seconds, device=device, progress=report)

    def listen(self, live: LiveInput) -> AudioClip:
        """What one person says into the microphone, until they have stopped.

        Raises NothingToDrawError when nobody speaks, MachineError when there is nothing to hear with.
        """
        from audio2img.live import hear_utterance

        with self._cancellable(), self._timed("record"):
            return hear_utterance(self._with_vad(live), self._report_moment).clip()

    def hear(
        self,
        live: LiveInput,
        options: Options = Options(),
        on_clip: Callable[[AudioClip], None] = lambda clip: None,
    ) -> tuple[AudioClip, Transcript]:
        """As `listen`, with the words, which are looked for while the person is still speaking.

        on_clip: gets the clip before its words stand. Raises as `listen` and `transcribe` do.
        """
        from audio2img.live import hear_utterance
        from audio2img.recognition.live import LiveTranscriber

        model = self.speech_model
        recognizer = in_background(lambda: self._load_recognizer(model))
        options = self._without_unusable_words(options, model)
        words = [""]

        def recognize(clip: AudioClip, is_stopped: Callable[[], bool]) -> Transcript:
            return self._recognize(
                recognizer.result(), clip, options, lambda: is_stopped() or self._cancelled.is_set()
            )

        def report(moment: Moment) -> None:
            if recognizer.done():
                recognizer.result()  # a model that cannot be loaded is told before the person has spoken
            self._report_moment(moment, words[0])

        transcriber = LiveTranscriber(recognize, lambda partial: words.__setitem__(0, partial.text))
        with self._cancellable(), closing(transcriber):
            with self._timed("record"):
                utterance = hear_utterance(self._with_vad(live), report, transcriber)
                clip = utterance.clip()
            on_clip(clip)
            self._tell(Event("transcribe", None, words[0]))
            with self._timed("transcribe"):
                transcript = transcriber.finish(clip, utterance.bounds)
            self._tell(Event("transcribe", 1.0, transcript.text))
            return clip, transcript

    def _with_vad(self, live: LiveInput) -> LiveInput:
        """With the Silero VAD that is set or installed, where the caller names none."""
        return live if live.vad_model else replace(live, vad_model=self._vad_model or _installed_vad_model())

    def _report_moment(self, moment: Moment, words: str = "") -> None:
        self._check_cancelled()
        if self._backend is not None and self._backend.done():
            self._backend.result()  # as above: an image model that cannot draw is told at once
        listening = Listening(moment.state != "waiting", moment.level_dbfs)
        self._tell(Event("record", None, words, listening=listening))

    def recognize(
        self, audio: AudioSource, options: Options = Options(), heard: Transcript | None = None
    ) -> tuple[Transcript | None, SoundEvents | None]:
        """What is said in `audio` and which sounds are in it, as far as `options.hear` asks for them.

        "auto" listens for words where speech leads all other sounds; where it does not, or no words can be
        made out, the transcript is None. heard: the transcript, where it is known already. Raises what
        `transcribe` and `classify` raise.
        """
        if options.hear == "speech":
            return heard or self.transcribe(audio, options), None
        if options.hear == "sounds":
            return None, self.classify(audio)
        if options.hear == "auto" and (reason := self._why_no_sounds()):
            self._warn(f"listening for words only, not for sounds: {reason}", "classify")
            return self.transcribe(audio, options), None
        _ = self.speech_model  # unknown models are refused before hours of sound are read
        clip = audio if isinstance(audio, AudioClip) else self._decode(audio)
        sounds = self.classify(clip)
        if options.hear == "auto" and not sounds.summary.speech_leads:
            return None, sounds
        try:
            return heard or self.transcribe(clip, options), sounds
        except NothingToDrawError as error:
            if not any(thing.role == "thing" for thing in sounds.summary.things):
                raise
            self._warn(f"{error.message}: drawing its sounds", "transcribe")
            return None, sounds

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
        classifier = self._load_classifier()
        with self._cancellable(), self._timed("classify"):
            self._tell(Event("classify", 0.0))
            sounds = classifier.classify(
                self._blocks(audio, watch),
                source=_name_of(audio),
                max_results=max_results,
                cancelled=self._cancelled.is_set,
            )
            heard = ", ".join(thing.phrase for thing in sounds.summary.things[:SOUNDS_SAID])
            self._tell(Event("classify", 1.0, heard))
            return sounds

    def _blocks(
        self, audio: AudioSource, watch: Callable[[NDArray[np.float32]], None] | None
    ) -> Iterator[NDArray[np.float32]]:
        """The sound in blocks, reported and watched as they pass."""
        from audio2img.audio.decode import stream_audio

        def report(done: float | None) -> None:
            self._tell(Event("classify", done))

        for block in audio.blocks() if isinstance(audio, AudioClip) else stream_audio(audio, progress=report):
            if watch is not None:
                watch(block)
            yield block

    def transcribe(self, audio: AudioSource, options: Options = Options()) -> Transcript:
        """What is said in `audio`. Raises InputError, NothingToDrawError or ModelError."""
        model = self.speech_model  # unknown models are refused before hours of sound are read
        with self._cancellable():
            clip = audio if isinstance(audio, AudioClip) else self._decode(audio)
            with self._timed("transcribe"):
                return self._transcribe_clip(clip, model, options)

    def _transcribe_clip(self, clip: AudioClip, model: ResolvedModel, options: Options) -> Transcript:
        recognizer = self._load_recognizer(model)
        said: list[str] = []

        def report(segment: Segment) -> None:
            said.append(segment.text)
            done = min(1.0, segment.end_s / clip.duration_s) if clip.duration_s else None
            self._tell(Event("transcribe", done, " ".join(said), segment))

        options = self._without_unusable_words(options, model)
        self._tell(Event("transcribe", 0.0))
        transcript = self._recognize(recognizer, clip, options, self._cancelled.is_set, report)
        self._check_cancelled()
        self._tell(Event("transcribe", 1.0, transcript.text))
        return transcript

    @staticmethod
    def _recognize(
        recognizer: WhisperRecognizer,
        clip: AudioClip,
        options: Options,
        cancelled: Callable[[], bool],
        progress: Callable[[Segment], None] | None = None,
    ) -> Transcript:
        return recognizer.transcribe(
            clip,
            language=options.language,
            task=options.task,
            initial_prompt=options.initial_prompt,
            progress=progress,
            cancelled=cancelled,
        )

    def _without_unusable_words(self, options: Options, model: ResolvedModel) -> Options:
        if not (options.initial_prompt and model.vocabulary):
            return options
        self._warn(f"{model.name} takes no initial prompt: left out", "transcribe")
        return replace(options, initial_prompt="")

    def generate(
        self, text: str, options: Options = Options(), sounds: SoundSummary | None = None
    ) -> Drawing:
        """Pictures of what `text` describes, spoken style and all ("please draw a red house").

        sounds: what was heard besides, or with an empty text instead; it becomes a part of the scene.
        """
        self.preload()
        with self._cancellable():
            start = None if options.init_image is None else _read_init_image(options.init_image)
            prompt = self._make_prompt(*self._add_sounds(text, options, sounds))
            if options.long_prompt == "cut":
                prompt = self._cut_prompt(prompt)
            request = self._make_request(prompt, options, None if start is None else start[0])
            backend = self._loaded_backend()
            images = self._draw(backend.generate_all, request, None if start is None else start[1])
            for index in sorted(set(range(request.count)) - {image.request.index for image in images}):
                self._warn(f"the model's safety checker refused picture {index + 1} of {request.count}")
            return Drawing(images, prompt, timings_s=self._take_timings())

    def draw(self, request: ImageRequest, init_image: str | Path | None = None) -> Drawing:
        """Exactly the picture of `request`, with no clean-up of its words.

        init_image: the file that `request.init_image` names, where there is one; InputError for another.
        """
        self.preload()
        with self._cancellable():
            pixels = _matching_pixels(request, init_image)
            backend = self._loaded_backend()
            check_same(request.loras, backend.loras)
            images = self._draw(lambda *given: (backend.generate(*given),), request, pixels)
            prompt = Prompt(request.prompt, request.negative_prompt)
            return Drawing(images, prompt, timings_s=self._take_timings())

    @property
    def model_hash(self) -> str:
        """SHA-256 (hex) of the image model's files; loads the model."""
        return self._loaded_backend().model_hash

    def _decode(self, audio: str | Path | BinaryIO) -> AudioClip:
        from audio2img.audio.decode import decode_audio

        def report(done: float | None) -> None:
            self._check_cancelled()
            self._tell(Event("decode", done))

        with self._cancellable(), self._timed("decode"):
            return decode_audio(audio, progress=report)

    def _add_sounds(
        self, text: str, options: Options, sounds: SoundSummary | None
    ) -> tuple[str, Options, str]:
        """The words to draw, the options with the template that suits them, and what follows the words."""
        from audio2img.scene import DEFAULT_TEMPLATE, write_scene

        if sounds is None:
            return text, options, ""
        in_mini_world = self.image_model.vocabulary == "mini_world"
        scene = write_scene(sounds.things, text, in_mini_world=in_mini_world)
        if scene.left_out:
            self._warn(f"the mini model has no words for: {', '.join(scene.left_out)}")
        if text:
            joint = " " if in_mini_world else ", "
            return text, options, joint + scene.text if scene.text else ""
        if not scene.text:
            heard = "silence" if any(thing.role == "silence" for thing in sounds.things) else "no clear sound"
            raise NothingToDrawError(
                f"there is nothing to draw: {heard} was heard", "look at it with: audio2img classify AUDIO"
            )
        if options.template is None and options.style is None and not in_mini_world:
            options = replace(options, template=DEFAULT_TEMPLATE)
        return scene.text, options, ""

    def _make_prompt(self, text: str, options: Options, scene: str) -> Prompt:
        from audio2img.config import config_dir
        from audio2img.mini_world import unknown_words
        from audio2img.prompt import make_prompt

        prompt = make_prompt(
            text,
            style=options.style,
            template=options.template,
            negative=options.negative,
            scene=scene,
            styles_dir=config_dir() / "styles",
            templates_dir=config_dir() / "templates",
        )
        self._tell(Event("prompt", 1.0, prompt.text))
        if self.image_model.vocabulary == "mini_world" and (unknown := unknown_words(prompt.text)):
            world = "it knows one small world: audio2img models show mini"
            self._warn(f"the mini model does not know: {', '.join(unknown)} ({world})")
        return prompt

    def _cut_prompt(self, prompt: Prompt) -> Prompt:
        """The prompt without what does not fit into the model's window, which is said."""
        from audio2img.prompt import fit_prompt

        fit = self._loaded_backend().fit_prompt
        prompt = fit_prompt(prompt, fit)
        remedy = "(--long-prompt chunk takes all of it)"
        if prompt.dropped:
            self._warn(f"the prompt is longer than the model reads; left out: {prompt.dropped} {remedy}")
        negative, dropped = fit(prompt.negative)
        if dropped:
            self._warn(f"the negative prompt is longer than the model reads; left out: {dropped} {remedy}")
        return replace(prompt, negative=negative)

    def _make_request(self, prompt: Prompt, options: Options, init_image: InitImage | None) -> ImageRequest:
        import secrets

        defaults = self._loaded_backend().defaults
        width, height = options.size or (None, None)
        strength = options.strength
        if init_image is not None and strength is None:
            strength = DEFAULT_STRENGTH
        return ImageRequest(
            prompt=prompt.text,
            negative_prompt=prompt.negative,
            seed=secrets.randbelow(2**32) if options.seed is None else options.seed,
            steps=defaults.steps if options.steps is None else options.steps,
            guidance_scale=defaults.guidance_scale if options.guidance is None else options.guidance,
            scheduler=options.scheduler or defaults.scheduler,
            width=width,
            height=height,
            count=options.count,
            init_image=init_image,
            strength=strength,
            long_prompt=options.long_prompt,
            loras=self._loaded_backend().loras,
        )

    def _draw(self, draw: Draw, request: ImageRequest, pixels: Pixels | None) -> tuple[ImageResult, ...]:
        def report(step: DrawingStep) -> None:
            self._tell(Event("draw", step.done / step.total, preview=step.preview))

        self._tell(Event("draw", 0.0))
        with self._timed("draw"):
            return draw(request, report, self._cancelled.is_set, pixels)

    def _load_backend(self, model: ResolvedModel) -> ImageBackend:
        started = time.perf_counter()
        backend = load_backend(model, self._wishes)
        how = describe_backend(backend)
        took = f"{model.name} ready in {time.perf_counter() - started:.1f} s"
        self._tell(Event("load", 1.0, f"{took}: {how}" if how else took))
        return backend

    def _loaded_backend(self) -> ImageBackend:
        self.preload()
        assert self._backend is not None
        with self._timed("load"):  # what the person still waits for, not what was hidden behind the speech
            while not wait([self._backend], timeout=0.1).done:
                self._check_cancelled()
        return self._backend.result()

    def _load_recognizer(self, model: ResolvedModel) -> WhisperRecognizer:
        if self._recognizer is None:
            from audio2img.recognition.whisper import WhisperRecognizer

            self._recognizer = WhisperRecognizer(
                model.path,
                name=model.name,
                threads=self._threads,
                vad_model_path=self._vad_model,
                min_probability=model.min_probability,
            )
            self._recognizer.load()
        return self._recognizer

    def _why_no_sounds(self) -> str:
        """Why sounds cannot be named on this machine, and what would help; "" where they can.

        Raises ModelError for a model that was asked for by name and is missing or damaged.
        """
        try:
            self._load_classifier().load()
        except (MachineError, ModelError) as error:
            if self._sound_model is not None and isinstance(error, ModelError):
                raise
            return f"{error.message} ({error.remedy})"
        return ""

    def _load_classifier(self) -> SoundClassifier:
        if self._classifier is None:
            from audio2img.recognition.yamnet import SoundClassifier

            model = self.sound_model
            self._classifier = SoundClassifier(model.path, name=model.name)
        return self._classifier

    def _check_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise CancelledError("stopped")

    @contextmanager
    def _cancellable(self) -> Iterator[None]:
        """Make the pipeline usable again after a cancelled call."""
        try:
            yield
        except CancelledError:
            self._cancelled.clear()
            raise

    @contextmanager
    def _timed(self, stage: Stage) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._timings_s[stage] = self._timings_s.get(stage, 0.0) + time.perf_counter() - started

    def _take_timings(self) -> dict[str, float]:
        """Seconds spent in each stage since the last drawing."""
        timings, self._timings_s = self._timings_s, {}
        return timings

    def _tell(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)

    def _warn(self, text: str, stage: Stage = "prompt") -> None:
        self._tell(Event(stage, None, text, warning=True))


def in_background(work: Callable[[], Result]) -> Future[Result]:
    """What `work` will return. It runs in a thread that does not keep the program from ending."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="audio2img", daemon=True).start()
    return future


def _close_backend(loaded: Future[ImageBackend]) -> None:
    if loaded.exception() is None:
        loaded.result().close()


def _existing_vad_model(path: str | Path | None) -> Path | None:
    """The path of a VAD model that is given by its path or its name."""
    if path is None:
        return None
    vad_model = resolve_model(str(path), "vad").path
    if not vad_model.is_file():
        raise ModelError(f"no voice activity model at {vad_model}", "check the path, or leave it out")
    return vad_model


def _installed_vad_model() -> Path | None:
    from audio2img.store.catalog import find_missing

    return resolve_model(None, "vad").path if find_missing(None, "vad") is None else None


def _read_init_image(path: str | Path) -> tuple[InitImage, Pixels]:
    from audio2img.output.pixels import read_pixels

    pixels, sha256 = read_pixels(path)
    return InitImage(Path(path).name, sha256), pixels


def _matching_pixels(request: ImageRequest, path: str | Path | None) -> Pixels | None:
    """The pixels that `request` starts from. Raises InputError when `path` is missing or another picture."""
    wanted = request.init_image
    if wanted is None:
        return None
    remedy = f"give the same file: --init-image {wanted.name}"
    if path is None:
        raise InputError(f"the picture was drawn from another one, {wanted.name}", remedy)
    found, pixels = _read_init_image(path)
    if found.sha256 != wanted.sha256:
        raise InputError(f"{path} is not the picture that this one was drawn from ({wanted.name})", remedy)
    return pixels


def _name_of(source: AudioSource) -> str:
    if isinstance(source, AudioClip):
        return source.source
    if isinstance(source, (str, Path)):
        return "stdin" if str(source) == "-" else Path(source).name
    return Path(str(getattr(source, "name", "stream"))).name
