"""Bad input: one line that says what and what next, the right exit code, nothing left behind."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from audio2img.config import settings_file

Command = Callable[..., subprocess.CompletedProcess[str]]
DEMO = str(Path(__file__).resolve().parents[2] / "models" / "mini" / "demo.flac")
Check = Callable[..., None]


def write_wav(path: Path, samples: np.ndarray[Any, Any], dtype: str = "<i2") -> Path:
    """A 16 kHz mono WAV file: 16-bit integers, or floats with dtype "<f4"."""
    data = samples.astype(dtype).tobytes()
    width = np.dtype(dtype).itemsize
    code = 3 if "f" in dtype else 1
    header = b"RIFF" + (36 + len(data)).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    header += code.to_bytes(2, "little") + (1).to_bytes(2, "little") + (16000).to_bytes(4, "little")
    header += (16000 * width).to_bytes(4, "little") + width.to_bytes(2, "little")
    header += (8 * width).to_bytes(2, "little") + b"data" + len(data).to_bytes(4, "little")
    path.write_bytes(header + data)
    return path


def no_file(folder: Path, demo: Path) -> Path:
    return folder / "nothing.wav"


def directory(folder: Path, demo: Path) -> Path:
    return folder


def empty_file(folder: Path, demo: Path) -> Path:
    path = folder / "empty.wav"
    path.touch()
    return path


def text_file(folder: Path, demo: Path) -> Path:
    path = folder / "text.wav"
    path.write_text("dear diary, today I drew a house\n" * 50)
    return path


def not_numbers(folder: Path, demo: Path) -> Path:
    return write_wav(folder / "nan.wav", np.full(16000, np.nan), "<f4")


def silent_hour(folder: Path, demo: Path) -> Path:
    return write_wav(folder / "hour.wav", np.zeros(3600 * 16000, np.int16))


def twenty_milliseconds(folder: Path, demo: Path) -> Path:
    tone = 8000 * np.sin(np.arange(320) * 0.2)
    return write_wav(folder / "short.wav", tone)


def encoded(demo: Path, path: Path, codec: str) -> Path:
    """The demo sentence in another format."""
    with av.open(str(demo)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream(codec, rate=16000)
        for frame in source.decode(audio=0):
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return path


def cut_in_half(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def half_an_m4a(folder: Path, demo: Path) -> Path:
    return cut_in_half(encoded(demo, folder / "cut.m4a", "aac"))


def silent_film(folder: Path, demo: Path) -> Path:
    path = folder / "film.mp4"
    with av.open(str(path), "w") as target:
        stream = target.add_stream("mpeg4", rate=10, width=64, height=64, pix_fmt="yuv420p")
        for _ in range(10):
            target.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        target.mux(stream.encode(None))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "exit_code", "words"),
    [
        (no_file, 6, "nothing.wav"),
        (directory, 6, "folder"),
        (empty_file, 6, "empty.wav"),
        (text_file, 6, "text.wav"),
        (not_numbers, 6, "nan.wav"),
        (half_an_m4a, 6, "cut.m4a"),
        (silent_film, 6, "film.mp4"),
        (silent_hour, 3, "silen"),
        (twenty_milliseconds, 3, "short"),
    ],
)
def test_sound_that_cannot_be_drawn(
    audio2img: Command,
    assert_fails: Check,
    demo_audio: Path,
    tmp_path: Path,
    make: Callable[[Path, Path], Path],
    exit_code: int,
    words: str,
) -> None:
    source = make(tmp_path, demo_audio)
    assert_fails(audio2img("run", source, "-o", tmp_path / "out"), exit_code, words)
    assert not (tmp_path / "out").exists()


def test_what_is_left_of_a_cut_mp3_is_drawn_and_the_damage_said(
    audio2img: Command, demo_audio: Path, tmp_path: Path
) -> None:
    source = encoded(demo_audio, tmp_path / "cut.mp3", "mp3")
    source.write_bytes(source.read_bytes()[: int(source.stat().st_size * 0.7)])
    done = audio2img("run", source, "-o", tmp_path / "out.png", "--steps", 1)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'out.png'}\n")
    assert "cut.mp3" in done.stderr


def limit_file_size() -> None:
    """In the child: no file may grow beyond 4 kB, as if the disk were full."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX resource limits, not Windows")
def test_a_full_disk_leaves_nothing_behind(audio2img: Command, assert_fails: Check, tmp_path: Path) -> None:
    done = audio2img("generate", "a cat", "--steps", 1, "-o", tmp_path / "out", preexec_fn=limit_file_size)
    assert_fails(done, 5, "out")
    assert not (tmp_path / "out").exists()


