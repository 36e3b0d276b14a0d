from __future__ import annotations

import contextlib
import http.server
import io
import os
import struct
import subprocess
import sys
import threading
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audio2img.audio import decode_audio, stream_audio
from audio2img.errors import InputError
from audio2img.types import SAMPLE_RATE_HZ, AudioClip


def amplitude_at(samples, frequency_hz):
    """The amplitude of one sine in `samples`, by projection on it, the first and last 50 ms left out."""
    inner = samples[800:-800].astype(np.float64)
    inner = inner[: len(inner) // 160 * 160]  # whole periods of every multiple of 100 Hz
    phase = np.exp(-2j * np.pi * frequency_hz * np.arange(len(inner)) / SAMPLE_RATE_HZ)
    return 2 * abs(np.mean(inner * phase))


def decibels(ratio):
    return 20 * np.log10(ratio)


LAME_GAIN = 0.95  # what the encoder multiplies every input by (lame --scale; its own default)

FORMATS = [
    # file, codec, container, rate
    ("u8.wav", "pcm_u8", None, 8000),
    ("s16.wav", "pcm_s16le", None, 44100),
    ("s24.wav", "pcm_s24le", None, 96000),
    ("s32.wav", "pcm_s32le", None, 48000),
    ("f32.wav", "pcm_f32le", None, 22050),
    ("f64.wav", "pcm_f64le", None, 11025),
    ("ulaw.wav", "pcm_mulaw", None, 8000),
    ("native.wav", "pcm_s16le", None, 16000),
    ("voice.mp3", "libmp3lame", None, 44100),
    ("voice.m4a", "aac", "mp4", 44100),
    ("voice.flac", "flac", None, 48000),
    ("voice.oga", "flac", "ogg", 44100),
    ("voice.ogg", "libopus", None, 48000),
    ("voice.opus", "libopus", "ogg", 48000),
    ("voice.webm", "libopus", "webm", 48000),
    ("voice.aiff", "pcm_s16be", None, 44100),
    ("voice.caf", "pcm_s16le", None, 44100),
]


@pytest.mark.parametrize(("name", "codec", "container", "rate"), FORMATS, ids=[row[0] for row in FORMATS])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_every_format_keeps_level_pitch_and_length(
    tmp_path, encode, tone, name, codec, container, rate, n_channels
):
    channels = np.stack([tone(1000, 0.5, rate)] * n_channels)
    encode(tmp_path / name, channels, rate, codec, container)

    clip = decode_audio(tmp_path / name)

    assert clip.samples.dtype == np.float32
    assert clip.samples.ndim == 1
    assert clip.source == name
    assert clip.duration_s == pytest.approx(1.0, abs=0.06)  # a lossy codec pads its last frame
    expected = 0.5 * (LAME_GAIN if codec == "libmp3lame" else 1.0)
    assert abs(decibels(amplitude_at(clip.samples, 1000) / expected)) < 0.1


@pytest.mark.parametrize(
    ("name", "codec"), [("six.wav", "pcm_s16le"), ("six.flac", "flac"), ("six.m4a", "aac")]
)
def test_six_channels_keep_their_level(tmp_path, encode, tone, name, codec):
    encode(tmp_path / name, np.stack([tone(100, 0.5, 48000)] * 6), 48000, codec)
    assert abs(decibels(amplitude_at(decode_audio(tmp_path / name).samples, 100) / 0.5)) < 0.1


@pytest.mark.parametrize(("name", "codec"), [("e.wv", "wavpack"), ("e.flac", "flac"), ("e.wav", "pcm_s16le")])
def test_the_mean_of_eight_channels_is_that_of_each(tmp_path, encode, tone, name, codec):
    """PyAV reads beyond the list of planes from eight on, which kills the process."""
    channels = np.stack([tone(100 * (number + 1), 0.1 * (number + 1), 16000) for number in range(8)])
    encode(tmp_path / name, channels, 16000, codec)
    samples = decode_audio(tmp_path / name).samples
    assert np.abs(samples - channels.mean(axis=0)[: len(samples)]).max() < 1e-4
    assert len(samples) == channels.shape[1]


@pytest.mark.parametrize(
    ("name", "codec", "n_channels"),
    [("e.m4a", "aac", 8), ("e.opus", "libopus", 8), ("s.wv", "wavpack", 16)],
)
def test_eight_and_sixteen_channels_keep_their_level(tmp_path, encode, tone, name, codec, n_channels):
    encode(tmp_path / name, np.stack([tone(100, 0.5, 48000)] * n_channels), 48000, codec)
    assert abs(decibels(amplitude_at(decode_audio(tmp_path / name).samples, 100) / 0.5)) < 0.1


def test_a_full_scale_stereo_tone_is_neither_raised_nor_clipped(tmp_path, encode, tone):
    encode(tmp_path / "loud.wav", np.stack([tone(1000, 0.9, 44100)] * 2), 44100, "pcm_s16le")
    samples = decode_audio(tmp_path / "loud.wav").samples
    assert np.abs(samples[800:-800]).max() == pytest.approx(0.9, abs=0.002)


def test_channels_are_averaged(tmp_path, encode, tone):
    channels = np.stack([tone(1000, 0.8, 44100), tone(2000, 0.4, 44100)])
    encode(tmp_path / "two.wav", channels, 44100, "pcm_f32le")
    samples = decode_audio(tmp_path / "two.wav").samples
    assert amplitude_at(samples, 1000) == pytest.approx(0.4, rel=1e-3)
    assert amplitude_at(samples, 2000) == pytest.approx(0.2, rel=1e-3)


def test_integer_depths_agree_with_their_definition(tmp_path):
    """One sample of each extreme and one of a quarter, written by hand at 16 kHz."""
    for width, values, scale in (
        (1, [0, 128, 160, 255], 128),
        (2, [-32768, 0, 8192, 32767], 32768),
        (4, [-(2**31), 0, 2**29, 2**31 - 1], 2**31),
    ):
        path = tmp_path / f"{width}.wav"
        with wave.open(str(path), "wb") as out:
            out.setparams((1, width, 16000, 0, "NONE", ""))
            out.writeframes(b"".join(struct.pack("<" + " Bh i"[width], value) for value in values))
        expected = [(value - 128) / 128 if width == 1 else value / scale for value in values]
        assert decode_audio(path).samples.tolist() == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("rate", [32000, 44100, 48000, 96000])
@pytest.mark.parametrize("frequency_hz", [8300, 10000, 12500, 15000])
def test_tones_above_8_khz_do_not_fold_back(tmp_path, encode, tone, rate, frequency_hz):
    encode(tmp_path / "high.wav", tone(frequency_hz, 0.9, rate)[None], rate, "pcm_f32le")
    samples = decode_audio(tmp_path / "high.wav").samples[800:-800]
    assert decibels(np.abs(samples).max() / 0.9) < -60


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
@pytest.mark.parametrize("frequency_hz", [100, 1000, 3000])
def test_tones_of_speech_pass_untouched(tmp_path, encode, tone, rate, frequency_hz):
    encode(tmp_path / "tone.wav", tone(frequency_hz, 0.5, rate)[None], rate, "pcm_f32le")
    samples = decode_audio(tmp_path / "tone.wav").samples
    expected = tone(frequency_hz, 0.5, SAMPLE_RATE_HZ)
    assert len(samples) == len(expected)
    # Sample by sample: level, pitch and time are all right, and nothing else was added.
    assert np.abs(samples - expected)[800:-800].max() < 5e-4


def test_a_rate_that_changes_midway_changes_no_pitch(tmp_path, encode, tone):
    joined = b""
    for rate in (44100, 22050):
        part = io.BytesIO()
        encode(part, tone(1000, 0.5, rate, 2.0)[None], rate, "libmp3lame", "mp3")
        joined += part.getvalue()
    samples = decode_audio(io.BytesIO(joined)).samples
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(4.0, abs=0.3)
    first, second = samples[8000:24000], samples[40000:56000]
    assert amplitude_at(first, 1000) == pytest.approx(0.5 * LAME_GAIN, rel=0.02)
    assert amplitude_at(second, 1000) == pytest.approx(0.5 * LAME_GAIN, rel=0.02)


def test_the_sound_of_a_video(tmp_path, encode, tone):
    encode(tmp_path / "clip.mp4", tone(1000, 0.5, 44100)[None], 44100, "aac", video=True)
    assert amplitude_at(decode_audio(tmp_path / "clip.mp4").samples, 1000) == pytest.approx(0.5, rel=0.01)


def test_a_real_recording(shared_data):
    path = shared_data / "jfk.wav"
    with wave.open(str(path), "rb") as reference:
        assert reference.getframerate() == SAMPLE_RATE_HZ
        expected = np.frombuffer(reference.readframes(reference.getnframes()), np.int16) / 32768
    assert np.array_equal(decode_audio(path).samples, expected.astype(np.float32))


@pytest.fixture
def m4a(encode, tone):
    """An m4a with its index at the end, where a pipe cannot go back to."""
    out = io.BytesIO()
    encode(out, tone(1000, 0.5, 44100, 3.0)[None], 44100, "aac", "mp4")
    return out.getvalue()


@pytest.fixture
def mp3(encode, tone):
    out = io.BytesIO()
    encode(out, tone(1000, 0.5, 44100, 3.0)[None], 44100, "libmp3lame", "mp3")
    return out.getvalue()


def test_file_objects(m4a):
    clip = decode_audio(io.BytesIO(m4a))
    assert amplitude_at(clip.samples, 1000) == pytest.approx(0.5, rel=0.01)
    assert clip.source == "the given file"


def test_a_pipe_as_file_object(m4a):
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb") as out:
            out.write(m4a)

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(reader, "rb") as file:
        clip = decode_audio(file)
    thread.join()
    assert clip.duration_s == pytest.approx(3.0, abs=0.05)


def run_python(code, *arguments, data=None):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], input=data, capture_output=True, check=False
    )


