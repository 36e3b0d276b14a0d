"""What a microphone hears, as it comes in or for a fixed time, through PortAudio (sounddevice).

A device is opened at its own rate, because not every host converts; resampling makes 16 kHz of it.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from audio2img.errors import CancelledError, MachineError, UsageError
from audio2img.installation import how_to_repair

if TYPE_CHECKING:  # a list of microphones needs no numbers
    import numpy as np
    from numpy.typing import NDArray

    from audio2img.types import AudioClip

    Floats = NDArray[np.float32]

MAX_CHANNELS = 2  # of an interface with many inputs, the first two are listened to
BLOCKS_PER_S = 20
SILENT_START_S = 0.9  # of nothing but zeros: the person is told
SILENT_END_S = 2.5  # and so long it is waited: a headset may need a moment to wake up
FIRST_BLOCK_S = 5.0  # no block for so long: the device does not work
STALLED_S = 2.0  # none for so long after others: it was unplugged
TERMINALS = {  # what they call themselves in TERM_PROGRAM; the permission is theirs
    "Apple_Terminal": "Terminal",
    "iTerm.app": "iTerm",
    "WezTerm": "WezTerm",
    "ghostty": "Ghostty",
    "vscode": "Visual Studio Code",
}
PERMISSIONS_PAGE = "x-apple.systempreferences:com.apple.preference.security?Privacy_Microphone"
INTERNAL_ERROR = -9986  # what PortAudio says of a device that was unplugged and came back
Progress = Callable[[float], None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Device:
    """A microphone, or whatever else sound can be recorded from. channels: how many inputs it has."""

    index: int
    name: str
    host_api: str
    channels: int
    sample_rate_hz: float
    is_default: bool


def list_devices() -> tuple[Device, ...]:
    """Every device with an input, in PortAudio's order; empty where there is none.

    Raises MachineError where PortAudio is missing.
    """
    return tuple(_devices(_load_portaudio()))


def find_device(wanted: str | int | None = None) -> Device:
    """The device of that number, or whose name contains that text in any case; None: the default.

    Raises UsageError when none or several fit, naming the choices; MachineError when there is no
    microphone, or PortAudio is missing.
    """
    devices = list_devices()
    if not devices:
        raise MachineError(
            "this machine has no microphone", "plug one in, or give a recording: audio2img run AUDIO"
        )
    if wanted is None:
        return next((device for device in devices if device.is_default), devices[0])
    text = str(wanted).strip()
    if text.isdecimal():
        fitting = [device for device in devices if device.index == int(text)]
    else:
        fitting = _by_name(devices, text.lower())
    if len(fitting) == 1:
        return fitting[0]
    problem = "several microphones fit" if fitting else "no microphone fits"
    names = "; ".join(f"{device.index} {device.name}" for device in fitting or devices)
    raise UsageError(f"{problem} {text!r}", f"choose by number: {names}")


def record_audio(
    seconds: float, device: str | int | None = None, *, progress: Progress | None = None
) -> AudioClip:
    """What a microphone hears in the next `seconds`: (n,) float32 at 16 kHz.

    device: as for `find_device`. progress: called with the share done in [0, 1] several times a
    second; what it raises ends the recording.

    A device that is unplugged in the middle is logged as a warning, and what was heard is returned.

    Raises MachineError for a device that cannot be opened, or gives no sound or digital silence only
    (which is what macOS gives to a program without permission); UsageError for a device or time
    that is none; CancelledError on Ctrl-C.
    """
    import numpy as np

    from audio2img.types import SAMPLE_RATE_HZ, AudioClip

    if not 0.0 < seconds < float("inf"):
        raise UsageError(f"{seconds} seconds cannot be recorded", "give a time above zero: `seconds=8`")
    n_wanted = round(seconds * SAMPLE_RATE_HZ)
    heard: list[Floats] = []
    n_heard = 0
    try:
        with closing(open_microphone(device, enough_s=seconds)) as chunks:
            for chunk in chunks:
                heard.append(chunk[: n_wanted - n_heard])
                n_heard += heard[-1].size
                if progress is not None:
                    progress(n_heard / n_wanted)
                if n_heard >= n_wanted:
                    break
    except KeyboardInterrupt:
        raise CancelledError("the recording was stopped") from None
    return AudioClip(np.concatenate(heard), "microphone")


def open_microphone(
    device: str | int | None = None, *, enough_s: float = float("inf")
) -> Generator[Floats, None, None]:
    """What a microphone hears from now on: (n,) float32 chunks at 16 kHz, about 20 a second.

    Ends only when the device is unplugged, which is logged as a warning; close it to stop listening.
    device: as for `find_device`. enough_s: how much the caller is going to take, if that is known;
    digital silence of this length is refused, too, however short.

    Raises MachineError for a device that cannot be opened, gives no sound at all, or nothing but
    digital silence (after a warning in the log); UsageError for a device that is none.
    """
    chosen = find_device(device)
    try:
        yield from _resampled(chosen, enough_s)
    except _StaleDeviceError:
        # PortAudio knows only the devices there were when it started. Its numbers change, too.
        _restart_portaudio()
        chosen = find_device(chosen.name if device is not None else None)
        try:
            yield from _resampled(chosen, enough_s)
        except _StaleDeviceError as error:
            raise _cannot_open(chosen, error) from None


class _StaleDeviceError(Exception):
    """The device is not what it was when PortAudio looked."""


def _load_portaudio() -> Any:
    try:
        import sounddevice
    except OSError as error:
        remedy = how_to_repair("sounddevice")
        if sys.platform.startswith("linux"):
            remedy = "install it with: sudo apt install libportaudio2 (or your system's package of PortAudio)"
        raise MachineError(f"the microphone cannot be used: {error}", remedy) from None
    except ImportError as error:
        raise MachineError(f"the microphone cannot be used: {error}", how_to_repair("sounddevice")) from None
    return sounddevice


def _restart_portaudio() -> None:
    portaudio = _load_portaudio()
    portaudio._terminate()
    portaudio._initialize()


def _devices(portaudio: Any) -> Iterator[Device]:
    hosts = portaudio.query_hostapis()
    try:
        default = portaudio.query_devices(kind="input")["index"]
    except portaudio.PortAudioError:  # there is none
        default = -1
    for entry in portaudio.query_devices():
        if entry["max_input_channels"] > 0:
            yield Device(
                index=entry["index"],
                name=entry["name"],
                host_api=hosts[entry["hostapi"]]["name"],
                channels=entry["max_input_channels"],
                sample_rate_hz=entry["default_samplerate"],
                is_default=entry["index"] == default,
            )


def _by_name(devices: tuple[Device, ...], text: str) -> list[Device]:
    """Those whose name contains `text`, narrowed down as far as a person would think it clear."""
    fitting = [device for device in devices if text in device.name.lower()]
    if exact := [device for device in fitting if device.name.lower() == text]:
        fitting = exact
    # Windows shows every microphone once for each of its interfaces.
    host = next((device.host_api for device in devices if device.is_default), None)
    if len(fitting) > 1 and (usual := [device for device in fitting if device.host_api == host]):
        fitting = usual
    return fitting


def _resampled(device: Device, enough_s: float) -> Iterator[Floats]:
    """The mean of the device's channels at 16 kHz, once it has given more than digital silence."""
    from audio2img.audio.resampling import Mixer, Resampler

    rate = round(device.sample_rate_hz)
    mixer, resampler = Mixer(), Resampler(rate)
    n_silent, is_silent, is_told = 0, True, False
    for block in _blocks(device, rate):
        is_silent = is_silent and not block.any()
        if is_silent:
            n_silent += len(block)
            if n_silent >= min(SILENT_END_S, enough_s) * rate:
                raise _no_signal(device)
            if n_silent >= SILENT_START_S * rate and not is_told:
                is_told = True
                logger.warning("%s: %s", *_no_signal_words(device))
        yield resampler.feed(mixer.mix(block))
    yield resampler.finish()


