"""The real YAMNet on real and made sounds."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest

from audio2img.audio import decode_audio, stream_audio
from audio2img.errors import CancelledError, InputError, NothingToDrawError, UsageError
from audio2img.recognition.sound_table import load_sound_classes
from audio2img.recognition.yamnet import YamnetClassifier
from audio2img.types import SAMPLE_RATE_HZ, AudioClip

WINDOW = 15_600
SECOND = SAMPLE_RATE_HZ


@pytest.fixture(scope="module")
def yamnet(yamnet_file):
    with YamnetClassifier(yamnet_file) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def jfk(shared_data):
    return decode_audio(shared_data / "jfk.wav")


def as_float(samples):
    return np.asarray(samples, np.float32)


def tone(hertz, seconds, level=0.3):
    return as_float(level * np.sin(2 * np.pi * hertz * np.arange(int(seconds * SECOND)) / SECOND))


def noise(seconds, level=0.1, seed=3):
    return as_float(np.random.default_rng(seed).normal(0, level, int(seconds * SECOND)))


def chords(seconds):
    """Triads with overtones, a new one every second, dying away as a plucked string does."""
    time = np.arange(SECOND) / SECOND
    bars = []
    for number in range(int(seconds)):
        root = 220 * 2 ** ((0, 5, 7, 0)[number % 4] / 12)
        notes = [root * 2 ** (step / 12) for step in (0, 4, 7)]
        bars.append(sum(np.sin(2 * np.pi * n * h * time) / h for n in notes for h in (1, 2, 3, 4)))
    return as_float(0.1 * np.concatenate(bars) * np.tile(np.exp(-2 * time), int(seconds)))


def surf(seconds, seed=5):
    """Brown noise that swells and falls, as waves on a shore do."""
    n_samples = int(seconds * SECOND)
    white = np.fft.rfft(np.random.default_rng(seed).normal(0, 1, n_samples))
    hertz = np.fft.rfftfreq(n_samples, 1 / SECOND)
    brown = np.fft.irfft(white / np.maximum(hertz, 20), n_samples)
    swell = 0.7 + 0.3 * np.sin(np.pi * np.arange(n_samples) / SECOND)
    return as_float(0.1 * brown / brown.std() * swell)


def plain_loop(path, samples):
    """Every window's scores by an interpreter and nothing else of ours: (windows, 521) float32."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    (sound,) = interpreter.get_input_details()
    scores = []
    starts = [*range(0, len(samples) - WINDOW + 1, WINDOW // 2)]
    if starts[-1] + WINDOW < len(samples):
        starts.append(len(samples) - WINDOW)
    for start in starts:
        interpreter.set_tensor(sound["index"], samples[None, start : start + WINDOW])
        interpreter.invoke()
        scores.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    return np.array(scores), starts


def classify(yamnet, samples, **options):
    return yamnet.classify(AudioClip(as_float(samples)).blocks(), **options)


def leader(sounds):
    return sounds.summary.categories[0].name


@pytest.mark.parametrize("n_samples", [WINDOW, WINDOW + 1, 40_000, 176_000])
def test_counts_and_scores_equal_a_plain_loop(yamnet, yamnet_file, jfk, n_samples):
    samples = jfk.samples[:n_samples]
    expected, starts = plain_loop(yamnet_file, samples)
    sounds = classify(yamnet, samples, max_results=-1)
    assert sounds.summary.windows == len(expected)
    np.testing.assert_allclose(sounds.starts_s * SECOND, starts)
    found = np.empty_like(expected)
    np.put_along_axis(found, sounds.classes.astype(np.int64), sounds.scores, axis=1)
    np.testing.assert_array_equal(found, expected)
    assert (np.diff(sounds.scores, axis=1) <= 0).all()
    names = [one.name for one in load_sound_classes()]
    for category in sounds.summary.categories[:20]:
        number = names.index(category.name)
        assert category.mean_score == pytest.approx(expected[:, number].mean(), abs=1e-4)
        assert category.peak_score == pytest.approx(expected[:, number].max(), abs=1e-4)
        assert category.lead_share == pytest.approx((expected.argmax(1) == number).mean(), abs=1e-4)


def test_blocks_from_a_file_give_the_same(yamnet, shared_data, jfk):
    streamed = yamnet.classify(stream_audio(shared_data / "jfk.wav"))
    assert streamed.summary == classify(yamnet, jfk.samples).summary


def test_the_words_of_jfk_are_speech_first(yamnet, jfk):
    sounds = classify(yamnet, jfk.samples)
    assert leader(sounds) == "Speech"
    assert sounds.summary.windows == 22
    assert sounds.summary.speech_leads
    assert sounds.summary.things[0].phrase == "a person speaking"
    assert [event.name for event in sounds.timeline()] == ["Speech"]


def test_a_spoken_sentence_of_ours_is_speech_first(yamnet, demo_audio):
    assert leader(yamnet.classify(stream_audio(demo_audio))) == "Speech"


def test_silence_is_silence(yamnet):
    for samples in (np.zeros(3 * SECOND), noise(3, level=1e-5)):
        sounds = classify(yamnet, samples)
        assert leader(sounds) == "Silence"
        assert [thing.role for thing in sounds.summary.things] == ["silence"]
        assert not sounds.summary.speech_leads


@pytest.mark.parametrize("seconds", [0.25, 0.5, 0.98, 1.2, 3.0])
@pytest.mark.parametrize("make", [lambda s: noise(s), lambda s: tone(440, s), lambda s: surf(s)])
def test_sound_without_a_gap_is_never_silence(yamnet, make, seconds):
    sounds = classify(yamnet, make(seconds))
    peaks = {category.name: category.peak_score for category in sounds.summary.categories}
    assert peaks.get("Silence", 0.0) < 0.05
    assert not sounds.summary.speech_leads


def test_noise_is_noise_or_water(yamnet):
    names = {category.name for category in classify(yamnet, noise(4)).summary.categories[:6]}
    assert names & {"White noise", "Static", "Noise"}


def test_a_steady_tone_is_one_thing(yamnet):
    sounds = classify(yamnet, tone(440, 3))
    assert leader(sounds) in ("Telephone", "Dial tone")
    assert [thing.phrase for thing in sounds.summary.things if thing.role == "thing"] == [
        "a telephone off the hook"
    ]


def test_chords_are_music(yamnet):
    sounds = classify(yamnet, chords(6))
    assert leader(sounds) == "Music"
    assert sounds.summary.things[0].role == "thing"


def test_swelling_brown_noise_is_the_sea(yamnet):
    assert classify(yamnet, surf(6)).summary.things[0].phrase in ("the ocean", "waves breaking on a shore")


def test_the_timeline_says_what_leads_when(yamnet, jfk):
    sounds = classify(yamnet, np.concatenate([jfk.samples[: 4 * SECOND], tone(440, 4)]))
    events = sounds.timeline()
    assert (events[0].name, events[-1].name) == ("Speech", "Telephone")
    assert {event.name for event in events[1:]} <= {"Telephone", "Dial tone"}
    assert (events[0].start_s, events[-1].end_s) == (0.0, 8.0)
    assert events[0].end_s == events[1].start_s == pytest.approx(4.0, abs=0.5)
    first = sounds.window(0)
    assert len(first) == 5
    assert (first[0].start_s, first[0].end_s, first[0].name) == (0.0, 0.975, "Speech")


def test_a_short_word_is_speech(yamnet, jfk):
    word = jfk.samples[6 * SECOND : 6 * SECOND + SECOND // 2]
    sounds = classify(yamnet, word)
    assert (sounds.summary.windows, leader(sounds)) == (1, "Speech")
    assert sounds.window(0)[0].end_s == 0.5


@pytest.mark.parametrize("n_samples", [0, 1, 3199])
def test_less_than_a_fifth_of_a_second_is_nothing(yamnet, n_samples):
    with pytest.raises(NothingToDrawError, match=r"memo\.wav is too short"):
        classify(yamnet, noise(1)[:n_samples], source="memo.wav")


@pytest.mark.parametrize(
    "block",
    [np.full(4000, np.nan, np.float32), np.zeros(4000, np.int16), np.zeros((2, 4000), np.float32)],
)
def test_samples_that_are_none_are_refused(yamnet, block):
    with pytest.raises(InputError, match=r"float32|not numbers"):
        yamnet.classify([block])


def test_max_results(yamnet, jfk):
    assert classify(yamnet, jfk.samples[:SECOND], max_results=1).classes.shape == (2, 1)
    for number in (0, -2):
        with pytest.raises(UsageError):
            classify(yamnet, jfk.samples[:SECOND], max_results=number)


def test_it_can_be_stopped(yamnet):
    with pytest.raises(CancelledError):
        classify(yamnet, noise(3), cancelled=lambda: True)


def test_it_loads_again_after_close(yamnet_file, jfk):
    classifier = YamnetClassifier(yamnet_file)
    before = classify(classifier, jfk.samples[:SECOND]).summary
    classifier.close()
    assert classify(classifier, jfk.samples[:SECOND]).summary == before


def test_memory_does_not_grow_with_the_recording(yamnet):
    """Ten minutes are 38 MB of samples; of them only the best of each window are kept."""
    yamnet.load()
    block = noise(1.5)
    peaks = []
    for minutes in (1, 10):
        tracemalloc.start()
        sounds = yamnet.classify(block for _ in range(minutes * 40))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert sounds.summary.duration_s == minutes * 60
    assert peaks[1] - peaks[0] < 300_000


@pytest.mark.parametrize("ending", ["mp3", "m4a", "flac", "opus"])
def test_any_codec_comes_through(yamnet, jfk, tmp_path, ending):
    path = tmp_path / f"memo.{ending}"
    _encode(jfk.samples[: 4 * SECOND], path)
    assert leader(yamnet.classify(stream_audio(path))) == "Speech"


def _encode(samples, path):
    import av

    codec = {"mp3": "libmp3lame", "m4a": "aac", "flac": "flac", "opus": "libopus"}[path.suffix[1:]]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=SAMPLE_RATE_HZ)
        frame = av.AudioFrame.from_ndarray(
            (samples[None] * 32767).astype(np.int16), format="s16", layout="mono"
        )
        frame.sample_rate = SAMPLE_RATE_HZ
        stream.layout = "mono"
        resampler = av.AudioResampler(
            stream.format.name if stream.format else "fltp", "mono", SAMPLE_RATE_HZ, stream.frame_size or 1024
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))


def test_it_costs_little_more_than_the_plain_loop(yamnet, yamnet_file):
    """Of the time nearly all is the model's own: ours is at most half as much again."""
    samples = noise(60)
    yamnet.load()

    def cost(job):
        started = time.process_time()
        job()
        return time.process_time() - started

    ours = min(cost(lambda: classify(yamnet, samples)) for _ in range(3))
    plain = min(cost(lambda: plain_loop(yamnet_file, samples)) for _ in range(3))
    assert ours < 1.5 * plain
