"""The package as the README shows it from Python: one pipeline, with the real mini models."""

from __future__ import annotations

import threading
import tracemalloc
import wave
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio2img import (
    AudioClip,
    CancelledError,
    Drawing,
    Event,
    InputError,
    ModelError,
    NothingToDrawError,
    Options,
    Pipeline,
    UsageError,
)
from audio2img.audio.decode import decode_audio
from audio2img.output import read_record
from audio2img.pipeline.live import LiveInput
from audio2img.pipeline.redrawing import Changes

QUICK = Options(seed=7, steps=2)
SENTENCE = "please draw a big red house at night"
CHUNK = 800  # samples: 20 chunks a second


@pytest.fixture(scope="module")
def told() -> list[Event]:
    return []


@pytest.fixture(scope="module")
def opened(told: list[Event]) -> Iterator[Pipeline]:
    with Pipeline("mini", "mini-whisper", on_event=told.append) as pipeline:
        yield pipeline


@pytest.fixture
def pipeline(opened: Pipeline, told: list[Event]) -> Pipeline:
    told.clear()
    return opened


def chunks_of(clip: AudioClip, silence_s: float = 2.0) -> Iterator[np.ndarray]:
    """The clip as a browser sends it, with silence before and after."""
    quiet = np.random.default_rng(1).normal(0, 1e-4, int(silence_s * 16000)).astype(np.float32)
    samples = np.concatenate((quiet[:8000], clip.samples, quiet))
    for start in range(0, len(samples), CHUNK):
        yield samples[start : start + CHUNK]


def test_a_recording_becomes_pictures(pipeline: Pipeline, demo_audio: Path, tmp_path: Path) -> None:
    drawing = pipeline.run(str(demo_audio), QUICK)
    assert drawing.transcript is not None
    assert drawing.transcript.text == SENTENCE
    (path,) = drawing.save(tmp_path)
    record = read_record(path)
    assert (record.request.prompt, record.request.seed) == ("a big red house at night", 7)
    assert record.model_hash == pipeline.model_hash
    assert record.audio_source == demo_audio.name


def test_a_path_a_file_object_and_a_clip_give_the_same(pipeline: Pipeline, demo_audio: Path) -> None:
    with demo_audio.open("rb") as file:
        drawings = [pipeline.run(source, QUICK) for source in (demo_audio, file, decode_audio(demo_audio))]
    for drawing in drawings[1:]:
        np.testing.assert_array_equal(drawing.images[0].pixels, drawings[0].images[0].pixels)


def test_events_tell_of_each_stage_in_order(pipeline: Pipeline, told: list[Event], demo_audio: Path) -> None:
    previews: list[np.ndarray] = []
    with Pipeline(
        "mini", "mini-whisper", on_event=lambda event: event.preview and previews.append(event.preview())
    ) as other:
        other.run(demo_audio, QUICK)
    assert [preview.dtype for preview in previews] == [np.uint8, np.uint8]
    pipeline.run(demo_audio, QUICK)
    stages = list(dict.fromkeys(event.stage for event in told if event.stage != "load"))
    assert stages == ["decode", "transcribe", "prompt", "draw"]
    drawn = [event.done for event in told if event.stage == "draw"]
    assert drawn == [0.0, 0.5, 1.0]
    assert [event.text for event in told if event.stage == "prompt"] == ["a big red house at night"]


def test_each_picture_is_handed_over_before_the_next_one_begins(
    pipeline: Pipeline, told: list[Event]
) -> None:
    handed_over: list[tuple[Drawing, int]] = []
    drawing = pipeline.generate(
        "a red house",
        replace(QUICK, count=3),
        on_picture=lambda one: handed_over.append((one, sum(event.preview is not None for event in told))),
    )
    assert [n_steps for _, n_steps in handed_over] == [2, 4, 6]
    assert [one.images[0].request.index for one, _ in handed_over] == [0, 1, 2]
    assert [one.images[0] for one, _ in handed_over] == list(drawing.images)
    assert all(one.images[0].model_hash == pipeline.model_hash for one, _ in handed_over)


def test_pictures_from_before_a_cancel_are_not_lost(pipeline: Pipeline, tmp_path: Path) -> None:
    paths: list[Path] = []

    def save(one: Drawing) -> None:
        paths.extend(one.save(tmp_path))
        if len(paths) == 2:
            pipeline.cancel()

    with pytest.raises(CancelledError):
        pipeline.generate("a red house", replace(QUICK, count=6), on_picture=save)
    assert [read_record(path).request.index for path in paths] == [0, 1]


