from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import threading
from contextlib import closing

import numpy as np
import pytest

from audio2img.errors import (
    CancelledError,
    InputError,
    MachineError,
    ModelError,
    NothingToDrawError,
    UsageError,
)
from audio2img.installation import how_to_repair
from audio2img.recognition import SpeechSetup, SpeechWishes, load_recognizer, whisper
from audio2img.recognition.native import NativeModel, RawSegment
from audio2img.recognition.speech_windows import Window
from audio2img.recognition.whisper import WhisperRecognizer, _segment_in
from audio2img.types import SAMPLE_RATE_HZ, AudioClip
from tests.recognition.conftest import ModelFile
from tests.speech_synthesis import synthesize


@pytest.fixture(scope="module")
def recognizer(mini_whisper):
    with closing(load_recognizer(ModelFile(mini_whisper, "mini", min_probability=0.8))) as loaded:
        yield loaded


@pytest.fixture(scope="session")
def demo_clip(demo_audio):
    from audio2img.audio import decode_audio

    return decode_audio(demo_audio)


@pytest.fixture(scope="session")
def say(tmp_path_factory):
    """Speech from a real synthesizer, of another voice and speed than the demo's."""
    return functools.partial(synthesize, tmp_path_factory.mktemp("speech") / "said.wav")


def noise(duration_s, amplitude, seed=0):
    samples = np.random.default_rng(seed).standard_normal(int(duration_s * SAMPLE_RATE_HZ)) * amplitude
    return AudioClip(samples.astype(np.float32), "noise.wav")


def silence(duration_s):
    return AudioClip(np.zeros(int(duration_s * SAMPLE_RATE_HZ), np.float32), "silence.wav")


# Words


def test_the_demo_sentence_is_understood(recognizer, demo_clip):
    from audio2img.prompt.mini_world import unknown_words

    transcript = recognizer.transcribe(demo_clip)
    assert len(transcript.text.split()) >= 4
    assert unknown_words(transcript.text) == ()
    assert (transcript.language, transcript.language_probability) == ("en", None)
    assert (transcript.task, transcript.model) == ("transcribe", "mini")
    for segment in transcript.segments:
        assert 0.0 <= segment.start_s < segment.end_s <= demo_clip.duration_s
        assert segment.probability is not None
        assert segment.probability >= 0.8


@pytest.mark.parametrize("text", ["a red circle", "draw a small blue boat by the sea"])
def test_synthesized_speech_is_understood(recognizer, say, text):
    assert recognizer.transcribe(say(text)).text == text


def test_the_same_clip_gives_the_same_words_whatever_was_asked_before(recognizer, demo_clip):
    first = recognizer.transcribe(demo_clip)
    with contextlib.suppress(NothingToDrawError):  # the mini model was not trained to take a prompt
        recognizer.transcribe(demo_clip, SpeechWishes("en", initial_prompt="castle fish mountain"))
    assert recognizer.transcribe(demo_clip) == first


def test_long_audio_in_full_with_its_own_times(recognizer, demo_clip):
    """Two minutes, of which a short-context model hears ten seconds at once."""
    sentence = recognizer.transcribe(demo_clip).text
    gap = np.zeros(int(3.7 * SAMPLE_RATE_HZ), np.float32)
    period_s = demo_clip.duration_s + 3.7
    n_times = int(120 / period_s)
    long = AudioClip(np.concatenate([demo_clip.samples, gap] * n_times), "long.wav")
    seen = []
    transcript = recognizer.transcribe(long, progress=seen.append)
    assert transcript.text == " ".join([sentence] * n_times)
    assert tuple(seen) == transcript.segments
    for number, segment in enumerate(transcript.segments):
        assert segment.start_s >= number * period_s - 0.4
        assert segment.end_s <= (number + 1) * period_s
    assert transcript.segments[-1].end_s <= long.duration_s


