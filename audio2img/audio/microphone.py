"""Recording from a microphone, for a fixed time, through PortAudio (sounddevice).

A device is opened at its own rate, because not every host converts, and soxr makes 16 kHz of it.
"""

from __future__ import annotations

import logging
import queue
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio2img.errors import CancelledError, MachineError, UsageError
from audio2img.types import SAMPLE_RATE_HZ, AudioClip

MAX_CHANNELS = 2  # of an interface with many inputs, the first two are listened to
BLOCKS_PER_S = 10  # nobody listens live, so large blocks: they keep a busy machine from losing any
SILENT_START_S = 2.0  # a device may need a moment to wake up, but not longer
STALLED_S = 5.0  # no block for so long: the device is gone
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

    Raises MachineError for a device that cannot be opened, stops, or gives digital silence only
    (which is what macOS gives to a program without permission); UsageError for a device or time
    that is none; CancelledError on Ctrl-C.
    """
    if not 0.0 < seconds < float("inf"):
        raise UsageError(f"{seconds} seconds cannot be recorded", "give a time above zero: --seconds 8")
    chosen = find_device(device)
    try:
        try:
            samples = _record(chosen, seconds, progress)
        except _StaleDeviceError:
            # PortAudio knows only the devices there were when it started. Its numbers change, too.
            _restart_portaudio()
            samples = _record(find_device(chosen.name if device is not None else None), seconds, progress)
    except KeyboardInterrupt:
        raise CancelledError("the recording was stopped") from None
    except _StaleDeviceError as error:
        raise _cannot_open(chosen, error) from None
    return AudioClip(samples, "microphone")


class _StaleDeviceError(Exception):
    """The device is not what it was when PortAudio looked."""


def _load_portaudio() -> Any:
    try:
        import sounddevice
    except OSError as error:
        remedy = "install it again with: pip install --force-reinstall sounddevice"
        if sys.platform.startswith("linux"):
            remedy = "install it with: sudo apt install libportaudio2 (or your system's package of PortAudio)"
        raise MachineError(f"the microphone cannot be used: {error}", remedy) from None
    except ImportError as error:
        raise MachineError(
            f"the microphone cannot be used: {error}", "install it with: pip install sounddevice"
        ) from None
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


def _record(device: Device, seconds: float, progress: Progress | None) -> NDArray[np.float32]:
    import soxr

    rate = round(device.sample_rate_hz)
    n_wanted = round(seconds * rate)
    resampler = soxr.ResampleStream(rate, SAMPLE_RATE_HZ, 1, "float32")
    heard: list[NDArray[np.float32]] = []
    n_heard, silent = 0, True
    for block in _blocks(device, rate):
        mono = _mix(block[: n_wanted - n_heard])
        n_heard += mono.size
        silent = silent and not mono.any()
        heard.append(resampler.resample_chunk(mono, last=n_heard >= n_wanted))
        if silent and n_heard >= min(SILENT_START_S * rate, n_wanted):
            raise _no_signal(device)
        if progress is not None:
            progress(n_heard / n_wanted)
        if n_heard >= n_wanted:
            break
    return np.concatenate(heard)


def _blocks(device: Device, rate: int) -> Iterator[NDArray[np.float32]]:
    """What the device hears, as (n, channels) float32, until the caller has enough.

    PortAudio fills a queue from its own thread. Waiting on it, unlike a blocking read, can be
    interrupted, and notices a device that stops.
    """
    portaudio = _load_portaudio()
    blocks: queue.SimpleQueue[NDArray[np.float32]] = queue.SimpleQueue()

    def take(data: NDArray[np.float32], _frames: int, _time: Any, status: Any) -> None:
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
    try:
        stream.start()
        while True:
            yield blocks.get(timeout=STALLED_S)
    except portaudio.PortAudioError as error:
        if error.args[-1] == INTERNAL_ERROR:
            raise _StaleDeviceError(error.args[0]) from None
        raise _cannot_open(device, error) from None
    except queue.Empty:
        raise MachineError(
            f"the microphone {device.name!r} gives no sound at all", "check its plug, then: audio2img devices"
        ) from None
    finally:
        stream.close(ignore_errors=True)


def _mix(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of the channels that carry something: (n, channels) -> (n,).

    An interface whose second input is empty then does not halve the first.
    """
    live = [channel for channel in block.T if channel.any()]
    if not live:
        return np.zeros(len(block), np.float32)
    mixed: NDArray[np.float32] = np.mean(live, axis=0, dtype=np.float32)
    return mixed


def _no_signal(device: Device) -> MachineError:
    if sys.platform == "darwin":
        remedy = (
            "allow the program you started this from (Terminal, iTerm, ...) under System Settings > "
            "Privacy & Security > Microphone, then start it anew"
        )
    else:
        remedy = "check that it is not muted and may be used, or choose another one: audio2img devices"
    return MachineError(f"the microphone {device.name!r} gives nothing but digital silence", remedy)


def _cannot_open(device: Device, error: Exception) -> MachineError:
    return MachineError(
        f"the microphone {device.name!r} cannot be opened: {error.args[0]}",
        "close other programs that record, or choose another one: audio2img devices",
    )
