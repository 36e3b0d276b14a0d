"""Long values show themselves in one short line."""

from __future__ import annotations

import numpy as np

from audio2img import (
    AudioClip,
    Event,
    ImageRequest,
    ImageResult,
    LiveInput,
    Options,
    Pipeline,
    Segment,
    SoundEvents,
    SoundSummary,
    Transcript,
)
from audio2img.pipeline.drawing import Drawing
from audio2img.types import HeardThing, Prompt

PIXELS = np.zeros((512, 768, 3), np.uint8)


def test_values_with_arrays_have_short_reprs() -> None:
    clip = AudioClip(np.zeros(36_800, np.float32), "memo.m4a")
    assert repr(clip) == "AudioClip(2.30 s of 'memo.m4a')"
    image = ImageResult(PIXELS, ImageRequest("a red house " * 50, seed=7), "mini", "f" * 64, "reference")
    assert (
        repr(image) == "ImageResult(768x512, 'a red house a red house a red house a re…', seed 7, by 'mini')"
    )
    drawing = Drawing((image,), Prompt(image.request.prompt))
    assert repr(drawing) == f"Drawing({image!r})"
    thing = HeardThing("rain on a roof", "Rain", 0.5)
    windows = np.zeros((9, 5))
    summary = SoundSummary("yamnet", 3.0, 9, (), (thing,))
    sounds = SoundEvents(
        ("Rain",), np.arange(9.0), 0.975, windows.astype(np.uint16), windows.astype(np.float32), summary
    )
    assert repr(sounds) == "SoundEvents(9 windows, 'rain on a roof')"


def test_the_words_of_hours_have_a_short_repr() -> None:
    segments = tuple(Segment(i, i + 1, "a red house") for i in range(3600))
    transcript = Transcript(segments, "en", None, "transcribe", "whisper-base")
    words = "a red house a red house a red house a re…"
    assert repr(transcript) == f"Transcript('{words}', 3600 segments, 'en', by 'whisper-base')"


def test_what_is_listened_to_is_not_shown() -> None:
    assert len(repr(LiveInput(chunks=[np.zeros(800, np.float32)] * 100))) < 300


def test_an_event_that_is_printed_is_one_line_that_says_what_is_new() -> None:
    assert repr(Event("load", 1.0, "ready")) == "Event('load', done=1.0, text='ready')"
    events: list[Event] = []
    with Pipeline("mini", "mini-whisper", on_event=events.append) as pipeline:
        pipeline.generate("a red boat", Options(steps=2))
    drawn = [event for event in events if event.preview is not None]
    assert repr(drawn[0]) == "Event('draw', done=0.5, steps=(1, 2), preview=…)"
    assert all(len(repr(event)) < 200 and "\n" not in repr(event) for event in events)
