"""The table of recognizers: chosen by format, cleaned, and nothing loaded before it is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from audio2img.audio.decode import decode_audio
from audio2img.errors import ModelError, UsageError
from audio2img.recognition import SpeechSetup, load_classifier, load_recognizer
from audio2img.recognition.sounds import CLASSIFIERS
from audio2img.recognition.speech import RECOGNIZERS
from audio2img.store.catalog import resolve_model
from tests.recognition.conftest import ModelFile


def test_no_format_has_two_recognizers() -> None:
    for table in (RECOGNIZERS, CLASSIFIERS):
        formats = [row.format for row in table]
        assert len(set(formats)) == len(formats)


def test_what_the_catalogue_knows_can_be_loaded(demo_audio: Path) -> None:
    model = resolve_model("mini-whisper", "speech")
    recognizer = load_recognizer(model, SpeechSetup(threads=1))
    abilities = recognizer.load()
    assert (abilities.languages, abilities.translates) == (("en",), False)
    assert not abilities.takes_initial_prompt, "it has learned one small world, without prompts"
    transcript = recognizer.transcribe(decode_audio(demo_audio))
    assert transcript.model == "mini-whisper"
    assert "house" in transcript.text
    recognizer.close()


@pytest.mark.parametrize("format", ["", "ggml", "something newer"])
def test_a_file_of_unknown_kind_is_said_to_be_damaged_when_it_is_loaded(tmp_path: Path, format: str) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"what is this?")
    recognizer = load_recognizer(ModelFile(path, format=format))
    with pytest.raises(ModelError):
        recognizer.load()
    with pytest.raises(ModelError):
        load_classifier(ModelFile(path, format=format)).load()


def test_threads_that_cannot_work_are_refused_at_once(mini_whisper: Path) -> None:
    with pytest.raises(UsageError):
        load_recognizer(ModelFile(mini_whisper), SpeechSetup(threads=0))
