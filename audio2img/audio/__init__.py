"""From microphones and files to clips of 16 kHz mono float32."""

from __future__ import annotations

from audio2img.audio.decode import decode_audio, stream_audio

__all__ = ["decode_audio", "stream_audio"]