def test_standard_input(m4a):
    code = "from audio2img.audio import decode_audio as d; c = d('-'); print(c.source, round(c.duration_s))"
    done = run_python(code, data=m4a)
    assert (done.stdout.strip(), done.stderr) == (b"standard input 3", b"")


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX terminals")
def test_a_terminal_as_standard_input_is_no_recording():
    import pty

    terminal, end = pty.openpty()
    code = """
from audio2img.audio import decode_audio
from audio2img.errors import InputError
try:
    decode_audio("-")
except InputError as error:
    print(error.message)
"""
    done = subprocess.run([sys.executable, "-c", code], stdin=end, capture_output=True, check=False)
    os.close(terminal)
    os.close(end)
    assert b"is a terminal" in done.stdout


def test_progress_rises_to_the_end(tmp_path, encode, tone):
    encode(tmp_path / "long.wav", tone(1000, 0.5, 16000, 20.0)[None], 16000, "pcm_s16le")
    seen: list[float | None] = []
    decode_audio(tmp_path / "long.wav", progress=seen.append)
    assert len(seen) >= 4
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_streaming_gives_the_same_samples(m4a):
    whole = decode_audio(io.BytesIO(m4a)).samples
    blocks = list(stream_audio(io.BytesIO(m4a)))
    assert len(blocks) > 1
    assert np.array_equal(np.concatenate(blocks), whole)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs ru_maxrss")
