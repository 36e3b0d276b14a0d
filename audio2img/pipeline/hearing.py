"""From sound to what is said and which sounds are in it: files, clips, and a person at the microphone."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from audio2img.background import in_background
from audio2img.errors import CancelledError, MachineError, ModelError, NothingToDrawError
from audio2img.pipeline.call import Call
from audio2img.pipeline.events import Event, Listening, Stage
from audio2img.pipeline.models import Models
from audio2img.pipeline.options import Options
from audio2img.pipeline.turns import Turns
from audio2img.store.catalog import ResolvedModel
from audio2img.types import SAMPLE_RATE_HZ, AudioClip, Segment, SoundEvents, Transcript

if TYPE_CHECKING:
    from audio2img.audio.listening import Moment
    from audio2img.pipeline.live import LiveInput
    from audio2img.recognition import SpeechWishes

AudioSource = AudioClip | str | Path | BinaryIO
Sound = TypeVar("Sound", AudioClip | str | Path | BinaryIO, str | Path | BinaryIO)

SOUNDS_SAID = 3
MAX_DOWNLOAD_BYTES = 512 << 20  # nine hours of mp3, and 50 minutes of CD sound
RECORDING_TYPES = ("audio/", "video/", "application/octet-stream", "binary/octet-stream",
                   "application/ogg", "application/mp4", "")  # fmt: skip
SOUND_S = 6.0  # how long there is to listen for sounds, which nobody ends by falling silent


class Hearing:
    """The ears of one call, with models that others may be using, too: of those that cannot hear two
    callers at once, they take turns."""

    def __init__(self, models: Models, call: Call) -> None:
        self._models, self._call = models, call

    def record(self, live: LiveInput, seconds: float) -> AudioClip:
        """What is to be heard for `seconds`. Raises MachineError when there is nothing to hear with."""
        from audio2img.pipeline.live import record

        def report(done: float) -> None:
            self._check()
            self._call.tell(Event("record", done))

        with self._call.timed("record"):
            return record(live, seconds, report)

    def listen(self, live: LiveInput) -> AudioClip:
        """See `Session.listen`."""
        from audio2img.pipeline.live import hear_utterance

        if live.seconds is not None:
            return self.record(live, live.seconds)
        with self._call.timed("record"):
            return hear_utterance(self._with_vad(live), self._report_moment).clip()

    def hear_live(
        self, live: LiveInput, options: Options, on_clip: Callable[[AudioClip], None]
    ) -> tuple[AudioClip, Transcript | None]:
        """What there is to hear, and its words where they are known already.

        A person is listened to until they have stopped; what need not be words, which nobody ends by
        falling silent, is recorded for some seconds.
        """
        if live.seconds is not None or options.hear in ("sounds", "auto"):
            clip = self.record(live, live.seconds or SOUND_S)
            on_clip(clip)
            return clip, None
        heard: list[AudioClip] = []

        def take(clip: AudioClip) -> None:
            heard.append(clip)
            on_clip(clip)

        try:
            return self.hear(live, options, take)
        except NothingToDrawError:
            if options.hear != "both" or not heard:
                raise
            return heard[0], None  # no words, but perhaps a sound

    def hear(
        self, live: LiveInput, options: Options, on_clip: Callable[[AudioClip], None]
    ) -> tuple[AudioClip, Transcript]:
        """See `Session.hear`."""
        from audio2img.pipeline.live import hear_utterance
        from audio2img.recognition.partial import LiveTranscriber

        model = self._models.speech_model
        recognizer = self._models.recognizer()
        loading = in_background(recognizer.load)
        options = self._without_unusable_words(options, model)
        words = [""]

        def recognize(clip: AudioClip, is_stopped: Callable[[], bool]) -> Transcript:
            return self._recognize(clip, options, lambda: is_stopped() or self._call.is_cancelled())

        def report(moment: Moment) -> None:
            if loading.done():
                loading.result()  # a model that cannot be loaded is told before the person has spoken
            self._report_moment(moment, words[0])

        transcriber = LiveTranscriber(recognize, lambda partial: words.__setitem__(0, partial.text))
        with closing(transcriber):
            with self._call.timed("record"):
                utterance = hear_utterance(self._with_vad(live), report, transcriber)
                clip = utterance.clip()
            on_clip(clip)
            self._call.tell(Event("transcribe", None, words[0]))
            with self._call.timed("transcribe"):
                transcript = transcriber.finish(clip, utterance.bounds)
            self._call.tell(Event("transcribe", 1.0, transcript.text))
            return clip, transcript

    def _with_vad(self, live: LiveInput) -> LiveInput:
        """With the Silero VAD that is set or installed, where the caller names none."""
        return live if live.vad_model else replace(live, vad_model=self._models.find_vad_model())

    def _report_moment(self, moment: Moment, words: str = "") -> None:
        self._check()
        listening = Listening(moment.state != "waiting", moment.level_dbfs)
        self._call.tell(Event("record", None, words, listening=listening))

    def _check(self) -> None:
        """Stop here if asked to, or if the model that is to draw cannot: told while a person still speaks."""
        self._call.check()
        self._models.check_image_model(self._call)

    def recognize(
        self,
        audio: AudioSource,
        options: Options,
        heard: Transcript | None = None,
        watch: Callable[[NDArray[np.float32]], None] | None = None,
        on_sounds: Callable[[SoundEvents], None] = lambda sounds: None,
    ) -> tuple[Transcript | None, SoundEvents | None]:
        """What is said in `audio` and which sounds are in it, as far as `options.hear` asks for them.

        "auto" listens for words where speech leads all other sounds, or there are none; where it does not,
        or no words can be made out, the transcript is None. heard: the transcript, where it is known
        already; watch: see `Session.classify`; on_sounds: see `Session.recognize`. Raises what `transcribe`
        and `classify` raise.
        """
        if options.hear == "speech":
            return heard or self.transcribe(audio, options), None
        if options.hear == "sounds":
            sounds = self.classify(audio, watch=watch)
            on_sounds(sounds)
            return None, sounds
        if options.hear == "auto" and (reason := self._why_no_sounds()):
            self._call.warn(f"listening for words only, not for sounds: {reason}", "classify")
            return self.transcribe(audio, options), None
        _ = self._models.speech_model  # unknown models are refused before hours of sound are read
        audio = audio if _can_be_read_twice(audio) else self._decode(audio)
        sounds = self.classify(audio, watch=watch)
        on_sounds(sounds)
        is_silent = all(thing.role == "silence" for thing in sounds.summary.things)
        if options.hear == "auto" and not sounds.summary.speech_leads and not is_silent:
            return None, sounds
        try:  # of silence, too: what is too quiet, and what to do, is better said there
            return heard or self.transcribe(audio, options), sounds
        except NothingToDrawError as error:
            if not any(thing.role == "thing" for thing in sounds.summary.things):
                raise
            self._call.warn(f"{error.message}: drawing its sounds", "transcribe")
            return None, sounds

    def classify(
        self,
        audio: AudioSource,
        max_results: int | None = None,
        watch: Callable[[NDArray[np.float32]], None] | None = None,
    ) -> SoundEvents:
        """See `Session.classify`."""
        classifier = self._models.classifier()
        with self._turn(self._models.sound_turns, "classify"), self._call.timed("classify"):
            self._call.tell(Event("classify", 0.0))
            sounds = classifier.classify(
                self._blocks(audio, watch),
                source=name_of(audio),
                max_results=max_results,
                cancelled=self._call.is_cancelled,
            )
            heard = ", ".join(thing.phrase for thing in sounds.summary.things[:SOUNDS_SAID])
            self._call.tell(Event("classify", 1.0, heard))
            return sounds

    def _blocks(
        self, audio: AudioSource, watch: Callable[[NDArray[np.float32]], None] | None
    ) -> Iterator[NDArray[np.float32]]:
        """The sound in blocks, reported and watched as they pass."""
        from audio2img.audio.decode import stream_audio

        def report(done: float | None) -> None:
            self._call.tell(Event("classify", done))

        with self._at_hand(audio) as sound:
            blocks = sound.blocks() if isinstance(sound, AudioClip) else stream_audio(sound, progress=report)
            for block in blocks:
                if watch is not None:
                    watch(block)
                yield block

    def transcribe(self, audio: AudioSource, options: Options) -> Transcript:
        """What is said in `audio`, of which no more is held at once than the recognizer needs.

        Raises InputError, NothingToDrawError, ModelError or MachineError.
        """
        model = self._models.speech_model  # unknown models are refused before hours of sound are read
        options = self._without_unusable_words(options, model)
        said: list[str] = []

        with self._at_hand(audio) as sound, closing(_Reading(sound, self._call)) as reading:

            def report(segment: Segment) -> None:
                said.append(segment.text)
                self._call.tell(Event("transcribe", reading.share_at(segment.end_s), " ".join(said), segment))

            reading.begin()  # what is no sound is refused before a model is loaded
            with self._turn(self._models.speech_turns, "transcribe"), self._call.timed("transcribe"):
                transcript = self._models.recognizer().transcribe(
                    reading.blocks(),
                    _speech_wishes(options),
                    source=name_of(audio),
                    progress=report,
                    cancelled=self._call.is_cancelled,
                )
                self._call.check()
                self._call.tell(Event("transcribe", 1.0, transcript.text))
        return transcript

    def _recognize(self, clip: AudioClip, options: Options, cancelled: Callable[[], bool]) -> Transcript:
        """The words of a part of what is still being said: when it is its turn, without telling of it."""

        def check() -> None:
            if cancelled():
                raise CancelledError("given up before its turn came")

        with self._models.speech_turns.turn(check):
            return self._models.recognizer().transcribe(clip, _speech_wishes(options), cancelled=cancelled)

    def _turn(self, turns: Turns, stage: Stage) -> AbstractContextManager[None]:
        return turns.turn(self._call.check, lambda place: self._call.tell(Event.of_place(stage, place)))

    def _without_unusable_words(self, options: Options, model: ResolvedModel) -> Options:
        if not (options.initial_prompt and model.vocabulary):
            return options
        self._call.warn(f"{model.name} takes no initial prompt: left out", "transcribe")
        return replace(options, initial_prompt="")

    def _decode(self, audio: AudioSource) -> AudioClip:
        from audio2img.audio.decode import decode_audio

        if isinstance(audio, AudioClip):
            return audio

        def report(done: float | None) -> None:
            self._call.check()
            self._call.tell(Event("decode", done))

        with self._at_hand(audio) as sound, self._call.timed("decode"):
            return decode_audio(sound, progress=report)

    @contextmanager
    def _at_hand(self, audio: Sound) -> Iterator[Sound]:
        """`audio` itself; what an address names as a file, which is gone when the block ends."""
        if not (isinstance(audio, str) and "://" in audio):
            yield audio
            return
        from audio2img.fetch import Expected, fetch

        expected = Expected("a recording", RECORDING_TYPES, MAX_DOWNLOAD_BYTES)

        def report(done: float | None) -> None:
            self._call.tell(Event("fetch", done))

        with ExitStack() as stack:
            with self._call.timed("fetch"):
                report(None)
                file = stack.enter_context(fetch(audio, expected, progress=report, check=self._call.check))
            yield file

    def _why_no_sounds(self) -> str:
        """Why sounds cannot be named on this machine, and what would help; "" where they can.

        Raises ModelError for a model that was asked for by name and is missing or damaged.
        """
        try:
            self._models.classifier().load()
        except (MachineError, ModelError) as error:
            if self._models.is_sound_model_named and isinstance(error, ModelError):
                raise
            return f"{error.message} ({error.remedy})"
        return ""


class _Reading:
    """Sound on its way to the recognizer, block by block, and how far it is. Once through, then `close`."""

    def __init__(self, audio: AudioSource, call: Call) -> None:
        from audio2img.audio.decode import stream_audio

        self._call = call
        self._share: float | None = None
        self._passed_s = 0.0
        self._clip_s = 0.0
        self._is_told = False  # that the recognizer has something: what is read besides is no news any more
        if isinstance(audio, AudioClip):
            self._clip_s = audio.duration_s
            self._blocks = audio.blocks()
        else:
            self._blocks = stream_audio(audio, progress=self._report)
        self._first: NDArray[np.float32] | None = None

    def begin(self) -> None:
        """Read the first block. Raises InputError."""
        self._first = self._next()

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        while self._first is not None:
            block, self._first = self._first, None
            yield block
            self._first = self._next()
        if not self._is_told:
            self._call.tell(Event("transcribe", 0.0))

    def share_at(self, seconds: float) -> float | None:
        """Which part of the whole ends here, in [0, 1], by what has been read so far of it."""
        self._is_told = True
        whole_s = self._passed_s / self._share if self._share else self._clip_s
        return min(1.0, seconds / whole_s) if whole_s else None

    def close(self) -> None:
        if isinstance(self._blocks, Generator):
            self._blocks.close()

    def _next(self) -> NDArray[np.float32] | None:
        with self._call.timed("decode"):
            block = next(self._blocks, None)
        if block is not None:
            self._passed_s += block.size / SAMPLE_RATE_HZ
        return block

    def _report(self, share: float | None) -> None:
        self._call.check()
        self._share = share
        if not self._is_told:
            self._call.tell(Event("decode", share))


def _can_be_read_twice(audio: AudioSource) -> bool:
    """Clips and files of their own; no pipe, and no file object, whose place is its owner's."""
    return isinstance(audio, AudioClip) or (
        isinstance(audio, (str, Path)) and str(audio) != "-" and Path(audio).is_file()
    )


def _speech_wishes(options: Options) -> SpeechWishes:
    from audio2img.recognition import SpeechWishes

    return SpeechWishes(options.language, options.task, options.initial_prompt)


def name_of(source: AudioSource) -> str:
    """What a source of sound is called in messages and in the picture's memory."""
    if isinstance(source, AudioClip):
        return source.source
    if isinstance(source, str) and "://" in source:
        from audio2img.fetch import name_of_url

        return name_of_url(source)
    if isinstance(source, (str, Path)):
        return "stdin" if str(source) == "-" else Path(source).name
    return Path(str(getattr(source, "name", "stream"))).name
