"""From the microphone to one utterance, which is transcribed while it is still being spoken."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from audio2img.audio.level import measure_level
from audio2img.audio.listening import Listener, Moment
from audio2img.audio.microphone import open_microphone, record_audio
from audio2img.audio.vad import EndpointSettings, make_detector
from audio2img.errors import NothingToDrawError, UsageError
from audio2img.recognition.partial import LiveTranscriber
from audio2img.types import SAMPLE_RATE_HZ, AudioClip

if TYPE_CHECKING:
    from audio2img.audio.microphone import Floats

SILENCE_RANGE_S = (0.2, 60.0)
LIMIT_RANGE_S = (1.0, math.inf)


@dataclass(frozen=True)
class LiveInput:
    """Where and how to listen.

    chunks: where the sound comes from, (n,) float32 at 16 kHz, about 20 a second; None is the microphone
    `device`, as for `find_device`. seconds: record for so long, instead of until the person has stopped.
    silence_s: of no speech after which the person has stopped.
    limit_s: the longest utterance, and the longest wait for it. vad_model: a Silero ggml file; None
    listens by loudness. stop: asked several times a second; True ends the utterance at once.
    """

    device: str | int | None = None
    chunks: Iterable[Floats] | None = field(default=None, repr=False)
    seconds: float | None = None
    silence_s: float = 1.2
    limit_s: float = 30.0
    vad_model: Path | None = None
    stop: Callable[[], bool] = lambda: False

    def __post_init__(self) -> None:
        """Raises UsageError for times that nobody can listen for."""
        for setting, value, least, most in (
            ("silence", self.silence_s, *SILENCE_RANGE_S),
            ("limit", self.limit_s, *LIMIT_RANGE_S),
        ):
            if not least <= value <= most:
                raise UsageError(
                    f"{value:g} s of `{setting}` cannot be listened for",
                    f"choose {least:g} seconds or more, up to {most:g}",
                    setting=setting,
                )


def hear_utterance(
    source: LiveInput, report: Callable[[Moment], None], transcriber: LiveTranscriber | None = None
) -> Listener:
    """One utterance: until the person has stopped, `source.stop` says so, or the device is unplugged.

    report: called about 20 times a second; what it raises ends the listening. transcriber: is offered
    the speech while it goes on.

    Raises NothingToDrawError when nobody begins to speak, MachineError or UsageError for the
    microphone, ModelError for the vad_model.
    """
    with _open(source) as chunks:
        return follow_utterance(chunks, source, report, transcriber)


def follow_utterance(
    chunks: Iterable[Floats],
    source: LiveInput,
    report: Callable[[Moment], None],
    transcriber: LiveTranscriber | None = None,
) -> Listener:
    """As `hear_utterance`, in chunks (n,) float32 at 16 kHz that come from elsewhere."""
    settings = EndpointSettings(silence_s=source.silence_s, limit_s=source.limit_s)
    listener = Listener(make_detector(source.vad_model), settings)
    for chunk in chunks:
        moment = listener.hear(chunk)
        report(moment)
        if moment.given_up:
            raise _nobody_spoke(source, listener)
        if moment.state == "ended" or source.stop():
            break
        if transcriber is not None and moment.state == "hearing":
            pause_s = moment.pause_s if moment.is_pause else None
            if transcriber.wants(listener.bounds, pause_s):
                transcriber.offer(listener.clip(), listener.bounds)
    return listener


def record(source: LiveInput, seconds: float, report: Callable[[float], None]) -> AudioClip:
    """The next `seconds` of sound, or what there is of them.

    report: called several times a second with the share done; what it raises ends the recording.
    Raises what `record_audio` raises; NothingToDrawError where there was no sound at all.
    """
    if source.chunks is None:
        return record_audio(seconds, source.device, progress=report)
    n_wanted, n_heard = round(seconds * SAMPLE_RATE_HZ), 0
    heard: list[Floats] = []
    for chunk in source.chunks:
        heard.append(chunk[: n_wanted - n_heard])
        n_heard += heard[-1].size
        report(n_heard / n_wanted)
        if n_heard >= n_wanted:
            break
    if not n_heard:
        raise NothingToDrawError("no sound came in", "record it again")
    return AudioClip(np.concatenate(heard), "microphone")


def _open(source: LiveInput) -> AbstractContextManager[Iterable[Floats]]:
    if source.chunks is not None:
        return nullcontext(source.chunks)  # whoever opened it closes it
    return closing(open_microphone(source.device))


def _nobody_spoke(source: LiveInput, listener: Listener) -> NothingToDrawError:
    loudest_dbfs = measure_level(listener.clip().samples).peak_dbfs
    return NothingToDrawError(
        f"nobody spoke within {source.limit_s:g} s (the loudest sound was {loudest_dbfs:.0f} dBFS)",
        "speak closer to the microphone, or choose another one: audio2img devices",
    )
