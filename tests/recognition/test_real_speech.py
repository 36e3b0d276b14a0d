"""A real Whisper on real recordings: the words that were said, and none where nobody speaks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from audio2img.audio.decode import decode_audio, stream_audio
from audio2img.errors import NothingToDrawError
from audio2img.recognition import SpeechRecognizer, load_recognizer
from audio2img.types import Segment
from tests.recognition.conftest import ModelFile

JFK = (
    "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
)
AUSTEN = (
    "and mr john dashwood had then leisure to consider "
    "how much there might be prudently in his power to do for them"
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recognizer(shared_data: Path) -> Iterator[SpeechRecognizer]:
    loaded = load_recognizer(ModelFile(shared_data / "ggml-tiny.en.bin", "whisper-tiny.en"))
    yield loaded
    loaded.close()


def spoken(text: str) -> str:
    """Words only, in small letters."""
    return " ".join(re.findall(r"[a-z]+", text.lower()))


@pytest.mark.parametrize(
    ("name", "words"), [("jfk.wav", JFK), ("recordings/speech-librivox.flac", AUSTEN)], ids=["man", "woman"]
)
def test_what_a_real_voice_says(
    recognizer: SpeechRecognizer, shared_data: Path, name: str, words: str
) -> None:
    told: list[Segment] = []
    clip = decode_audio(shared_data / name)
    transcript = recognizer.transcribe(stream_audio(shared_data / name), progress=told.append)
    assert spoken(transcript.text) == words
    assert tuple(told) == transcript.segments
    assert transcript.segments[0].start_s < 1.0
    assert clip.duration_s - 1.5 < transcript.segments[-1].end_s <= clip.duration_s
    assert min(segment.probability or 0.0 for segment in transcript.segments) > 0.6


@pytest.mark.parametrize("name", ["rain.ogg", "wind.ogg"])
def test_no_words_are_made_up_where_nobody_speaks(
    recognizer: SpeechRecognizer, shared_data: Path, name: str
) -> None:
    with pytest.raises(NothingToDrawError, match="no words") as caught:
        recognizer.transcribe(stream_audio(shared_data / "recordings" / name), source=name)
    assert name in caught.value.message
