"""What of a recognizer's words is kept, whichever recognizer it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from audio2img.errors import NothingToDrawError
from audio2img.recognition.blocks import CheckedBlocks, Sound
from audio2img.recognition.cleaning import CleaningRecognizer
from audio2img.recognition.speech import Cancelled, OnSegment, SpeechAbilities, SpeechWishes
from audio2img.types import AudioClip, Segment, Transcript

CLIP = AudioClip(np.full(16000, 0.1, np.float32), "memo.wav")


class Writer:
    """A recognizer that hears what it was made to hear, once the sound has passed."""

    name = "writer"

    def __init__(self, *segments: Segment) -> None:
        self._segments = segments

    def load(self) -> SpeechAbilities:
        return SpeechAbilities(("en", "de"), translates=True, takes_initial_prompt=True)

    def close(self) -> None: ...

    def transcribe(
        self,
        sound: Sound,
        wishes: SpeechWishes = SpeechWishes(),
        *,
        source: str = "",
        progress: OnSegment | None = None,
        cancelled: Cancelled | None = None,
    ) -> Transcript:
        for _block in CheckedBlocks.of(sound, source):
            pass
        for segment in self._segments:
            if progress is not None:
                progress(segment)
        return Transcript(self._segments, "en", None, wishes.task, self.name)


def clean(*raw: tuple[str, float | None], min_probability: float | None = 0.8) -> list[str]:
    """The texts that are kept; [] where it says that there are none."""
    segments = [Segment(number, number + 1, text, sure) for number, (text, sure) in enumerate(raw)]
    told: list[Segment] = []
    recognizer = CleaningRecognizer(Writer(*segments), min_probability=min_probability)
    try:
        transcript = recognizer.transcribe(CLIP, progress=told.append)
    except NothingToDrawError:
        return []
    assert tuple(told) == transcript.segments
    return [segment.text for segment in transcript.segments]


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ([("[BLANK_AUDIO]", 0.99)], []),
        ([(" (wind blowing) ...", 0.99)], []),
        ([("a red [noise] house", 0.99)], ["a red house"]),
        ([("a red house", 0.79)], []),
        ([("", 0.99)], []),
        ([("a red house", None)], ["a red house"]),
        ([("a red house", 0.9), ("[music]", 0.9), ("um", 0.1), ("a moon", 0.9)], ["a red house", "a moon"]),
    ],
)
def test_annotations_and_guesses_go(raw: Sequence[tuple[str, float | None]], kept: list[str]) -> None:
    assert clean(*raw) == kept


@pytest.mark.parametrize(
    ("text", "probability", "kept"),
    [
        ("Thanks for watching!", 0.5, []),
        ("you", 0.6, []),
        ("thank you", 0.95, ["thank you"]),
        ("a house", 0.5, ["a house"]),
    ],
)
def test_phrases_of_silence_are_dropped_unless_surely_said(
    text: str, probability: float, kept: list[str]
) -> None:
    assert clean((text, probability), min_probability=0.0) == kept


def test_what_says_nothing_of_its_probability_is_believed_but_for_phrases_of_silence() -> None:
    assert clean(("a house", None), ("you", None)) == ["a house", "you"]
    assert clean(("you", None)) == []


def test_a_model_of_one_small_world_says_so_and_names_another() -> None:
    recognizer = CleaningRecognizer(Writer(Segment(0, 1, "a castle", 0.2)), knows_one_world=True)
    with pytest.raises(NothingToDrawError) as caught:
        recognizer.transcribe(CLIP)
    assert "one small world" in caught.value.message
    assert "audio2img models get whisper-base" in caught.value.remedy
    assert not recognizer.load().takes_initial_prompt
    assert recognizer.load().languages == ("en", "de")


def test_a_model_of_all_speech_does_not_speak_of_a_small_world() -> None:
    with pytest.raises(NothingToDrawError) as caught:
        CleaningRecognizer(Writer()).transcribe(CLIP)
    assert "small world" not in caught.value.message
    assert "memo.wav (its level is -20 dBFS)" in caught.value.message
    assert caught.value.remedy
