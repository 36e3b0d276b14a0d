"""From clips to words, and to the names of sounds."""

from __future__ import annotations

from audio2img.recognition.whisper import WhisperRecognizer
from audio2img.recognition.yamnet import SoundClassifier

__all__ = ["SoundClassifier", "WhisperRecognizer"]
