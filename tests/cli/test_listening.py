"""Speaking to the command: a real PortAudio stream, a sentence played into it, a real terminal."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from audio2img.audio.decode import decode_audio
from audio2img.store.receipts import InstalledFile, LicenceRecord, Receipt, write_receipt
from tests.conftest import Asked
from tests.live_microphone import LiveMicrophone, live_microphone

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux with PulseAudio"),
    pytest.mark.skipif(shutil.which("pulseaudio") is None, reason="needs pulseaudio: apt install pulseaudio"),
]
SENTENCE = "please draw a big red house at night"
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture
def microphone() -> Iterator[LiveMicrophone]:
    with live_microphone() as microphone:
        yield microphone


class Terminal:
    """The command at a terminal of its own: stdin and stderr; stdout is a pipe."""

    def __init__(self, microphone: LiveMicrophone, folder: Path, *arguments: str, keyboard: bool = True):
        self._master, slave = os.openpty()
        self._shown = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "audio2img", *arguments],
            stdin=slave if keyboard else subprocess.DEVNULL,
            stderr=slave,
            stdout=subprocess.PIPE,
            cwd=folder,
            env={**os.environ, **microphone.environment, "TERM": "xterm", "COLUMNS": "160"},
            start_new_session=True,
        )
        os.close(slave)

    @property
    def shown(self) -> str:
        return ESCAPES.sub(b"", self._shown).decode(errors="replace")

    def wait_for(self, words: str, timeout_s: float = 30) -> None:
        deadline = time.monotonic() + timeout_s
        while words not in self.shown:
            assert time.monotonic() < deadline, self.shown
            assert self.read(), self.shown

    def press(self, key: bytes) -> None:
        os.write(self._master, key)

    def end(self) -> tuple[int, str]:
        """Exit code and stdout."""
        while self.read():
            pass
        output, _ = self.process.communicate(timeout=30)
        os.close(self._master)
        return self.process.returncode, output.decode()

    def read(self) -> bool:
        if not select.select([self._master], [], [], 30)[0]:
            self.process.kill()
            raise AssertionError(f"nothing happens any more: {self.shown}")
        try:
            piece = os.read(self._master, 4096)
        except OSError:  # Linux: the other end has closed
            return False
        self._shown += piece
        return bool(piece)


def speak(microphone: LiveMicrophone, demo: Path) -> float:
    """Say the demo sentence; how long it takes in seconds."""
    clip = decode_audio(demo)
    microphone.say(clip.samples)
    return clip.duration_s


def read_wav(path: Path) -> np.ndarray[Any, np.dtype[np.int16]]:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (1, 16000, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def test_say_a_sentence_get_the_picture(microphone: LiveMicrophone, demo_audio: Path, tmp_path: Path) -> None:
    terminal = Terminal(microphone, tmp_path, "run", "-o", "out", "--json", "--keep-audio")
    terminal.wait_for("waiting for you to speak (Enter: done)")
    spoken_s = speak(microphone, demo_audio)
    terminal.wait_for("hearing you (Enter: done): please draw a")
    exit_code, output = terminal.end()
    assert exit_code == 0, terminal.shown
    table = json.loads(output)
    assert table["transcript"]["text"] == SENTENCE
    assert f"heard: {SENTENCE}" in terminal.shown
    picture = Path(tmp_path, table["pictures"][0]["path"])
    recording = read_wav(picture.with_suffix(".wav"))
    assert spoken_s - 1.0 < recording.size / 16000 < spoken_s + 1.0
    assert table["timings_s"]["transcribe"] < 0.1, "the words stood already"
    again = subprocess.run(
        [sys.executable, "-m", "audio2img", "transcribe", picture.with_suffix(".wav")],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert again.stdout.strip() == SENTENCE


@pytest.mark.parametrize("key", [b"\n", b"\x04"], ids=["enter", "ctrl-d"])
def test_a_key_ends_the_listening_at_once(
    microphone: LiveMicrophone, demo_audio: Path, tmp_path: Path, key: bytes
) -> None:
    terminal = Terminal(microphone, tmp_path, "record", "--silence", "60", "-o", "said.wav")
    terminal.wait_for("waiting")
    spoken_s = speak(microphone, demo_audio)
    terminal.wait_for("hearing you")
    time.sleep(spoken_s)
    pressed_at = time.monotonic()
    terminal.press(key)
    exit_code, output = terminal.end()
    assert exit_code == 0, terminal.shown
    assert time.monotonic() - pressed_at < 3
    assert spoken_s - 1.0 < read_wav(tmp_path / output.strip()).size / 16000 < spoken_s + 1.0


def test_ctrl_c_leaves_nothing(microphone: LiveMicrophone, demo_audio: Path, tmp_path: Path) -> None:
    terminal = Terminal(microphone, tmp_path, "run", "-o", "out", "--keep-audio")
    terminal.wait_for("waiting")
    speak(microphone, demo_audio)
    terminal.wait_for("hearing you")
    terminal.process.send_signal(signal.SIGINT)
    exit_code, output = terminal.end()
    assert (exit_code, output) == (130, "")
    assert "audio2img: stopped" in terminal.shown
    assert "Traceback" not in terminal.shown
    assert list(tmp_path.iterdir()) == []


def test_core_ml_that_holds_its_lock_for_seconds_costs_no_word(
    microphone: LiveMicrophone,
    demo_audio: Path,
    tmp_path: Path,
    core_ml_stand_in: Asked,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The whole sentence is said while the image model loads."""
    monkeypatch.setenv("STAND_IN", json.dumps({"compile": "right", "*": "hold-load"}))
    terminal = Terminal(microphone, tmp_path, "run", "-o", "out", "--json", "--keep-audio", "--steps", "2")
    terminal.wait_for("waiting for you to speak")
    spoken_s = speak(microphone, demo_audio)
    exit_code, output = terminal.end()
    assert exit_code == 0, terminal.shown
    table = json.loads(output)
    assert table["transcript"]["text"] == SENTENCE
    assert ("hold", "end") in list(core_ml_stand_in)
    recording = read_wav(Path(tmp_path, table["pictures"][0]["path"]).with_suffix(".wav"))
    assert recording.size / 16000 > spoken_s - 1.0


