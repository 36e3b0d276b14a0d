"""Words while a person is still speaking: what is there is transcribed again and again, in a thread.

Whisper hears a window as a whole, so a partial transcript is made from all of the speech so far. It
begins anew at every pause, because the speech may be over there: then nothing is left to do at its end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from audio2img.types import SAMPLE_RATE_HZ, AudioClip, Transcript

Bounds = tuple[int, int]
Recognize = Callable[[AudioClip, Callable[[], bool]], Transcript]

NEWS_S = 1.0  # of more speech is worth another partial transcript
REST = 2.0  # times what the last one took: so long the processor is left to others
LONG_PAUSE_S = 0.5  # for this, what is under way is given up: the speech is probably over


class LiveTranscriber:
    """Calls `recognize` on more and more of an utterance, once at a time.

    recognize: called in a thread with a clip and a function that turns True when it should stop with
    CancelledError. on_partial: called in that thread with each transcript.
    """

    def __init__(self, recognize: Recognize, on_partial: Callable[[Transcript], None]) -> None:
        self._recognize = recognize
        self._on_partial = on_partial
        self._attempt: _Attempt | None = None

    def wants(self, bounds: Bounds, pause_s: float | None) -> bool:
        """Whether it is time to `offer` the speech with these bounds.

        pause_s: how long it has been quiet since, None while all of the last word may not be there.
        """
        last = self._attempt
        news_s = (bounds[1] - (last.bounds[1] if last else bounds[0])) / SAMPLE_RATE_HZ
        if pause_s is not None and (last is None or last.bounds != bounds):
            return last is None or last.rested_s is not None or pause_s >= LONG_PAUSE_S
        has_rested = last is None or (last.rested_s is not None and last.rested_s >= REST * last.took_s)
        return has_rested and news_s >= NEWS_S

    def offer(self, clip: AudioClip, bounds: Bounds) -> None:
        """Begin with this clip; an attempt that is under way is given up."""
        self.close()
        self._attempt = _Attempt(self._recognize, self._on_partial, clip, bounds)

    def finish(self, clip: AudioClip, bounds: Bounds) -> Transcript:
        """The words of the whole utterance: those that stand, where its bounds are those of the last offer.

        Raises what `recognize` raises.
        """
        if self._attempt is None or self._attempt.bounds != bounds:
            self.offer(clip, bounds)
        assert self._attempt is not None
        return self._attempt.result()

    def close(self) -> None:
        """Stop whatever is under way and wait until it has stopped."""
        if self._attempt is not None:
            self._attempt.stop()


class _Attempt:
    """One transcription in a thread of its own. took_s: how long it took, once it has finished."""

    def __init__(
        self,
        recognize: Recognize,
        on_partial: Callable[[Transcript], None],
        clip: AudioClip,
        bounds: Bounds,
    ) -> None:
        self.bounds = bounds
        self.took_s = 0.0
        self._finished_at: float | None = None
        self._stopped = threading.Event()
        self._transcript: Transcript | None = None
        self._fault: BaseException | None = None
        started = time.monotonic()

        def work() -> None:
            try:
                self._transcript = recognize(clip, self._stopped.is_set)
                on_partial(self._transcript)
            except BaseException as error:  # handed over to whoever asks for the result
                self._fault = error
            finished_at = time.monotonic()
            self.took_s = finished_at - started
            self._finished_at = finished_at

        self._thread = threading.Thread(target=work, name="live transcription", daemon=True)
        self._thread.start()

    @property
    def rested_s(self) -> float | None:
        """Seconds since it finished, None while it is at work."""
        return None if self._finished_at is None else time.monotonic() - self._finished_at

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def result(self) -> Transcript:
        self._thread.join()
        if self._fault is not None:
            raise self._fault
        assert self._transcript is not None
        return self._transcript
