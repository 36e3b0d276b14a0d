"""From clips to words."""

from __future__ import annotations

from audio2img.recognition.whisper import WhisperRecognizer

__all__ = ["WhisperRecognizer"]
