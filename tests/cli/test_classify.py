"""Naming sounds through the real door, with the real YAMNet."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from audio2img.output.sound import write_sound
from audio2img.types import AudioClip

pytestmark = pytest.mark.slow

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def yamnet(embedded_models: None, yamnet_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUDIO2IMG_SOUND_MODEL", str(yamnet_file))
    return yamnet_file


@pytest.fixture
def jfk(shared_data: Path) -> Path:
    return shared_data / "jfk.wav"


def test_a_table_of_what_leads(audio2img: Command, jfk: Path) -> None:
    done = audio2img("classify", jfk, "--top", "3")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["sound", "leads", "mean", "peak"]
    assert lines[1].split() == ["Speech", "100%", "0.94", "1.00"]
    assert len(lines) == 6
    assert lines[-1] == "to draw: a person speaking"


def test_timestamps_as_the_older_project_printed_them(audio2img: Command, jfk: Path) -> None:
    lines = audio2img("classify", jfk, "--format", "timestamps").stdout.splitlines()
    assert len(lines) == 22
    assert lines[0] == "Timestamp 0: Speech (0.93)"
    assert lines[1].startswith("Timestamp 487: Speech (0.9")
    assert lines[-1].startswith("Timestamp 10025: Speech (")
    line = audio2img(
        "classify", jfk, "--format", "timestamps", "--max-results", 2
    ).stdout.splitlines()[0]  # fmt: skip
    assert line == "Timestamp 0: Speech (0.93), Inside, small room (0.02)"


def test_the_timeline(audio2img: Command, jfk: Path) -> None:
    assert audio2img("classify", jfk, "--timeline").stdout == "0:00.0 – 0:11.0  Speech (0.94)\n"


def test_json_holds_what_was_asked_for(audio2img: Command, jfk: Path) -> None:
    plain = json.loads(audio2img("classify", jfk, "--json", "--top", "2").stdout)
    assert [one["name"] for one in plain["categories"]] == ["Speech", "Narration, monologue"]
    assert plain["speech_leads"] is True
    assert (plain["windows"], plain["duration_s"], plain["model"]) == (22, 11.0, "yamnet")
    assert plain["things"][0]["phrase"] == "a person speaking"
    assert not {"timeline", "per_window"} & set(plain)
    full = json.loads(
        audio2img("classify", jfk, "--json", "--format", "timestamps", "--max-results", "-1").stdout
    )
    assert [len(window) for window in full["per_window"]] == [521] * 22
    timeline = json.loads(audio2img("classify", jfk, "--json", "--timeline").stdout)["timeline"]
    assert timeline[0] | {"score": 0} == {"start_s": 0.0, "end_s": 11.0, "name": "Speech", "score": 0}


def test_the_plot(audio2img: Command, jfk: Path, tmp_path: Path) -> None:
    done = audio2img("classify", jfk, "--plot", "plot.png")
    assert done.stderr == "the plot is in plot.png\n"
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 100


def test_sound_from_standard_input(audio2img: Command, jfk: Path) -> None:
    assert "Speech" in audio2img("classify", "-", stdin=jfk.read_bytes()).stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "word"),
    [
        (("none.wav",), 6, "no such file"),
        (("junk.wav",), 6, "not a recording"),
        (("junk.wav", "--max-results", "0"), 2, "--max-results"),
        (("junk.wav", "--timeline", "--format", "timestamps"), 2, "choose one"),
        (("junk.wav", "--sound-model", "./junk.wav"), 4, "not a TFLite file"),
        (("junk.wav", "--sound-model", "whisper-base"), 4, "whisper-base"),
        (("junk.wav", "--sound-model", "./none.tflite"), 4, "none.tflite"),
    ],
)
def test_bad_input_is_refused(
    audio2img: Command,
    assert_fails: Callable[..., None],
    tmp_path: Path,
    arguments: tuple[str, ...],
    exit_code: int,
    word: str,
) -> None:
    (tmp_path / "junk.wav").write_text("no sound at all, and no model either")
    assert_fails(audio2img("classify", *arguments), exit_code, word)


def test_without_the_model_the_error_says_how_to_get_it(
    audio2img: Command, assert_fails: Callable[..., None], jfk: Path
) -> None:
    done = audio2img("classify", jfk, env={"AUDIO2IMG_SOUND_MODEL": ""})
    assert_fails(done, 4, "yamnet", "audio2img models get yamnet")


# run --hear


def draw(audio2img: Command, audio: Path, *options: Any) -> tuple[dict[str, Any], str]:
    done = audio2img("run", audio, "--json", "--steps", 2, "--seed", 1, *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def surf(seconds: float) -> np.ndarray[Any, Any]:
    n_samples = int(seconds * 16_000)
    white = np.fft.rfft(np.random.default_rng(5).normal(0, 1, n_samples))
    brown = np.fft.irfft(white / np.maximum(np.fft.rfftfreq(n_samples, 1 / 16_000), 20), n_samples)
    swell = 0.7 + 0.3 * np.sin(np.pi * np.arange(n_samples) / 16_000)
    return (0.1 * brown / brown.std() * swell).astype(np.float32)


@pytest.fixture
def sea(tmp_path: Path) -> Path:
    return write_sound(AudioClip(surf(6)), tmp_path / "sea.wav")


@pytest.fixture
def quiet(tmp_path: Path) -> Path:
    return write_sound(AudioClip(np.zeros(32_000, np.float32)), tmp_path / "quiet.wav")


def test_sounds_become_a_picture_that_remembers_them(audio2img: Command, sea: Path) -> None:
    table, errors = draw(audio2img, sea, "--hear", "sounds")
    assert table["prompt"] == "by the sea"  # what the mini model calls it
    assert table["transcript"] is None
    assert "the mini model does not know" not in errors
    picture = table["pictures"][0]["path"]
    shown = audio2img("show", picture).stdout
    assert "waves breaking on a shore" in shown
    assert "sea.wav" in shown
    record = json.loads(audio2img("show", picture, "--json").stdout)
    assert record["sounds"]["model"] == "yamnet"
    assert len(record["sounds"]["categories"]) == 10
    again = audio2img("run", "--from", picture, "--json")
    assert again.returncode == 0, again.stderr
    copy = json.loads(again.stdout)
    assert copy["sounds"] == table["sounds"]
    with Image.open(picture) as one, Image.open(copy["pictures"][0]["path"]) as other:
        assert one.tobytes() == other.tobytes()


def test_auto_draws_the_words_where_speech_leads(audio2img: Command, demo_audio: Path) -> None:
    table, _ = draw(audio2img, demo_audio, "--hear", "auto")
    assert table["prompt"] == "a big red house at night"
    assert table["sounds"]["speech_leads"] is True


def test_auto_draws_the_sounds_where_they_lead(audio2img: Command, sea: Path) -> None:
    table, _ = draw(audio2img, sea, "--hear", "auto")
    assert table["transcript"] is None
    assert table["prompt"] == "by the sea"


def test_both_puts_the_sounds_into_the_spoken_prompt(audio2img: Command, tmp_path: Path) -> None:
    from audio2img.audio import decode_audio

    spoken = decode_audio(Path(__file__).parents[2] / "models" / "mini" / "demo.flac").samples
    mixed = np.concatenate([spoken, surf(6)])
    path = write_sound(AudioClip(mixed), tmp_path / "mixed.wav")
    model = Path(__file__).parents[2] / "models" / "mini" / "coreml"  # by its path a model like any other
    table, _ = draw(audio2img, path, "--hear", "both", "--model", model)
    assert table["prompt"].startswith("a big red house at night, waves breaking on a shore")
    table, errors = draw(audio2img, path, "--hear", "both")
    assert "red house" in table["transcript"]["text"]
    assert table["prompt"].startswith("a big red house at night")
    assert "by the sea" not in table["prompt"]  # the mini model knows one place at a time
    assert "person" not in table["prompt"] + errors


def test_templates_by_name(audio2img: Command, sea: Path) -> None:
    table, errors = draw(audio2img, sea, "--hear", "sounds", "--template", "older")
    assert table["prompt"] == "generate an image of by the sea"
    assert "generate" not in errors, "those are not the person's words"


def test_words_that_the_mini_model_does_not_know_are_said(audio2img: Command, tmp_path: Path) -> None:
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 16_000)
    path = write_sound(AudioClip(tone.astype(np.float32)), tmp_path / "tone.wav")
    table, errors = draw(audio2img, path, "--hear", "sounds")
    assert table["prompt"] == "a telephone off the hook"
    assert "the mini model does not know: telephone, off, hook" in errors


def test_auto_without_a_sound_model_listens_for_words_and_says_so(
    audio2img: Command, demo_audio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AUDIO2IMG_SOUND_MODEL")
    table, errors = draw(audio2img, demo_audio, "--hear", "auto")
    assert table["prompt"] == "a big red house at night"
    assert errors.count("\n") == 1
    assert "listening for words only" in errors
    assert "audio2img models get" in errors


@pytest.mark.parametrize(
    ("hear", "words"),
    [("sounds", "silence was heard"), ("auto", "every sample is zero"), ("both", "every sample is zero")],
)
def test_silence_is_nothing_to_draw(
    audio2img: Command, assert_fails: Callable[..., None], quiet: Path, hear: str, words: str
) -> None:
    assert_fails(audio2img("run", quiet, "--hear", hear), 3, words)


def test_hear_does_not_go_with_from(audio2img: Command, assert_fails: Callable[..., None], sea: Path) -> None:
    assert_fails(audio2img("run", "--from", "x.png", "--hear", "auto"), 2, "--hear")


def test_the_setting_hear_is_checked(
    audio2img: Command, assert_fails: Callable[..., None], sea: Path, private_home: Path
) -> None:
    from audio2img.config import settings_file

    settings_file().parent.mkdir(parents=True)
    settings_file().write_text('hear = "smells"\n')
    assert_fails(audio2img("run", sea), 2, "smells", "sounds")
