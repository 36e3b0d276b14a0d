"""From sound to what is said and which sounds are in it: files, clips, and a person at the microphone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from audio2img.background import in_background
from audio2img.errors import MachineError, ModelError, NothingToDrawError
from audio2img.pipeline.events import Event, Listening
from audio2img.pipeline.options import Options
from audio2img.pipeline.progress import Progress
from audio2img.store.catalog import ResolvedModel, find_missing, resolve_model
from audio2img.types import AudioClip, Segment, SoundEvents, Transcript

if TYPE_CHECKING:
    from audio2img.audio.listening import Moment
    from audio2img.pipeline.live import LiveInput
    from audio2img.recognition import SoundClassifier, SpeechRecognizer

AudioSource = AudioClip | str | Path | BinaryIO

SOUNDS_SAID = 3


@dataclass(frozen=True)
class HearingModels:
    """Which models hear; names or paths, None for the default. vad: a Silero file; threads: for speech."""

    speech: str | None = None
    sound: str | None = None
    vad: Path | None = None
    threads: int | None = None


class Hearing:
    """The ears of a pipeline. Its models are loaded when they are first needed, and kept.

    while_listening: called several times a second while a person is listened to; what it raises is
    raised there.
    """

    def __init__(
        self, models: HearingModels, progress: Progress, while_listening: Callable[[], None] = lambda: None
    ) -> None:
        self._models = models
        self._progress = progress
        self._while_listening = while_listening
        self._recognizer: SpeechRecognizer | None = None
        self._classifier: SoundClassifier | None = None

    def close(self) -> None:
        """Free the models; closing twice is no error."""
        if self._recognizer is not None:
            self._recognizer.close()
        if self._classifier is not None:
            self._classifier.close()
        self._recognizer = self._classifier = None

    @cached_property
    def speech_model(self) -> ResolvedModel:
        """The model that hears words. Raises ModelError when it cannot be found."""
        return resolve_model(self._models.speech, "speech")

    @cached_property
    def sound_model(self) -> ResolvedModel:
        """The model that names sounds. Raises ModelError when it cannot be found."""
        return resolve_model(self._models.sound, "sound")

    def record(self, seconds: float, device: str | None = None) -> AudioClip:
        """What the microphone hears for `seconds`. Raises MachineError when there is none to hear with."""
        from audio2img.audio.microphone import record_audio

        def report(done: float) -> None:
            self._progress.check()
            self._progress.tell(Event("record", done))

        with self._progress.cancellable():
            return record_audio(seconds, device=device, progress=report)

    def listen(self, live: LiveInput) -> AudioClip:
        """What one person says into the microphone, until they have stopped.

        Raises NothingToDrawError when nobody speaks, MachineError when there is nothing to hear with.
        """
        from audio2img.pipeline.live import hear_utterance

        with self._progress.cancellable(), self._progress.timed("record"):
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
        from audio2img.pipeline.live import hear_utterance
        from audio2img.recognition.partial import LiveTranscriber

        model = self.speech_model
        recognizer = self._load_recognizer(model)
        loading = in_background(recognizer.load)
        options = self._without_unusable_words(options, model)
        words = [""]

        def recognize(clip: AudioClip, is_stopped: Callable[[], bool]) -> Transcript:
            return self._recognize(
                recognizer, clip, options, lambda: is_stopped() or self._progress.is_cancelled()
            )

        def report(moment: Moment) -> None:
            if loading.done():
                loading.result()  # a model that cannot be loaded is told before the person has spoken
            self._report_moment(moment, words[0])

        transcriber = LiveTranscriber(recognize, lambda partial: words.__setitem__(0, partial.text))
        with self._progress.cancellable(), closing(transcriber):
            with self._progress.timed("record"):
                utterance = hear_utterance(self._with_vad(live), report, transcriber)
                clip = utterance.clip()
            on_clip(clip)
            self._progress.tell(Event("transcribe", None, words[0]))
            with self._progress.timed("transcribe"):
                transcript = transcriber.finish(clip, utterance.bounds)
            self._progress.tell(Event("transcribe", 1.0, transcript.text))
            return clip, transcript

    def _with_vad(self, live: LiveInput) -> LiveInput:
        """With the Silero VAD that is set or installed, where the caller names none."""
        return live if live.vad_model else replace(live, vad_model=self._models.vad or _installed_vad_model())

    def _report_moment(self, moment: Moment, words: str = "") -> None:
        self._progress.check()
        self._while_listening()
        listening = Listening(moment.state != "waiting", moment.level_dbfs)
        self._progress.tell(Event("record", None, words, listening=listening))

    def recognize(
        self, audio: AudioSource, options: Options = Options(), heard: Transcript | None = None
    ) -> tuple[Transcript | None, SoundEvents | None]:
        """What is said in `audio` and which sounds are in it, as far as `options.hear` asks for them.

        "auto" listens for words where speech leads all other sounds, or there are none; where it does not,
        or no words can be made out, the transcript is None. heard: the transcript, where it is known
        already. Raises what `transcribe` and `classify` raise.
        """
        if options.hear == "speech":
            return heard or self.transcribe(audio, options), None
        if options.hear == "sounds":
            return None, self.classify(audio)
        if options.hear == "auto" and (reason := self._why_no_sounds()):
            self._progress.warn(f"listening for words only, not for sounds: {reason}", "classify")
            return self.transcribe(audio, options), None
        _ = self.speech_model  # unknown models are refused before hours of sound are read
        clip = audio if isinstance(audio, AudioClip) else self._decode(audio)
        sounds = self.classify(clip)
        is_silent = all(thing.role == "silence" for thing in sounds.summary.things)
        if options.hear == "auto" and not sounds.summary.speech_leads and not is_silent:
            return None, sounds
        try:  # of silence, too: what is too quiet, and what to do, is better said there
            return heard or self.transcribe(clip, options), sounds
        except NothingToDrawError as error:
            if not any(thing.role == "thing" for thing in sounds.summary.things):
                raise
            self._progress.warn(f"{error.message}: drawing its sounds", "transcribe")
            return None, sounds

    def classify(
        self,
        audio: AudioSource,
        max_results: int | None = None,
        watch: Callable[[NDArray[np.float32]], None] | None = None,
    ) -> SoundEvents:
        """See `Pipeline.classify`."""
        classifier = self._load_classifier()
        with self._progress.cancellable(), self._progress.timed("classify"):
            self._progress.tell(Event("classify", 0.0))
            sounds = classifier.classify(
                self._blocks(audio, watch),
                source=name_of(audio),
                max_results=max_results,
                cancelled=self._progress.is_cancelled,
            )
            heard = ", ".join(thing.phrase for thing in sounds.summary.things[:SOUNDS_SAID])
            self._progress.tell(Event("classify", 1.0, heard))
            return sounds

    def _blocks(
        self, audio: AudioSource, watch: Callable[[NDArray[np.float32]], None] | None
    ) -> Iterator[NDArray[np.float32]]:
        """The sound in blocks, reported and watched as they pass."""
        from audio2img.audio.decode import stream_audio

        def report(done: float | None) -> None:
            self._progress.tell(Event("classify", done))

        for block in audio.blocks() if isinstance(audio, AudioClip) else stream_audio(audio, progress=report):
            if watch is not None:
                watch(block)
            yield block

    def transcribe(self, audio: AudioSource, options: Options = Options()) -> Transcript:
        """What is said in `audio`. Raises InputError, NothingToDrawError or ModelError."""
        model = self.speech_model  # unknown models are refused before hours of sound are read
        with self._progress.cancellable():
            clip = audio if isinstance(audio, AudioClip) else self._decode(audio)
            with self._progress.timed("transcribe"):
                return self._transcribe_clip(clip, model, options)

    def _transcribe_clip(self, clip: AudioClip, model: ResolvedModel, options: Options) -> Transcript:
        recognizer = self._load_recognizer(model)
        said: list[str] = []

        def report(segment: Segment) -> None:
            said.append(segment.text)
            done = min(1.0, segment.end_s / clip.duration_s) if clip.duration_s else None
            self._progress.tell(Event("transcribe", done, " ".join(said), segment))

        options = self._without_unusable_words(options, model)
        self._progress.tell(Event("transcribe", 0.0))
        transcript = self._recognize(recognizer, clip, options, self._progress.is_cancelled, report)
        self._progress.check()
        self._progress.tell(Event("transcribe", 1.0, transcript.text))
        return transcript

    @staticmethod
    def _recognize(
        recognizer: SpeechRecognizer,
        clip: AudioClip,
        options: Options,
        cancelled: Callable[[], bool],
        progress: Callable[[Segment], None] | None = None,
    ) -> Transcript:
        from audio2img.recognition import SpeechWishes

        wishes = SpeechWishes(options.language, options.task, options.initial_prompt)
        return recognizer.transcribe(clip, wishes, progress=progress, cancelled=cancelled)

    def _without_unusable_words(self, options: Options, model: ResolvedModel) -> Options:
        if not (options.initial_prompt and model.vocabulary):
            return options
        self._progress.warn(f"{model.name} takes no initial prompt: left out", "transcribe")
        return replace(options, initial_prompt="")

    def _decode(self, audio: str | Path | BinaryIO) -> AudioClip:
        from audio2img.audio.decode import decode_audio

        def report(done: float | None) -> None:
            self._progress.check()
            self._progress.tell(Event("decode", done))

        with self._progress.cancellable(), self._progress.timed("decode"):
            return decode_audio(audio, progress=report)

    def _load_recognizer(self, model: ResolvedModel) -> SpeechRecognizer:
        if self._recognizer is None:
            from audio2img.recognition import SpeechSetup, load_recognizer

            self._recognizer = load_recognizer(model, SpeechSetup(self._models.threads, self._models.vad))
        return self._recognizer

    def _why_no_sounds(self) -> str:
        """Why sounds cannot be named on this machine, and what would help; "" where they can.

        Raises ModelError for a model that was asked for by name and is missing or damaged.
        """
        try:
            self._load_classifier().load()
        except (MachineError, ModelError) as error:
            if self._models.sound is not None and isinstance(error, ModelError):
                raise
            return f"{error.message} ({error.remedy})"
        return ""

    def _load_classifier(self) -> SoundClassifier:
        if self._classifier is None:
            from audio2img.recognition import load_classifier

            self._classifier = load_classifier(self.sound_model)
        return self._classifier


def existing_vad_model(path: str | Path | None) -> Path | None:
    """The path of a VAD model that is given by its path or its name."""
    if path is None:
        return None
    vad_model = resolve_model(str(path), "vad").path
    if not vad_model.is_file():
        raise ModelError(f"no voice activity model at {vad_model}", "check the path, or leave it out")
    return vad_model


def _installed_vad_model() -> Path | None:
    return resolve_model(None, "vad").path if find_missing(None, "vad") is None else None


def name_of(source: AudioSource) -> str:
    """What a source of sound is called in messages and in the picture's memory."""
    if isinstance(source, AudioClip):
        return source.source
    if isinstance(source, (str, Path)):
        return "stdin" if str(source) == "-" else Path(source).name
    return Path(str(getattr(source, "name", "stream"))).name
