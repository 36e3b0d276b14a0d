"""Words while a person is still speaking: the newest stretch is transcribed again and again, in threads.

A recognizer hears a stretch as a whole, so a partial transcript is made from all of it. It begins anew
at every pause, because the speech may be over there: then nothing is left to do at its end. Where the
speech goes on after such a pause, the words before it stand, and the next stretch begins.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from audio2img.errors import CancelledError, NothingToDrawError
from audio2img.types import SAMPLE_RATE_HZ, AudioClip, Segment, Transcript

Bounds = tuple[int, int]
Recognize = Callable[[AudioClip, Callable[[], bool]], Transcript]

NEWS_S = 1.0  # of more speech is worth another partial transcript
REST = 2.0  # times what the last one took: so long the processor is left to others
LONG_PAUSE_S = 0.5  # for this, what is under way is given up: the speech is probably over
SENTENCE_PAUSE_S = 0.7  # within a sentence, speakers rarely wait that long
SHORTEST_STRETCH_S = 4.0  # less is too little for a model to understand by itself
LONG_STRETCH_S = 20.0  # from here on any pause ends a stretch: Whisper hears 30 s at once
POLL_S = 0.1


class LiveTranscriber:
    """Calls `recognize` on more and more of an utterance, once at a time. Only `finish` and `close` wait.

    recognize: called in a thread with a clip and a function that turns True when it should stop, soon
    and with CancelledError. on_partial: called in that thread with each transcript, of all the speech.
    """

    def __init__(self, recognize: Recognize, on_partial: Callable[[Transcript], None]) -> None:
        self._recognize = recognize
        self._on_partial = on_partial
        self._attempt: _Attempt | None = None

    def wants(self, bounds: Bounds, pause_s: float | None) -> bool:
        """Whether it is time to `offer` the speech with these bounds.

        bounds: its first sample and the one after its last, among all that was heard.
        pause_s: how long it has been quiet since, None while all of the last word may not be there.
        """
        last = self._attempt
        if last is not None and last.bounds == bounds and pause_s is not None:
            last.pause_s = max(last.pause_s, pause_s)
        news_s = (bounds[1] - (last.bounds[1] if last else bounds[0])) / SAMPLE_RATE_HZ
        if pause_s is not None and (last is None or last.bounds != bounds):
            return last is None or last.stands or last.rested_s is not None or pause_s >= LONG_PAUSE_S
        has_rested = last is None or (last.rested_s is not None and last.rested_s >= REST * last.took_s)
        return has_rested and news_s >= NEWS_S

    def offer(self, clip: AudioClip, bounds: Bounds) -> None:
        """Begin with this clip, all of the speech so far. What is under way is given up, unless it stands."""
        last = self._attempt
        before = None
        if last is not None and last.bounds[0] == bounds[0] and last.bounds[1] <= bounds[1]:
            before = last if last.stands else last.before
        if last is not None and before is not last:
            last.stop()
        self._attempt = _Attempt(self._recognize, self._on_partial, clip, bounds, before, last)

    def finish(self, clip: AudioClip, bounds: Bounds) -> Transcript:
        """The words of the whole utterance, which are there where its bounds are those of the last offer.

        Raises what `recognize` raises.
        """
        if self._attempt is None or self._attempt.bounds != bounds:
            self.offer(clip, bounds)
        assert self._attempt is not None
        return self._attempt.result()

    def close(self) -> None:
        """Stop whatever is under way and wait until it has stopped."""
        attempt = self._attempt
        while attempt is not None:
            attempt.stop()
            attempt = attempt.before
        if self._attempt is not None:
            self._attempt.wait()


class _Attempt:
    """One transcription in a thread of its own: of the speech from where the words before it stand.

    bounds: of all the speech. before: the attempt whose words stand. last: the one that has to end
    first. pause_s: how long it has been quiet after it. took_s: how long it took, once it has finished.
    """

    def __init__(
        self,
        recognize: Recognize,
        on_partial: Callable[[Transcript], None],
        clip: AudioClip,
        bounds: Bounds,
        before: _Attempt | None,
        last: _Attempt | None,
    ) -> None:
        self.bounds = bounds
        self.before = before
        self.pause_s = 0.0
        self.took_s = 0.0
        self._start = bounds[0] if before is None else before.bounds[1]
        self._finished_at: float | None = None
        self._stopped = threading.Event()
        self._transcript: Transcript | None = None  # of what is new in it, in the time of all the speech
        self._fault: BaseException | None = None

        def work() -> None:
            if last is not None:
                last.wait()
            started = time.monotonic()
            try:
                self._transcript = self._transcribe(recognize, clip)
                on_partial(self.joined())
            except BaseException as error:  # handed over to whoever asks for the result
                self._fault = error
            finished_at = time.monotonic()
            self.took_s = finished_at - started
            self._finished_at = finished_at

        self._thread = threading.Thread(target=work, name="live transcription", daemon=True)
        self._thread.start()

    def _transcribe(self, recognize: Recognize, clip: AudioClip) -> Transcript:
        if self._stopped.is_set():
            raise CancelledError("given up before it began")
        offset = self._start - self.bounds[0]
        new = AudioClip(clip.samples[offset:], clip.source)
        transcript = recognize(new, self._stopped.is_set)
        offset_s = offset / SAMPLE_RATE_HZ
        return replace(transcript, segments=tuple(_moved(one, offset_s) for one in transcript.segments))

    @property
    def stands(self) -> bool:
        """Whether its words will not change by what is said afterwards."""
        stretch_s = (self.bounds[1] - self._start) / SAMPLE_RATE_HZ
        if stretch_s < SHORTEST_STRETCH_S or self._stopped.is_set():
            return False
        return self.pause_s >= SENTENCE_PAUSE_S or (self.pause_s > 0 and stretch_s >= LONG_STRETCH_S)

    @property
    def rested_s(self) -> float | None:
        """Seconds since it finished, None while it is at work."""
        return None if self._finished_at is None else time.monotonic() - self._finished_at

    def stop(self) -> None:
        self._stopped.set()

    def wait(self) -> None:
        while self._thread.is_alive():  # with a limit, so that Ctrl-C is heard on every system
            self._thread.join(POLL_S)

    def joined(self) -> Transcript:
        """Its words after those that stand.

        Raises what the recognizer raised; that there are no words, only where there are none at all.
        """
        transcripts = [part._transcript for part in self._chain() if part._transcript is not None]
        for part in self._chain():
            if part._fault is not None and not (transcripts and isinstance(part._fault, NothingToDrawError)):
                raise part._fault
        segments = tuple(segment for transcript in transcripts for segment in transcript.segments)
        return replace(transcripts[0], segments=segments)

    def _chain(self) -> list[_Attempt]:
        """The attempts whose words stand, in order, and this one."""
        return [self] if self.before is None else [*self.before._chain(), self]

    def result(self) -> Transcript:
        self.wait()
        return self.joined()


def _moved(segment: Segment, by_s: float) -> Segment:
    return replace(segment, start_s=segment.start_s + by_s, end_s=segment.end_s + by_s)
