"""From microphones and files to clips of 16 kHz mono float32."""

from __future__ import annotations

from audio2img.audio.decode import decode_audio, stream_audio
from audio2img.audio.microphone import Device, find_device, list_devices, record_audio

__all__ = ["Device", "decode_audio", "find_device", "list_devices", "record_audio", "stream_audio"]
