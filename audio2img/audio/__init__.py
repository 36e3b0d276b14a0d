"""From microphones and files to clips of 16 kHz mono float32.

The names below are loaded when they are first used: naming the microphones takes no decoder.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audio2img.audio.decode import decode_audio, stream_audio
    from audio2img.audio.microphone import Device, find_device, list_devices, record_audio

__all__ = ["Device", "decode_audio", "find_device", "list_devices", "record_audio", "stream_audio"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "decode" if name in ("decode_audio", "stream_audio") else "microphone"
    return getattr(import_module(f"audio2img.audio.{home}"), name)