def test_ctrl_c_ends_core_ml_in_the_middle_of_its_load(
    microphone: LiveMicrophone, tmp_path: Path, core_ml_stand_in: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", json.dumps({"compile": "right", "*": "hold-load"}))
    terminal = Terminal(microphone, tmp_path, "run", "-o", "out")
    terminal.wait_for("waiting for you to speak")
    while ("hold", "begin") not in list(core_ml_stand_in):
        terminal.read()
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == (130, ""), terminal.shown
    assert ("hold", "end") not in list(core_ml_stand_in)
    assert "Traceback" not in terminal.shown


def test_without_a_keyboard_it_ends_by_itself(
    microphone: LiveMicrophone, demo_audio: Path, tmp_path: Path
) -> None:
    """As in a Shortcut or an Automator action."""
    terminal = Terminal(microphone, tmp_path, "record", "-o", "said.wav", keyboard=False)
    terminal.wait_for("waiting for you to speak ")
    speak(microphone, demo_audio)
    exit_code, output = terminal.end()
    assert exit_code == 0, terminal.shown
    assert "Enter" not in terminal.shown
    assert output.strip() == "said.wav"


def test_unplugged_in_the_middle_what_was_heard_is_kept(
    microphone: LiveMicrophone, demo_audio: Path, tmp_path: Path
) -> None:
    terminal = Terminal(microphone, tmp_path, "run", "-o", "out", "--json")
    terminal.wait_for("waiting")
    speak(microphone, demo_audio)
    terminal.wait_for("hearing you (Enter: done): please draw a")
    microphone.unplug()
    exit_code, output = terminal.end()
    assert exit_code == 0, terminal.shown
    assert "stopped: going on with what was heard" in terminal.shown
    assert json.loads(output)["transcript"]["text"].startswith("please draw a")


def test_nobody_speaks(microphone: LiveMicrophone, tmp_path: Path) -> None:
    terminal = Terminal(microphone, tmp_path, "run", "-o", "out", "--limit", "2")
    exit_code, output = terminal.end()
    assert (exit_code, output) == (3, "")
    assert "nobody spoke within 2 s" in terminal.shown
    assert "devices" in terminal.shown
    assert not (tmp_path / "out").exists()


def test_what_was_not_understood_is_kept_when_asked(microphone: LiveMicrophone, tmp_path: Path) -> None:
    """A noise that is no word: nothing to draw, but the recording is there to be listened to."""
    terminal = Terminal(microphone, tmp_path, "run", "-o", "out", "--keep-audio")
    terminal.wait_for("waiting")
    rng = np.random.default_rng(2)
    microphone.say((rng.standard_normal(16000) * 0.2).clip(-1, 1).astype(np.float32))
    exit_code, output = terminal.end()
    assert (exit_code, output) == (3, "")
    assert "the recording is in" in terminal.shown
    assert read_wav(tmp_path / "out" / "recording.wav").size > 8000


def test_with_both_a_sound_without_words_is_still_drawn_from(
    microphone: LiveMicrophone, shared_data: Path, tmp_path: Path
) -> None:
    """Which machine it is depends on what a busy computer lets through; that it is one does not."""
    models = ("--sound-model", str(shared_data / "yamnet.tflite"))
    terminal = Terminal(microphone, tmp_path, "run", "--hear", "both", *models, "-o", "out", "--json")
    terminal.wait_for("waiting")
    jackhammer = decode_audio(shared_data / "recordings" / "jackhammer.flac").samples
    microphone.say(jackhammer[:24000])
    exit_code, output = terminal.end()
    assert exit_code == 0, terminal.shown
    assert "no words that mini-whisper knows could be made out in microphone" in terminal.shown
    result = json.loads(output)
    assert result["transcript"] is None
    assert result["sounds"]["things"][0]["role"] == "thing"


def test_with_silero_installed_a_noise_is_no_speech(
    microphone: LiveMicrophone, shared_data: Path, tmp_path: Path
) -> None:
    """The burst of the test above, which is loud enough for the gate."""
    model = shared_data / "silero-v6.2.0-ggml.bin"
    file = InstalledFile(model.name, model.stat().st_size, "")
    licence = LicenceRecord("MIT", "")
    write_receipt(
        Receipt("silero-vad", "silero-vad", "vad", "ggml", str(model), str(shared_data), "", licence, (file,))
    )
    terminal = Terminal(microphone, tmp_path, "run", "-o", "out", "--limit", "3")
    terminal.wait_for("waiting")
    rng = np.random.default_rng(2)
    microphone.say((rng.standard_normal(16000) * 0.2).clip(-1, 1).astype(np.float32))
    assert terminal.end() == (3, "")
    assert "nobody spoke within 3 s" in terminal.shown


def test_the_microphone_of_the_settings(
    microphone: LiveMicrophone, audio2img: Any, private_home: Path, assert_fails: Any
) -> None:
    listed = audio2img("devices", env=microphone.environment)
    assert listed.stdout.startswith("*   0  default"), listed
    chosen = audio2img("devices", "--use", "0", env=microphone.environment)
    assert chosen.stdout.startswith("*>  0  default"), chosen
    [settings] = private_home.rglob("settings.toml")
    assert settings.read_text() == 'device = "default"\n'
    settings.write_text('# mine\ndevice = "a headset"\nsteps = 4\n')
    missing = audio2img("record", "--seconds", "0.5", "-o", "said.wav", env=microphone.environment)
    assert missing.returncode == 0
    assert "no microphone fits 'a headset'; listening to default instead" in missing.stderr
    named = audio2img("record", "--device", "a headset", "--seconds", "0.5", env=microphone.environment)
    assert_fails(named, 2, "no microphone fits 'a headset'", "0 default")
    audio2img("devices", "--use", "default", env=microphone.environment)
    assert settings.read_text() == "# mine\nsteps = 4\n"


@pytest.mark.parametrize("ending", ["mp3", "flac", "opus", "m4a"])
def test_a_recording_is_what_its_ending_says(
    microphone: LiveMicrophone, audio2img: Any, tmp_path: Path, ending: str
) -> None:
    done = audio2img("record", "--seconds", "0.5", "-o", f"said.{ending}", env=microphone.environment)
    assert (done.returncode, done.stdout) == (0, f"said.{ending}\n")
    with av.open(str(tmp_path / f"said.{ending}")) as file:
        [stream] = file.streams
        assert stream.codec_context.name.startswith({"m4a": "aac"}.get(ending, ending))


def test_a_recording_of_another_ending_is_refused_before_the_microphone_opens(
    microphone: LiveMicrophone, audio2img: Any, tmp_path: Path, assert_fails: Any
) -> None:
    """The microphone named here does not exist, which is said when it is looked for."""
    arguments = ["--device", "a headset", "--seconds", "0.5", "-o", "said.aif"]
    refused = audio2img("record", *arguments, env=microphone.environment)
    assert_fails(refused, 2, "the ending .aif", ".wav, .flac, .opus, .m4a, .mp3")
    assert list(tmp_path.iterdir()) == []


def test_keeping_what_is_a_file_already_is_refused(
    audio2img: Any, assert_fails: Any, demo_audio: Path
) -> None:
    assert_fails(audio2img("run", demo_audio, "--keep-audio"), 2, "--keep-audio")


@pytest.mark.parametrize("hear", ["sounds", "both"])
def test_sounds_come_from_the_microphone_too(
    microphone: LiveMicrophone, demo_audio: Path, yamnet_file: Path, tmp_path: Path, hear: str
) -> None:
    options = ("--hear", hear, "--sound-model", str(yamnet_file), *(["--seconds", "2"] * (hear == "sounds")))
    terminal = Terminal(microphone, tmp_path, "run", "-o", "out", "--json", "--steps", "2", *options)
    terminal.wait_for("listening" if hear == "sounds" else "waiting")
    if hear == "sounds":
        microphone.say((0.3 * np.sin(2 * np.pi * 440 * np.arange(5 * 16_000) / 16_000)).astype(np.float32))
    else:
        speak(microphone, demo_audio)
    exit_code, output = terminal.end()
    assert exit_code == 0, terminal.shown
    table = json.loads(output)
    if hear == "sounds":
        assert (table["transcript"], table["prompt"]) == (None, "a telephone off the hook")
    else:
        assert table["transcript"]["text"] == SENTENCE
        assert table["sounds"]["speech_leads"] is True


@pytest.mark.slow
def test_a_real_voice_is_understood_by_a_real_whisper(
    microphone: LiveMicrophone, shared_data: Path, tmp_path: Path
) -> None:
    voice = decode_audio(shared_data / "jfk.wav").samples[int(7.8 * 16000) :]
    models = ("--speech-model", str(shared_data / "ggml-tiny.en.bin"))
    terminal = Terminal(microphone, tmp_path, "run", "-o", "out", "--json", "--steps", "2", *models)
    terminal.wait_for("waiting for you to speak")
    microphone.say(voice)
    terminal.wait_for("hearing you (Enter: done)")
    exit_code, output = terminal.end()
    assert exit_code == 0, terminal.shown
    words = re.findall(r"[a-z]+", json.loads(output)["transcript"]["text"].lower())
    assert " ".join(words) == "ask what you can do for your country"
