"""From sound to the words in it, and to the names of its sounds: a table of recognizers for each.

`load_recognizer` and `load_classifier` choose by a model's format; a new one is a module and a row.
"""

from __future__ import annotations

from audio2img.recognition.sounds import SoundClassifier, load_classifier
from audio2img.recognition.speech import (
    SpeechAbilities,
    SpeechRecognizer,
    SpeechSetup,
    SpeechWishes,
    load_recognizer,
)

__all__ = [
    "SoundClassifier",
    "SpeechAbilities",
    "SpeechRecognizer",
    "SpeechSetup",
    "SpeechWishes",
    "load_classifier",
    "load_recognizer",
]
