"""The command on real recordings, with a real Whisper, a real YAMNet and the embedded image model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def real_ears(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIO2IMG_SPEECH_MODEL", str(shared_data / "ggml-tiny.en.bin"))
    monkeypatch.setenv("AUDIO2IMG_SOUND_MODEL", str(shared_data / "yamnet.tflite"))


def test_both_ears_on_a_real_voice(audio2img: Command, shared_data: Path, tmp_path: Path) -> None:
    """A person speaking is no thing to draw besides what they say."""
    voice = shared_data / "recordings" / "speech-librivox.flac"
    done = audio2img("run", voice, "--hear", "both", "--steps", "2", "--json")
    assert done.returncode == 0, done.stderr
    table = json.loads(done.stdout)
    assert "had then leisure to consider how much there might be" in table["transcript"]["text"]
    assert table["sounds"]["speech_leads"] is True
    assert table["prompt"] == table["transcript"]["text"].rstrip(".")
    assert Path(tmp_path, table["pictures"][0]["path"]).is_file()


def test_both_ears_on_real_rain(audio2img: Command, shared_data: Path, tmp_path: Path) -> None:
    rain = shared_data / "recordings" / "rain.ogg"
    done = audio2img("run", rain, "--hear", "both", "--steps", "2", "--json")
    assert done.returncode == 0, done.stderr
    assert "no words could be made out in rain.ogg" in done.stderr
    table = json.loads(done.stdout)
    assert table["transcript"] is None
    assert "rain" in table["prompt"]
    assert Path(tmp_path, table["pictures"][0]["path"]).is_file()
