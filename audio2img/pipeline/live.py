"""From the microphone to one utterance, which is transcribed while it is still being spoken."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from audio2img.audio.level import measure_level
from audio2img.audio.listening import Listener, Moment
from audio2img.audio.microphone import Floats, open_microphone
from audio2img.audio.vad import EndpointSettings, make_detector
from audio2img.errors import NothingToDrawError
from audio2img.recognition.partial import LiveTranscriber


@dataclass(frozen=True)
class LiveInput:
    """Where and how to listen.

    device: as for `find_device`. silence_s: of no speech after which the person has stopped.
    limit_s: the longest utterance, and the longest wait for it. vad_model: a Silero ggml file; None
    listens by loudness. stop: asked several times a second; True ends the utterance at once.
    """

    device: str | int | None = None
    silence_s: float = 1.2
    limit_s: float = 30.0
    vad_model: Path | None = None
    stop: Callable[[], bool] = lambda: False


def hear_utterance(
    source: LiveInput, report: Callable[[Moment], None], transcriber: LiveTranscriber | None = None
) -> Listener:
    """One utterance: until the person has stopped, `source.stop` says so, or the device is unplugged.

    report: called about 20 times a second; what it raises ends the listening. transcriber: is offered
    the speech while it goes on.

    Raises NothingToDrawError when nobody begins to speak, MachineError or UsageError for the
    microphone, ModelError for the vad_model.
    """
    with closing(open_microphone(source.device)) as chunks:
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


def _nobody_spoke(source: LiveInput, listener: Listener) -> NothingToDrawError:
    loudest_dbfs = measure_level(listener.clip().samples).peak_dbfs
    return NothingToDrawError(
        f"nobody spoke within {source.limit_s:g} s (the loudest sound was {loudest_dbfs:.0f} dBFS)",
        "speak closer to the microphone, or choose another one: audio2img devices",
    )