def test_an_hour_is_streamed_in_constant_memory(tmp_path):
    """One hour of 8-bit 8 kHz: 230 MB of samples pass, and the process grows by far less."""
    path = tmp_path / "hour.wav"
    n_samples = 3600 * 8000
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + n_samples, b"WAVE", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8, b"data",
        n_samples,
    )  # fmt: skip
    with path.open("wb") as out:
        out.write(header)
        out.truncate(len(header) + n_samples)
    code = """
import resource, sys
from audio2img.audio import stream_audio
def peak_bytes():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
before = peak_bytes()
n = sum(len(block) for block in stream_audio(sys.argv[1]))
print(n, peak_bytes() - before)
"""
    n_out, growth = map(int, run_python(code, path).stdout.split())
    assert n_out == 3600 * SAMPLE_RATE_HZ
    assert growth < 80 << 20


# What cannot be decoded


def assert_refused(source, *words):
    with pytest.raises(InputError) as caught:
        decode_audio(source)
    assert "\n" not in caught.value.message
    assert caught.value.remedy
    for word in words:
        assert word in caught.value.message


def test_no_such_file(tmp_path):
    assert_refused(tmp_path / "none.wav", "no such file", "none.wav")
    assert_refused("", "folder")
    assert_refused("a\0b", "cannot be opened")