def test_sentences_with_a_short_pause_between_them(recognizer, demo_clip):
    sentence = recognizer.transcribe(demo_clip).text
    gap = np.random.default_rng(0).standard_normal(SAMPLE_RATE_HZ).astype(np.float32) * 1e-4
    both = AudioClip(np.concatenate([demo_clip.samples, gap, demo_clip.samples]))
    assert recognizer.transcribe(both).text == f"{sentence} {sentence}"


def test_a_model_of_full_context_with_timestamps_stays_inside_the_clip(random_whisper):
    """Random weights: nonsense comes out, but in the right frame."""
    with WhisperRecognizer(random_whisper) as recognizer:
        clip = noise(70, 0.1)
        transcript = recognizer.transcribe(clip)
        assert transcript.model == "random"
        for segment in transcript.segments:
            assert 0.0 <= segment.start_s <= segment.end_s <= clip.duration_s


def test_real_speech_outside_the_small_world_does_no_harm(recognizer, shared_data):
    from audio2img.audio import decode_audio

    clip = decode_audio(shared_data / "jfk.wav")
    with contextlib.suppress(NothingToDrawError):
        assert recognizer.transcribe(clip).text


# No words


def refusal(recognizer, clip, kind=NothingToDrawError, **wishes):
    with pytest.raises(kind) as caught:
        recognizer.transcribe(clip, SpeechWishes(**wishes))
    assert caught.value.remedy
    return caught.value.message


@pytest.mark.parametrize("duration_s", [0.3, 5, 3600])
def test_digital_silence_is_called_that(recognizer, duration_s):
    assert "every sample is zero" in refusal(recognizer, silence(duration_s))


def test_a_quiet_room_is_too_quiet(recognizer):
    assert "too quiet" in refusal(recognizer, noise(5, 0.0003))


def test_noise_gives_no_words(recognizer):
    for amplitude in (0.005, 0.05, 0.3):
        assert "no words" in refusal(recognizer, noise(3, amplitude))


