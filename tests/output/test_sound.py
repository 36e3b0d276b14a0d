"""Sound that we write can be read back as it was, in every format, by us and by others."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from audio2img.audio.decode import decode_audio
from audio2img.errors import MachineError, UsageError
from audio2img.installation import how_to_repair
from audio2img.output.sound import FORMATS, sound_format, write_sound
from audio2img.types import AudioClip

KINDS = {  # what the file really is: FFmpeg's names of container and codec
    ".wav": ("wav", "pcm_s16le"),
    ".flac": ("flac", "flac"),
    ".opus": ("ogg", "opus"),
    ".m4a": ("mov,mp4,m4a,3gp,3g2,mj2", "aac"),
    ".mp3": ("mp3", "mp3float"),
}


def tone(duration_s: float = 5.0) -> AudioClip:
    """Longer than one block of the encoder."""
    times = np.arange(int(16000 * duration_s)) / 16000
    return AudioClip((0.5 * np.sin(2 * np.pi * 440 * times)).astype(np.float32))


@pytest.mark.parametrize("ending", FORMATS)
def test_the_ending_says_what_the_file_is(tmp_path: Path, ending: str) -> None:
    import av

    path = write_sound(tone(), tmp_path / f"a{ending}")
    assert path == tmp_path / f"a{ending}"
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        assert (container.format.name, stream.codec_context.name) == KINDS[ending]
        assert stream.codec_context.layout.nb_channels == 1
    heard = decode_audio(path).samples
    assert len(heard) / 16000 == pytest.approx(5.0, abs=0.15)
    middle = heard[16000:48000]
    amplitude = 2 * abs(np.mean(middle * np.exp(-2j * np.pi * 440 * np.arange(len(middle)) / 16000)))
    assert amplitude == pytest.approx(0.5, rel=0.06)  # LAME takes 5 % away


@pytest.mark.parametrize("ending", [".wav", ".flac"])
def test_a_clip_survives_the_round_trip_to_16_bits(tmp_path: Path, ending: str) -> None:
    samples = np.random.default_rng(4).uniform(-1, 1, 150_000).astype(np.float32)
    path = write_sound(AudioClip(samples), tmp_path / f"a{ending}")
    again = decode_audio(path).samples
    assert again.shape == samples.shape
    assert np.abs(again - samples).max() <= 1 / 32768


def test_a_wav_is_what_everybody_reads(tmp_path: Path) -> None:
    with wave.open(str(write_sound(tone(), tmp_path / "a.wav"))) as file:
        assert file.getparams()[:4] == (1, 2, 16000, 80000)


def test_loud_samples_are_clipped_and_nothing_is_overwritten(tmp_path: Path) -> None:
    loud = AudioClip(np.array([2.0, -2.0], np.float32))
    first, second = (write_sound(loud, tmp_path / "a.wav") for _ in range(2))
    assert (first.name, second.name) == ("a.wav", "a-2.wav")
    assert np.allclose(decode_audio(second).samples, [1, -1], atol=1e-4)


@pytest.mark.parametrize("ending", FORMATS)
def test_nothing_can_be_written(tmp_path: Path, ending: str) -> None:
    assert write_sound(AudioClip(np.zeros(0, np.float32)), tmp_path / f"a{ending}").is_file()


@pytest.mark.parametrize("name", ["a.txt", "a", "a.wav.zip", ".wav"])
def test_other_endings_are_refused_with_the_list(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        write_sound(tone(), tmp_path / name)
    assert all(ending in caught.value.remedy for ending in FORMATS)
    assert list(tmp_path.iterdir()) == []


def test_the_case_of_an_ending_is_no_matter() -> None:
    assert sound_format(Path("A.MP3")) == FORMATS[".mp3"]


def test_an_ffmpeg_without_the_encoder_is_named_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import av

    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libmp3lame", "mp3"})
    with pytest.raises(MachineError, match=r"cannot write \.mp3") as caught:
        sound_format(tmp_path / "a.mp3")
    assert how_to_repair("av") in caught.value.remedy
