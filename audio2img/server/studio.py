"""The studio: models that stay loaded, and the jobs of those who visit it."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from audio2img.audio.spectrogram import Spectrogram
from audio2img.backends.protocol import DrawingWishes
from audio2img.background import in_background
from audio2img.errors import CancelledError, InputError, UsageError
from audio2img.faults import as_told
from audio2img.pipeline.drawing import Drawing, Origin
from audio2img.pipeline.live import LiveInput
from audio2img.pipeline.models import Models
from audio2img.pipeline.options import Options
from audio2img.pipeline.session import SOUNDS_REMEMBERED
from audio2img.server.gallery import Gallery
from audio2img.server.hands import Hands
from audio2img.server.incoming import IncomingSound
from audio2img.server.jobs import Job, JobKind, Visitor
from audio2img.server.orders import DrawOrder, HearOrder
from audio2img.server.sounds import describe_sounds
from audio2img.server.uploads import Uploads
from audio2img.types import SAMPLE_RATE_HZ, AudioClip, SoundSummary, Transcript

if TYPE_CHECKING:
    from audio2img.pipeline.wishes import Wishes

logger = logging.getLogger(__name__)

GOODBYE_S = 5.0  # how long those who work are waited for at the end
FORGOTTEN_S = 3600.0  # a tab that is away and has no job


@dataclass(frozen=True)
class Limits:
    """upload_bytes: of one recording; minutes: of sound in it; waiting: jobs of one tab that are not over;
    jobs: of all tabs; visitors: tabs that are known at once; pictures: of one order."""

    upload_bytes: int = 512 << 20
    minutes: float = 30.0
    waiting: int = 4
    jobs: int = 64
    visitors: int = 1000
    pictures: int = 100


class TooManyJobsError(UsageError):
    """There is no room for another one just now."""


@dataclass(frozen=True)
class Heard:
    """What a listening gave."""

    clip: AudioClip
    transcript: Transcript | None = None
    sounds: SoundSummary | None = None

    @property
    def words(self) -> str:
        return "" if self.transcript is None else self.transcript.text

    @property
    def origin(self) -> Origin:
        return Origin(self.transcript, self.sounds, self.clip.source)


class Studio:
    """One queue for all who visit: each job has a thread, and they take turns at the models.

    wishes: what the server was started with, which holds where a tab asks for nothing else.
    pictures: the folder of the gallery. For any thread.
    """

    def __init__(self, wishes: Wishes, pictures: Path, limits: Limits = Limits()) -> None:
        self.wishes, self.pictures, self.limits = wishes, pictures, limits
        self.gallery = Gallery(pictures)
        self.uploads = Uploads(pictures)
        self.ears = Models(wishes.models(), DrawingWishes())
        self.hands = Hands(wishes.models(), wishes.drawing())
        self._lock = threading.Lock()
        self._visitors: dict[str, Visitor] = {}
        self._numbers = itertools.count(1)
        self._at_work: set[Job] = set()
        self._changed = threading.Condition(self._lock)
        self._is_closed = False

    # Who visits

    def visitor(self, name: str) -> Visitor:
        """The tab of that name, which is made known if need be."""
        with self._lock:
            if name not in self._visitors:
                self._forget_some()
                self._visitors[name] = Visitor(name)
            visitor = self._visitors[name]
            visitor.seen_s = time.monotonic()
            return visitor

    def _forget_some(self) -> None:
        """Those that have been away for long; where there are too many all the same, those longest away."""
        idle = sorted((one for one in self._visitors.values() if one.is_idle), key=lambda one: one.seen_s)
        long_ago = time.monotonic() - FORGOTTEN_S
        too_many = len(self._visitors) - self.limits.visitors + 1
        for number, one in enumerate(idle):
            if one.seen_s < long_ago or number < too_many:
                del self._visitors[one.name]
                self.uploads.forget(one)
        if len(self._visitors) >= self.limits.visitors:
            raise TooManyJobsError("too many tabs are open here", "close some, and try again in a minute")

    # What they ask for

    def draw(self, visitor: Visitor, order: DrawOrder) -> Job:
        """Raises UsageError for what cannot be drawn, TooManyJobsError."""
        if not order.prompt:
            raise UsageError("there are no words to draw", "speak, or write some")
        options = self._options(visitor, order)
        source = visitor.find(order.words_of)
        origin = Origin() if source is None else source.origin
        work = partial(self._draw, order=order, options=options, origin=origin)
        return self._begin(visitor, "draw", work, order.parent)

    def hear(self, visitor: Visitor, recording: BinaryIO, name: str, order: HearOrder) -> Job:
        """recording: closed when the job is over. Raises UsageError, TooManyJobsError."""
        self._check_after(visitor, order)

        def work(job: Job) -> None:
            with recording:
                clip = self._decode(job, recording, name)
            self._go_on(visitor, job, order, self._recognize(job, clip, order))

        return self._begin(visitor, "hear", work, _parent_of(order))

    def speak(self, visitor: Visitor, rate_hz: int, order: HearOrder) -> tuple[Job, IncomingSound]:
        """Somebody is about to speak; their sound is to be put into what this gives.

        Raises UsageError, InputError for the rate, TooManyJobsError.
        """
        self._check_after(visitor, order)
        sound = IncomingSound(rate_hz)

        def work(job: Job) -> None:
            job.when_stopped(sound.end)
            try:
                heard = self._listen(job, sound, order)
            finally:
                sound.end()
            self._go_on(visitor, job, order, heard)

        self.hands.preload()  # while the person speaks
        return self._begin(visitor, "speak", work, _parent_of(order)), sound

    def check_room(self, visitor: Visitor) -> None:
        """Raises TooManyJobsError where no job can begin just now, UsageError after `close`."""
        if self._is_closed:
            raise UsageError("the server is being closed", "start it again: audio2img serve")
        if len(visitor.running) >= self.limits.waiting:
            raise TooManyJobsError(
                f"{self.limits.waiting} things of yours are still being done here",
                "wait until one of them is finished, or stop one",
            )
        if len(self._at_work) >= self.limits.jobs:
            raise TooManyJobsError("too many are waiting here already", "try again in a minute")

    def stop(self, visitor: Visitor, number: str | None = None) -> int:
        """Stop one job of this tab, or all; how many were."""
        jobs = visitor.running if number is None else [visitor.find(number)]
        return sum(job is not None and job.stop() for job in jobs)

    def close(self) -> None:
        """Stop all jobs, wait until they have stopped, and free the models."""
        with self._lock:
            self._is_closed = True
            jobs = list(self._at_work)
        for job in jobs:
            job.stop()
        with self._changed:
            self._changed.wait_for(lambda: not self._at_work, GOODBYE_S)
        self.ears.close()
        self.hands.close()
        self.uploads.close()

    # Jobs

    def _begin(self, visitor: Visitor, kind: JobKind, work: Callable[[Job], None], parent: str) -> Job:
        with self._lock:
            self.check_room(visitor)
            job = visitor.add(str(next(self._numbers)), kind, parent)
            self._at_work.add(job)
        in_background(partial(self._work, job, work))
        return job

    def _work(self, job: Job, work: Callable[[Job], None]) -> None:
        try:
            work(job)
            job.end("done")
        except CancelledError:
            job.end("stopped")
        except Exception as error:  # a fault of ours is told, too, and ends no other job
            job.end("failed", as_told(error))
        finally:
            with self._changed:
                self._at_work.discard(job)
                self._changed.notify_all()

    def _options(self, visitor: Visitor, order: DrawOrder) -> Options:
        """Raises UsageError for what cannot be, InputError for a picture that is not there, ModelError."""
        self.hands.check(order.model)
        start = None
        if order.start:
            start = self.uploads.find(visitor, order.start) or self.gallery.path_of(order.start)
        options = order.options(self.wishes, start)
        if options.count > self.limits.pictures:
            raise UsageError(
                f"{options.count} pictures are more than the {self.limits.pictures} taken at once here",
                "ask for fewer: others wait for them",
            )
        return options

    def _check_after(self, visitor: Visitor, order: HearOrder) -> None:
        for after in (order.draw, order.revise):
            if after is not None:
                self._options(visitor, after)

    # Hearing

    def _decode(self, job: Job, recording: BinaryIO, name: str) -> AudioClip:
        """Raises InputError for what is no recording, or is longer than the server takes."""
        import numpy as np

        from audio2img.audio.decode import stream_audio

        most = int(self.limits.minutes * 60 * SAMPLE_RATE_HZ)
        blocks: list[Any] = []
        n_samples = 0
        for block in stream_audio(recording, progress=lambda done: job.change(stage="decode", done=done)):
            job.check()
            blocks.append(block)
            n_samples += block.size
            if n_samples > most:
                raise InputError(
                    f"{name} is longer than the {self.limits.minutes:g} minutes that are taken here",
                    f"cut it, or run: audio2img run {name}",
                )
        return AudioClip(np.concatenate(blocks), name)

    def _recognize(self, job: Job, clip: AudioClip, order: HearOrder) -> Heard:
        spectrogram = Spectrogram()
        with job.session(self.ears) as session:
            transcript, sounds = session.recognize(
                clip,
                order.options(self.wishes),
                spectrogram.add,
                lambda sounds: job.change(sounds=describe_sounds(sounds, spectrogram)),
            )
        summary = None if sounds is None else sounds.summary.shortened(SOUNDS_REMEMBERED)
        return Heard(clip, transcript, summary)

    def _listen(self, job: Job, sound: IncomingSound, order: HearOrder) -> Heard:
        """Until the person has stopped, or pressed; where it need not be words, until they have pressed."""
        options = order.options(self.wishes)
        with job.session(self.ears) as session:
            if order.hear == "speech":
                clip, transcript = session.hear(self._live(sound), options, lambda clip: sound.end())
                return Heard(clip, transcript)
            clip = session.listen(self._live(sound, is_timed=order.hear != "both"))
        sound.end()
        return self._recognize(job, clip, order)

    def _live(self, sound: IncomingSound, is_timed: bool = False) -> LiveInput:
        """is_timed: to the end of the sound, instead of until somebody has fallen silent."""
        live = LiveInput(chunks=sound.chunks(), **self.wishes.patience())
        return replace(live, seconds=live.limit_s) if is_timed else live

    def _go_on(self, visitor: Visitor, job: Job, order: HearOrder, heard: Heard) -> None:
        """The words are there: show them, and draw what was asked for."""
        after = order.revise or order.draw
        in_mini_world = self.hands.vocabulary(after.model if after else None) == "mini_world"
        words = heard.words or _scene_of(heard, in_mini_world)
        job.origin = heard.origin
        job.change(words=words, final=True, stage="")
        if order.revise is not None:
            after = self._revise(job, order.revise, words, in_mini_world)
            if not order.draws_at_once:
                return
        if after is None:
            return
        sounds = None
        if order.revise is None:
            after = replace(after, prompt=heard.words)
            sounds = heard.sounds if order.hear == "both" or not heard.words else None
        options = self._options(visitor, after)
        self._draw(job, after, options, heard.origin, sounds)
        if order.keeps_sound:
            self._keep_sound(job, heard.clip)

    def _revise(self, job: Job, order: DrawOrder, words: str, in_mini_world: bool) -> DrawOrder | None:
        """The order with its words changed as was said; None where nothing was."""
        from audio2img.prompt import revise

        revision = revise(order.prompt, words, in_mini_world=in_mini_world)
        job.change(revised=asdict(revision))
        if not revision.changed:
            return None
        wishes = dict(order.wishes)
        if revision.negative:
            wishes["negative"] = ", ".join(filter(None, [wishes.get("negative"), revision.negative]))
        return replace(order, prompt=revision.prompt, wishes=wishes)

    # Drawing

    def _draw(
        self, job: Job, order: DrawOrder, options: Options, origin: Origin, sounds: SoundSummary | None = None
    ) -> None:
        def wait(place: int) -> None:
            job.change(stage="draw", place=place, done=None)

        with self.hands.holding(order.model, job.check, wait) as models, job.session(models) as session:
            job.change(place=0)
            session.generate(
                order.prompt, options, sounds, on_picture=partial(self._keep, job), origin=origin
            )

    def _keep(self, job: Job, drawing: Drawing) -> None:
        names = [path.name for path in drawing.save(self.pictures)]
        job.change(pictures=(*job.view.pictures, *names), prompt=drawing.prompt.text)

    def _keep_sound(self, job: Job, clip: AudioClip) -> None:
        """Beside the first picture, under its name."""
        from audio2img.output.sound import write_sound

        if job.view.pictures:
            write_sound(clip, (self.pictures / job.view.pictures[0]).with_suffix(".wav"))


def _parent_of(order: HearOrder) -> str:
    return order.revise.parent if order.revise is not None else ""


def _scene_of(heard: Heard, in_mini_world: bool) -> str:
    """What the sounds are as something to draw; "" where none is a thing."""
    from audio2img.prompt.scene import write_scene

    if heard.sounds is None:
        return ""
    return write_scene(heard.sounds.things, "", in_mini_world=in_mini_world).text