def cut(part: float) -> Callable[[bytes], bytes]:
    return lambda data: data[: int(len(data) * part)]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: bytes(1000), id="zeros"),
        pytest.param(cut(0.5), id="half"),
        pytest.param(lambda data: data[:-7], id="last-bytes"),
        pytest.param(lambda data: b"\x89PNG" + data[4:], id="other-kind"),
        pytest.param(lambda data: data + b"more", id="too-long"),
    ],
)
def test_a_damaged_speech_model_is_refused_not_crashed_on(
    audio2img: Command,
    assert_fails: Check,
    demo_audio: Path,
    mini_whisper: Path,
    tmp_path: Path,
    damage: Callable[[bytes], bytes],
) -> None:
    model = tmp_path / "ggml-damaged.bin"
    model.write_bytes(damage(mini_whisper.read_bytes()))
    assert_fails(audio2img("transcribe", demo_audio, "--speech-model", model), 4, "ggml-damaged.bin")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["run", DEMO, "--model", "nonesuch"], 4, "nonesuch"),
        (["run", DEMO, "--speech-model", "./nonesuch.bin"], 4, "nonesuch.bin"),
        (["run", DEMO, "--speech-model", "mini"], 4, "mini"),
        (["run", "x.wav", "--from", "y.png"], 2, "--from"),
        (["run", "--from", "y.png"], 6, "y.png"),
        (["generate", "a cat", "--scheduler", "nonesuch"], 2, "dpmpp-2m"),
        (["generate", "a cat", "--size", "big"], 2, "512x512"),
        (["generate", "a cat", "--size", "640x480"], 2, "128x128"),
        (["generate", "a cat", "--seed", "-1"], 2, "seed"),
        (["generate", "a cat", "--count", "0"], 2, "one or more"),
        (["demo", "--seed", "-1"], 2, "seed"),
        (["generate", "a cat", "--style", "nonesuch"], 2, "watercolor"),
        (["generate", "a cat", "--backend", "nonesuch"], 2, "coreml"),
        (["generate", "please draw"], 3, ""),
        (["generate"], 2, "TEXT"),
        (["nonesuch"], 2, "nonesuch"),
        (["show", "nonesuch.png"], 6, "nonesuch.png"),
        (["models", "show", "nonesuch"], 4, "mini-whisper"),
    ],
)
def test_wrong_commands(
    audio2img: Command, assert_fails: Check, arguments: list[str], exit_code: int, words: str
) -> None:
    assert_fails(audio2img(*arguments), exit_code, words)


def damaged_copies(bundle: Path, folder: Path) -> list[Path]:
    """The mini bundle with its UNet's weights cut, its program cut, and the whole UNet gone."""
    copies = [Path(shutil.copytree(bundle, folder / name)) for name in ("weights", "program", "no-unet")]
    for copy, suffix in ((copies[0], "weight.bin"), (copies[1], "model.mlmodel")):
        victim = next(path for path in copy.rglob(suffix) if "unet" in str(path).lower())
        victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    shutil.rmtree(next(path for path in copies[2].glob("*.mlpackage") if "unet" in path.name.lower()))
    return copies


def test_a_damaged_image_model_is_refused_by_name(
    audio2img: Command, assert_fails: Check, mini_bundle: Path, tmp_path: Path
) -> None:
    for bundle in damaged_copies(mini_bundle, tmp_path):
        done = audio2img("generate", "a cat", "--model", bundle, "-o", tmp_path / "out")
        assert_fails(done, 4, "unet")
        assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be(audio2img: Command, assert_fails: Check, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert_fails(audio2img("generate", "a cat", "--steps", 1, "-o", tmp_path / "file" / "out"), 2, "file")


def test_a_broken_settings_file_is_named(audio2img: Command, assert_fails: Check, private_home: Path) -> None:
    path = settings_file()
    assert private_home in path.parents
    path.parent.mkdir(parents=True)
    path.write_text("steps = many\n")
    assert_fails(audio2img("generate", "a cat"), 2, "settings.toml")
    path.write_text("stepz = 4\n")
    assert_fails(audio2img("generate", "a cat"), 2, "stepz")
    path.write_text('steps = "4"\n')
    assert_fails(audio2img("generate", "a cat"), 2, "steps")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["run", "none.wav"], 6, "none.wav"),
        (["run", DEMO, "--style", "nonesuch"], 2, "nonesuch"),
        (["run", DEMO, "--scheduler", "nonesuch"], 2, "dpmpp-2m"),
        (["run", DEMO, "-o", "one.png", "--count", "2"], 2, "--output"),
        (["generate", "a cat", "--style", "nonesuch"], 2, "nonesuch"),
        (["generate", "a cat", "--init-image", "none.png"], 6, "none.png"),
    ],
)
def test_what_was_typed_is_checked_before_a_model_is_missed(
    audio2img: Command, assert_fails: Check, arguments: list[str], exit_code: int, words: str
) -> None:
    missing = {"AUDIO2IMG_MODEL": "sd21-base-diffusers", "AUDIO2IMG_SPEECH_MODEL": "whisper-base"}
    assert_fails(audio2img(*arguments, env=missing), exit_code, words)


@pytest.mark.parametrize("command", ["run", "transcribe"])
@pytest.mark.parametrize("url", ["http://localhost:9/x", "https://[::ffff:7f00:1]/x", "file:///etc/passwd"])
def test_addresses_of_this_machine_are_refused(audio2img: Callable[..., Any], command: str, url: str) -> None:
    done = audio2img(command, url, env={"HF_HUB_OFFLINE": "0"})
    assert (done.returncode, done.stdout) == (6, "")
    assert "of this machine or its networks" in done.stderr or "file:// addresses are not" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["run", "transcribe", "classify"])
def test_no_address_is_read_offline(audio2img: Callable[..., Any], command: str) -> None:
    done = audio2img(command, "https://example.org/x.mp3", "--offline")
    assert (done.returncode, done.stdout) == (5, "")
    assert "the network is off" in done.stderr
    assert done.stderr.count("\n") == 1