def test_cancel_from_another_thread(opened: Pipeline, demo_audio: Path) -> None:
    is_drawing = threading.Event()
    session = opened.session(lambda event: is_drawing.set() if event.preview else None)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(session.run, demo_audio, Options(steps=900))
        assert is_drawing.wait(60)
        assert session.cancel()
        with pytest.raises(CancelledError) as caught:
            call.result(60)
    assert caught.value.exit_code == 130
    assert session.run(demo_audio, QUICK).images


def test_a_person_who_speaks_from_elsewhere_is_heard_and_drawn(
    pipeline: Pipeline, told: list[Event], demo_audio: Path
) -> None:
    spoken = decode_audio(demo_audio)
    clips: list[AudioClip] = []
    drawing = pipeline.run(LiveInput(chunks=chunks_of(spoken)), QUICK, on_clip=clips.append)
    assert drawing.transcript is not None
    assert drawing.transcript.text == SENTENCE
    assert drawing.audio_source == "microphone"
    assert abs(clips[0].duration_s - spoken.duration_s) < 1
    assert any(event.listening is not None and event.listening.is_speech for event in told)


def test_a_time_that_is_set_is_recorded_and_no_more_is_taken(pipeline: Pipeline, demo_audio: Path) -> None:
    chunks = chunks_of(decode_audio(demo_audio))
    clip = pipeline.listen(LiveInput(chunks=chunks, seconds=1.02))
    assert len(clip.samples) == round(1.02 * 16000)
    assert next(chunks).size == CHUNK, "what comes after it is still there"
    assert pipeline.listen(LiveInput(chunks=chunks_of(clip, 1.0), seconds=60)).duration_s < 5
    with pytest.raises(NothingToDrawError, match="no sound came in"):
        pipeline.listen(LiveInput(chunks=iter(()), seconds=1))


def test_silence_from_elsewhere_is_nobody_speaking(pipeline: Pipeline) -> None:
    quiet = AudioClip(np.zeros(16000, np.float32))
    clips: list[AudioClip] = []
    with pytest.raises(NothingToDrawError, match="nobody spoke within 2 s"):
        pipeline.run(LiveInput(chunks=chunks_of(quiet), limit_s=2.0), QUICK, on_clip=clips.append)
    assert clips == []


def test_a_cancel_ends_the_listening(opened: Pipeline) -> None:
    is_listening = threading.Event()
    session = opened.session(lambda event: is_listening.set() if event.listening else None)

    def endless() -> Iterator[np.ndarray]:
        while True:
            yield np.zeros(CHUNK, np.float32)

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(session.hear, LiveInput(chunks=endless(), limit_s=1e9))
        assert is_listening.wait(60)
        session.cancel()
        with pytest.raises(CancelledError):
            call.result(60)