def _blocks(device: Device, rate: int) -> Iterator[Floats]:
    """What the device hears, as (n, channels) float32, until the caller has enough or it is unplugged.

    PortAudio fills a queue from its own thread. Waiting on it, unlike a blocking read, can be
    interrupted, and notices a device that stops.
    """
    portaudio = _load_portaudio()
    blocks: queue.SimpleQueue[Floats] = queue.SimpleQueue()

    def take(data: Floats, _frames: int, _time: Any, status: Any) -> None:
        if status.input_overflow:
            logger.warning("%s: some sound was lost, the machine is too busy", device.name)
        blocks.put(data.copy())

    try:
        stream = portaudio.InputStream(
            samplerate=rate,
            device=device.index,
            channels=min(device.channels, MAX_CHANNELS),
            dtype="float32",
            blocksize=rate // BLOCKS_PER_S,
            callback=take,
        )
    except portaudio.PortAudioError as error:
        if error.args[-1] == INTERNAL_ERROR:
            raise _StaleDeviceError(error.args[0]) from None
        raise _cannot_open(device, error) from None
    has_begun = False
    try:
        stream.start()
        while True:
            block = blocks.get(timeout=STALLED_S if has_begun else FIRST_BLOCK_S)
            has_begun = True
            yield block
    except portaudio.PortAudioError as error:
        if error.args[-1] == INTERNAL_ERROR:
            raise _StaleDeviceError(error.args[0]) from None
        raise _cannot_open(device, error) from None
    except queue.Empty:
        if not has_begun:
            raise MachineError(
                f"the microphone {device.name!r} gives no sound at all",
                "check its plug, then: audio2img devices",
            ) from None
        logger.warning("the microphone %r stopped: going on with what was heard", device.name)
    finally:
        stream.close(ignore_errors=True)


def _no_signal_words(device: Device) -> tuple[str, str]:
    """What is wrong, and what to do."""
    problem = f"the microphone {device.name!r} gives nothing but digital silence"
    if sys.platform == "darwin":
        app = TERMINALS.get(os.environ.get("TERM_PROGRAM", ""), "the app you started this from")
        return problem, (
            f"allow {app} under System Settings > Privacy & Security > Microphone, then start it anew; "
            f"to get there, run: open '{PERMISSIONS_PAGE}'"
        )
    return problem, "check that it is not muted and may be used, or choose another one: audio2img devices"


def _no_signal(device: Device) -> MachineError:
    return MachineError(*_no_signal_words(device))


def _cannot_open(device: Device, error: Exception) -> MachineError:
    return MachineError(
        f"the microphone {device.name!r} cannot be opened: {error.args[0]}",
        "close other programs that record, or choose another one: audio2img devices",
    )