def test_a_directory(tmp_path):
    assert_refused(tmp_path, "folder")


def test_an_empty_file(tmp_path):
    (tmp_path / "empty.wav").touch()
    assert_refused(tmp_path / "empty.wav", "empty")
    assert_refused(io.BytesIO(), "empty")


def test_an_empty_pipe():
    reader, writer = os.pipe()
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        assert_refused(file, "empty")


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX permissions")
def test_a_file_without_permission(tmp_path):
    """In a process that is not root, since root may read everything."""
    path = tmp_path / "mine.wav"
    path.write_bytes(b"RIFF")
    path.chmod(0)
    code = """
import os, sys
from audio2img.audio import decode_audio
from audio2img.errors import InputError
if os.geteuid() == 0:
    os.setuid(65534)
try:
    decode_audio(sys.argv[1])
except InputError as error:
    print(error.message)
"""
    assert b"permission denied" in run_python(code, path).stdout


def test_a_file_object_opened_as_text(tmp_path):
    path = tmp_path / "text.wav"
    path.write_text("draw a house")
    with path.open() as file:
        assert_refused(file, "as text")


def test_a_file_that_fails_while_it_is_read(m4a):
    class Broken(io.BytesIO):
        def read(self, n_bytes: int | None = -1, /) -> bytes:
            if self.tell() > len(m4a) // 2:
                raise OSError(5, "Input/output error")
            return super().read(4096 if n_bytes is None else min(n_bytes, 4096))

    assert_refused(Broken(m4a), "cannot be read", "Input/output error")


@pytest.mark.parametrize(
    "text", ["draw me a house\n" * 20, "<html><body>404</body></html>", "#EXTM3U\nnone.wav\n"]
)
def test_text_named_wav(tmp_path, text):
    path = tmp_path / "fake.wav"
    path.write_text(text)
    assert_refused(path, "fake.wav")


def test_a_playlist_opens_no_address(tmp_path):
    """A text that FFmpeg takes for a playlist must not make us call anybody: a real server is listening."""
    calls: list[str] = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            calls.append(self.path)
            self.send_error(404)

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Listener) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/part.ts"
        path = tmp_path / "list.m3u8"
        path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n")
        try:
            assert_refused(path, "list.m3u8")
        finally:
            server.shutdown()
            thread.join()
    assert calls == []


def test_a_picture(tmp_path):
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "picture.png")
    assert_refused(tmp_path / "picture.png", "no audio track")