def test_listening_goes_on_while_the_speech_model_loads(
    demo_audio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audio2img.recognition.native import NativeModel

    may_load, n_taken = threading.Event(), 0
    load = NativeModel.__init__

    def load_when_all_is_said(self: NativeModel, *given: object, **named: object) -> None:
        assert may_load.wait(60)
        load(self, *given, **named)  # type: ignore[arg-type]

    def chunks() -> Iterator[np.ndarray]:
        nonlocal n_taken
        for chunk in chunks_of(decode_audio(demo_audio)):
            yield chunk
            n_taken += 1

    monkeypatch.setattr(NativeModel, "__init__", load_when_all_is_said)
    moments: list[Event] = []
    with Pipeline("mini", "mini-whisper", on_event=moments.append) as pipeline:
        live = LiveInput(chunks=chunks())
        _, transcript = pipeline.hear(live, on_clip=lambda clip: may_load.set())
    assert transcript.text == SENTENCE
    assert n_taken > 20
    assert sum(event.listening is not None for event in moments) > 20, "the level was shown all the time"


def test_a_picture_is_drawn_again_from_its_record(
    pipeline: Pipeline, told: list[Event], demo_audio: Path, tmp_path: Path
) -> None:
    (path,) = pipeline.run(demo_audio, QUICK).save(tmp_path)
    first = read_record(path)
    again = pipeline.redraw(first)
    assert again.transcript == first.transcript
    second = read_record(again.save(tmp_path)[0])
    assert second == replace(first, created=second.created)
    other = pipeline.redraw(first, Changes(seed=8, steps=3, negative="a boat")).images[0].request
    assert (other.seed, other.steps, other.negative_prompt) == (8, 3, "a boat")
    assert (other.prompt, other.scheduler) == (first.request.prompt, first.request.scheduler)
    told.clear()
    pipeline.redraw(replace(first, model_hash="0" * 64))
    assert ["not the one that drew" in event.text for event in told if event.warning] == [True]
    with pytest.raises(UsageError, match="not drawn from another picture"):
        pipeline.redraw(first, Changes(strength=0.5))
    with pytest.raises(UsageError, match="not drawn from another picture"):
        pipeline.redraw(first, init_image=path)


def test_failures_say_what_and_what_next_without_options_of_a_command(tmp_path: Path) -> None:
    with Pipeline("mini", "mini-whisper") as pipeline:
        failures = [
            (InputError, lambda: pipeline.run(tmp_path / "none.wav")),
            (UsageError, lambda: pipeline.run(b"RIFF")),  # type: ignore[arg-type]
            (UsageError, lambda: pipeline.transcribe(None)),  # type: ignore[arg-type]
            (NothingToDrawError, lambda: pipeline.generate("please draw")),
            (UsageError, lambda: pipeline.generate("a cat", Options(size=(640, 480)))),
            (InputError, lambda: pipeline.generate("a cat", Options(init_image=tmp_path / "none.png"))),
        ]
        for kind, call in failures:
            with pytest.raises(kind) as caught:
                call()
            assert caught.value.message
            assert caught.value.remedy
            assert "--" not in caught.value.message + caught.value.remedy
    with pytest.raises(UsageError, match="no backend called 'cuda'"):
        Pipeline("mini", backend="cuda")
    with Pipeline("nonesuch") as pipeline, pytest.raises(ModelError, match="nonesuch"):
        pipeline.generate("a cat")


def test_weights_that_are_typed_reach_the_model_and_no_file_name(pipeline: Pipeline, tmp_path: Path) -> None:
    prompt = r"a (red:1.4) [house] \(at night\)"
    drawing = pipeline.generate(f"please draw {prompt}", QUICK)
    (path,) = drawing.save(tmp_path)
    assert path.name == f"a-red-house-at-night-{drawing.images[0].request.seed}.png"
    assert read_record(path).request.prompt == prompt
    (plain,) = pipeline.generate(r"a red house \(at night\)", QUICK).images
    assert not np.array_equal(drawing.images[0].pixels, plain.pixels)


def test_more_pictures_from_the_seed_of_one(pipeline: Pipeline, tmp_path: Path) -> None:
    (path,) = pipeline.generate("a red house", QUICK).save(tmp_path)
    record = read_record(path)
    images = pipeline.redraw(record, Changes(count=3)).images
    assert [image.request.index for image in images] == [0, 1, 2]
    np.testing.assert_array_equal(images[0].pixels, pipeline.redraw(record).images[0].pixels)
    third = read_record(pipeline.redraw(record, Changes(count=3)).save(tmp_path)[2])
    np.testing.assert_array_equal(pipeline.redraw(third).images[0].pixels, images[2].pixels)


@pytest.mark.parametrize(
    "change", [{"count": 0}, {"seed": -1}, {"size": (0, 1)}, {"scheduler": "x"}, {"strength": 2}]
)
def test_changes_are_checked_as_options_are(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Changes(**change)


@pytest.mark.slow
def test_a_long_recording_is_never_held_whole(pipeline: Pipeline, demo_audio: Path, tmp_path: Path) -> None:
    """Twenty minutes with nothing in them: whole, they are 77 MB."""
    path = tmp_path / "quiet.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        for _ in range(20):
            file.writeframes(b"\x01\x00" * 16000 * 60)
    pipeline.transcribe(demo_audio)  # what is loaded once is not counted
    tracemalloc.start()
    try:
        with pytest.raises(NothingToDrawError, match=r"quiet\.wav is too quiet"):
            pipeline.transcribe(path)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 30e6


def test_how_far_it_is_in_a_recording_is_told_with_each_segment(demo_audio: Path) -> None:
    events: list[Event] = []
    with Pipeline("mini", "mini-whisper", on_event=events.append) as pipeline:
        text = pipeline.transcribe(demo_audio).text
    stages = list(dict.fromkeys(event.stage for event in events if event.stage != "load"))
    assert stages == ["decode", "transcribe"]
    told = [event for event in events if event.segment is not None]
    assert told
    duration_s = decode_audio(demo_audio).duration_s
    assert [event.done for event in told] == pytest.approx(
        [min(1.0, event.segment.end_s / duration_s) for event in told if event.segment], abs=0.02
    )
    assert (events[-1].done, events[-1].text) == (1.0, text)


def test_how_the_model_draws_is_told_once_a_call(mini_bundle: Path) -> None:
    told: list[Event] = []
    with Pipeline("mini", on_event=told.append) as pipeline:
        pipeline.generate("a red house", Options(seed=1, steps=1))
    (ready,) = [event.text for event in told if event.stage == "load" and event.done == 1.0]
    assert ready.startswith("mini ready in ")