def test_a_hum_and_clicks_give_no_words(recognizer):
    times = np.arange(3 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    refusal(recognizer, AudioClip((0.1 * np.sin(2 * np.pi * 50 * times)).astype(np.float32)))
    clicks = np.zeros_like(times, np.float32)
    clicks[::8000] = 0.9
    refusal(recognizer, AudioClip(clicks))


def test_a_clip_of_20_ms_is_too_short(recognizer):
    assert "20 ms" in refusal(recognizer, noise(0.02, 0.1))
    assert "too short" in refusal(recognizer, AudioClip(np.zeros(0, np.float32)))


def test_voice_activity_detection_refuses_noise_and_lets_speech_pass(mini_whisper, shared_data, demo_clip):
    vad = shared_data / "silero-v6.2.0-ggml.bin"
    model = ModelFile(mini_whisper, min_probability=0.0)
    with closing(load_recognizer(model, SpeechSetup(vad=vad))) as recognizer:
        refusal(recognizer, noise(3, 0.05))
        transcript = recognizer.transcribe(demo_clip)
        assert len(transcript.text.split()) >= 4
        assert transcript.segments[-1].end_s <= demo_clip.duration_s


@pytest.mark.parametrize(
    ("raw_times", "times"),
    [((-1007.26, 30.0), (10.0, 15.0)), ((1.0, 2.5), (11.0, 12.5)), ((7.0, 9.0), (15.0, 15.0))],
)
def test_times_are_the_clips_and_inside_the_window(raw_times, times):
    window = Window(10 * SAMPLE_RATE_HZ, 15 * SAMPLE_RATE_HZ)
    segment = _segment_in(window, RawSegment(*raw_times, "a house", 0.9))
    assert (segment.start_s, segment.end_s) == times


# Languages


@pytest.fixture(scope="module")
def many_languages(tmp_path_factory, write_whisper):
    path = write_whisper(tmp_path_factory.mktemp("many") / "many.bin", n_vocab=51865)
    with WhisperRecognizer(path) as recognizer:
        yield recognizer


def language_of(recognizer, language):
    transcript = recognizer.transcribe(noise(1, 0.1), SpeechWishes(language))
    return transcript.language, transcript.language_probability


def test_a_multilingual_model_detects_the_language(many_languages):
    language, probability = language_of(many_languages, None)
    assert len(language) in (2, 3)
    assert 0.0 < probability <= 1.0
    assert language_of(many_languages, "auto") == (language, probability)


@pytest.mark.parametrize(
    ("asked", "code"), [("de", "de"), ("German", "de"), (" EN ", "en"), ("japanese", "ja")]
)
def test_a_language_by_code_or_name(many_languages, asked, code):
    assert language_of(many_languages, asked) == (code, None)


def test_others_work_while_a_language_is_detected(tmp_path, write_whisper):
    """Whoever holds the interpreter's lock for a pass of the encoder makes everybody else stand still."""
    model = NativeModel(str(write_whisper(tmp_path / "many.bin", n_vocab=51865, width=256)))
    done = threading.Event()

    def detect():
        model.detect_language(noise(30, 0.1).samples, 1, lambda: False)
        done.set()

    thread = threading.Thread(target=detect)
    thread.start()
    n_turns = 0
    while not done.wait(0.001):
        n_turns += 1
    thread.join()
    assert n_turns > 20
    model.close()


def test_an_unknown_language_lists_the_choices(many_languages):
    with pytest.raises(UsageError) as caught:
        many_languages.transcribe(noise(1, 0.1), SpeechWishes("klingon"))
    assert "klingon" in caught.value.message
    assert " de, " in caught.value.remedy
    assert "yue" not in caught.value.remedy  # this vocabulary has no token for it
    with pytest.raises(UsageError):
        many_languages.transcribe(noise(1, 0.1), SpeechWishes("yue"))


def test_translation_is_a_task(many_languages):
    assert many_languages.transcribe(noise(1, 0.1), SpeechWishes(task="translate")).task == "translate"


def test_an_english_model_takes_english_only(recognizer, demo_clip):
    assert recognizer.transcribe(demo_clip, SpeechWishes("English")).language == "en"
    assert "English only" in refusal(recognizer, demo_clip, UsageError, language="de")
    assert "cannot translate" in refusal(recognizer, demo_clip, UsageError, task="translate")


# Cancelling, sharing, closing


def test_cancelling_ends_it_and_the_model_stays_usable(recognizer, demo_clip):
    long = AudioClip(np.concatenate([demo_clip.samples] * 200))
    asked = []

    def cancelled():
        asked.append(True)
        return len(asked) > 3

    with pytest.raises(CancelledError):
        recognizer.transcribe(long, cancelled=cancelled)
    assert recognizer.transcribe(demo_clip).text


def test_cancelling_does_not_wait_for_the_model_to_be_loaded(mini_whisper, demo_clip, monkeypatch):
    loading, go_on = threading.Event(), threading.Event()

    def load_slowly(path, **options):
        loading.set()
        go_on.wait()
        return NativeModel(path, **options)

    monkeypatch.setattr(whisper, "NativeModel", load_slowly)
    recognizer = WhisperRecognizer(mini_whisper)
    try:
        with pytest.raises(CancelledError):
            recognizer.transcribe(demo_clip, cancelled=loading.is_set)
        with pytest.raises(CancelledError):
            recognizer.transcribe(demo_clip, cancelled=loading.is_set)
    finally:
        go_on.set()
    assert recognizer.transcribe(demo_clip).segments
    recognizer.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_the_callback_raises_comes_out(recognizer, demo_clip, error):
    def progress(_segment):
        raise error

    with pytest.raises(error):
        recognizer.transcribe(demo_clip, progress=progress)
    assert recognizer.transcribe(demo_clip).text


def test_threads_share_one_model(recognizer, demo_clip):
    expected = recognizer.transcribe(demo_clip)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(recognizer.transcribe(demo_clip))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


def test_a_closed_recognizer_loads_again(mini_whisper, demo_clip):
    recognizer = WhisperRecognizer(mini_whisper)
    first = recognizer.transcribe(demo_clip)
    recognizer.close()
    recognizer.close()
    assert recognizer.transcribe(demo_clip) == first
    recognizer.close()


# What goes wrong


def test_a_damaged_model_is_refused_and_the_process_lives(tmp_path, mini_whisper, shared_data):
    data = mini_whisper.read_bytes()
    for name, content in (
        ("empty", b""),
        ("half", data[: len(data) // 2]),
        ("last", data[:-3]),
        ("text", b"no"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError):
            WhisperRecognizer(tmp_path / name).load()
    with pytest.raises(ModelError):
        WhisperRecognizer(tmp_path / "none.bin").load()
    with pytest.raises(ModelError):
        WhisperRecognizer(shared_data / "silero-v6.2.0-ggml.bin").load()


def test_a_missing_or_damaged_vad_model_is_refused(tmp_path, mini_whisper, demo_clip):
    (tmp_path / "damaged.bin").write_bytes(b"lmgg")
    for name in ("none.bin", "damaged.bin"):
        with pytest.raises(ModelError):
            WhisperRecognizer(mini_whisper, vad_model_path=tmp_path / name).transcribe(demo_clip)


def test_samples_of_another_kind_are_refused(recognizer):
    for samples in (np.zeros((16000, 2), np.float32), np.zeros(16000, np.int16), np.zeros(16000)):
        refusal(recognizer, AudioClip(samples), InputError)
    bad = np.full(16000, 0.1, np.float32)
    bad[7] = np.nan
    refusal(recognizer, AudioClip(bad), InputError)


def test_zero_threads_are_a_usage_error(mini_whisper):
    with pytest.raises(UsageError):
        WhisperRecognizer(mini_whisper, threads=0)


def run_python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, check=False
    )


def test_whisper_cpp_says_nothing_on_the_terminal_even_at_exit(mini_whisper, demo_audio, shared_data):
    code = """
import sys
from audio2img.audio import decode_audio
from audio2img.recognition.whisper import WhisperRecognizer
clip = decode_audio(sys.argv[2])
kept = WhisperRecognizer(sys.argv[1], vad_model_path=sys.argv[3])
print(len(kept.transcribe(clip).text) > 0)
"""
    done = run_python(code, mini_whisper, demo_audio, shared_data / "silero-v6.2.0-ggml.bin")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, b"True", b"")


def test_a_missing_package_is_named_with_its_remedy(mini_whisper):
    code = """
import sys
sys.modules["_pywhispercpp"] = None
from audio2img.errors import MachineError
from audio2img.recognition.whisper import WhisperRecognizer
try:
    WhisperRecognizer(sys.argv[1]).load()
except MachineError as error:
    print(error.remedy)
"""
    assert run_python(code, mini_whisper).stdout.decode().strip() == how_to_repair("pywhispercpp")
    assert MachineError.exit_code == 5


def test_the_environment_is_left_as_it_was(recognizer):
    recognizer.load()
    assert "OMP_WAIT_POLICY" not in os.environ


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_in_the_middle_ends_with_a_keyboard_interrupt(mini_whisper, demo_audio):
    code = """
import os, signal, sys, threading
import numpy as np
from audio2img.audio import decode_audio
from audio2img.recognition.whisper import WhisperRecognizer
from audio2img.types import AudioClip
clip = decode_audio(sys.argv[2])
long = AudioClip(np.concatenate([clip.samples] * 300))
recognizer = WhisperRecognizer(sys.argv[1])
def progress(segment):
    threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    recognizer.transcribe(long, progress=progress)
except KeyboardInterrupt:
    print("interrupted")
"""
    done = run_python(code, mini_whisper, demo_audio)
    assert (done.returncode, done.stdout.strip()) == (0, b"interrupted"), done.stderr