def test_a_video_without_sound(tmp_path):
    import av

    with av.open(str(tmp_path / "mute.mp4"), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in [av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")] * 5:
            frame.pts = None
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    assert_refused(tmp_path / "mute.mp4", "no audio track")


def test_an_m4a_without_its_index(m4a):
    assert_refused(io.BytesIO(m4a[: len(m4a) // 2]), "cut off", "index")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("codec", ["pcm_f32le", "pcm_f64le"])
def test_samples_that_are_not_numbers(tmp_path, encode, tone, value, codec):
    channels = tone(1000, 0.5, 48000)[None].copy()
    channels[0, 30000] = value
    encode(tmp_path / "bad.wav", channels, 48000, codec)
    assert_refused(tmp_path / "bad.wav", "not numbers")


def wav(form, n_bits, rate, data, n_channels=1):
    """A WAV file by hand: form 1 is integers, 3 floats."""
    width = n_channels * n_bits // 8
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, form, n_channels, rate,
        (rate * width) & 0xFFFFFFFF, width, n_bits, b"data", len(data),
    ) + data  # fmt: skip


def test_integers_of_64_bit():
    values = np.array([0, 1 << 62, -(1 << 62), -(1 << 63)], "<i8")
    samples = decode_audio(io.BytesIO(wav(1, 64, 16000, values.tobytes()))).samples
    assert samples.tolist() == [0.0, 0.5, -0.5, -1.0]


@pytest.mark.parametrize(("dtype", "n_bits"), [("<f4", 32), ("<f8", 64)])
@pytest.mark.parametrize("values", [[3e38, 3e38], [3e38, -1e38], [1e30, 1e30], [-1e12, -1e12]])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_floats_beyond_all_measure(dtype, n_bits, values, rate):
    data = np.array(values * 4000, dtype).tobytes()
    assert_refused(io.BytesIO(wav(3, n_bits, rate, data, 2)), "not numbers")


def test_doubles_that_no_float_holds():
    assert_refused(io.BytesIO(wav(3, 64, 16000, np.array([1e200] * 4000).tobytes())), "not numbers")


def test_integers_written_as_floats_stay_finite():
    data = np.array([32767.0, -32768.0] * 4000, "<f4").tobytes()
    assert np.isfinite(decode_audio(io.BytesIO(wav(3, 32, 44100, data))).samples).all()


@pytest.mark.parametrize("rate", [1, 10, 14, 999, 3_000_001, 2_000_000_000])
def test_a_rate_that_no_sound_has(rate):
    assert_refused(io.BytesIO(wav(1, 16, rate, bytes(20000))), f"{rate} samples a second")


@pytest.mark.parametrize("n_channels", [65, 300])
def test_more_channels_than_can_be_mixed(n_channels):
    assert_refused(io.BytesIO(wav(1, 16, 16000, bytes(2 * n_channels * 1000), n_channels)), "channels")


def test_sixty_four_channels():
    frames = np.tile(np.arange(64, dtype="<i2") * 512, 1000)
    samples = decode_audio(io.BytesIO(wav(1, 16, 16000, frames.tobytes(), 64))).samples
    assert samples.tolist() == [pytest.approx(31.5 * 512 / 32768)] * 1000


def test_more_sound_than_a_file_of_its_size_can_hold():
    """Ten hours in a few hundred bytes: FLAC writes a whole block of silence as one number."""
    import av

    packed = io.BytesIO()
    with av.open(packed, "w", format="flac") as out:
        stream = out.add_stream("flac", rate=1000, options={"frame_size": "65535"})
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 36_000_000), np.int16), format="s16", layout="mono")
        frame.sample_rate = 1000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    assert len(packed.getvalue()) < 50_000
    packed.seek(0)
    assert_refused(packed, "far more than a file of its size can hold")


def test_a_short_silence_may_take_next_to_nothing(tmp_path, encode):
    encode(tmp_path / "quiet.flac", np.zeros((1, 16000 * 300)), 16000, "flac")
    assert decode_audio(tmp_path / "quiet.flac").duration_s == 300


@pytest.mark.parametrize(("name", "order"), [("a.w64", "<"), ("a.caf", ">")])
def test_a_seek_to_nowhere_ends_no_program(tmp_path, encode, tone, capfd, name, order):
    """A chunk so long that no file can: the system refuses to go behind it, and the sound is still there."""
    path = tmp_path / name
    encode(path, tone(440, 0.5, 16000)[None], 16000, "pcm_s16le")
    data = path.read_bytes()
    at = data.index(b"data")
    kind = b"junk" + (data[at + 4 : at + 16] if name == "a.w64" else b"")
    path.write_bytes(data[:at] + kind + struct.pack(order + "Q", 1 << 62) + data[at:])
    assert decode_audio(path).duration_s == 1.0
    assert capfd.readouterr() == ("", "")


def test_a_file_object_that_gives_more_than_it_was_asked_for(m4a):
    """PyAV would copy all of it, beyond the end of its buffer."""

    class Generous(io.BytesIO):
        def read(self, n_bytes: int | None = -1, /) -> bytes:
            return super().read(None if n_bytes is None else 1000 * n_bytes)

    with contextlib.suppress(InputError):
        decode_audio(Generous(m4a * 100))


def test_recordings_that_killed_careless_decoders(shared_data):
    decoded = {}
    for path in sorted((shared_data / "awkward-audio").iterdir()):
        with contextlib.suppress(InputError):
            decoded[path.name] = round(decode_audio(path).duration_s)
    assert decoded == {
        "a1-9-s011.caf": 3, "a3-1722-s011.w64": 3, "aac51.m4a": 2, "aac61.m4a": 2, "aac71.m4a": 2,
        "alac71.m4a": 2, "opus16.opus": 2, "opus71.opus": 2, "vorbis71.ogg": 2, "wv71.wv": 2,
    }  # fmt: skip


def test_a_wav_header_without_samples(tmp_path):
    with wave.open(str(tmp_path / "none.wav"), "wb") as out:
        out.setparams((1, 2, 16000, 0, "NONE", ""))
    assert_refused(tmp_path / "none.wav")


# What is damaged but has something to give


def test_a_truncated_mp3_gives_what_is_there_and_says_so(mp3, caplog):
    clip = decode_audio(io.BytesIO(mp3[: len(mp3) // 2]))
    assert clip.duration_s == pytest.approx(1.5, abs=0.2)
    assert "cut short" in caplog.text


def test_a_truncated_m4a_with_its_index_in_front_gives_what_is_there(tmp_path, tone, caplog):
    import av

    path = tmp_path / "front.m4a"
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as out:
        stream = out.add_stream("aac", rate=44100)
        stream.layout = "mono"
        samples = tone(1000, 0.5, 44100, 4.0).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = 44100
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    clip = decode_audio(io.BytesIO(data[: len(data) * 6 // 10]))
    assert 1.0 < clip.duration_s < 3.0
    assert "cut short" in caplog.text


def test_a_whole_file_is_not_called_cut_short(m4a, mp3, caplog):
    for data in (m4a, mp3):
        decode_audio(io.BytesIO(data))
    assert caplog.text == ""


def test_a_clip_of_20_ms_decodes(tmp_path, encode, tone):
    encode(tmp_path / "short.wav", tone(1000, 0.5, 44100, 0.02)[None], 44100, "pcm_s16le")
    assert decode_audio(tmp_path / "short.wav").duration_s == pytest.approx(0.02, abs=1e-3)


def test_ffmpeg_says_nothing_on_the_terminal(mp3, m4a, capfd):
    broken = bytearray(mp3)
    broken[2000:2200] = bytes(200)
    decode_audio(io.BytesIO(bytes(broken)))
    with pytest.raises(InputError):
        decode_audio(io.BytesIO(m4a[:5000]))
    with pytest.raises(InputError):
        decode_audio(io.BytesIO(b"nothing of the kind"))
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_raises_anything_but_an_input_error(data, mp3, m4a, tone):
    base = data.draw(st.sampled_from([mp3, m4a]))
    broken = bytearray(base[: data.draw(st.integers(0, len(base)))])
    for _ in range(data.draw(st.integers(0, 8))):
        if broken:
            broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    try:
        clip = decode_audio(io.BytesIO(bytes(broken)))
    except InputError:
        return
    assert isinstance(clip, AudioClip)
    assert np.isfinite(clip.samples).all()


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=400))
def test_random_bytes_are_refused_or_decoded(data):
    with contextlib.suppress(InputError):
        decode_audio(io.BytesIO(data))


def test_paths_of_any_spelling(tmp_path, encode, tone):
    for name in ("http:memo.wav", "späte Aufnahme %d.wav", "-leading.wav"):
        path: Path = tmp_path / name
        encode(path, tone(1000, 0.5, 16000)[None], 16000, "pcm_s16le", "wav")
        assert decode_audio(str(path)).source == name
