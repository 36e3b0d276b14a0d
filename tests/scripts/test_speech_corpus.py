"""What the mini Whisper is taught to write for what is said."""

from __future__ import annotations

import random

import pytest

from audio2img.prompt import mini_world
from scripts.mini.evaluate_speech import count_word_errors
from scripts.mini.speech_corpus import punctuate, training_recipes, write_known, write_target


@pytest.mark.parametrize(
    ("spoken", "target"),
    [
        ("a red house at night", "a red house at night"),
        ("hello computer please draw a big blue star", "please draw a big blue star"),
        ("draw a red elephant on a beach", "draw a red on a beach"),
        ("the", "the"),
        ("what is the weather in paris", ""),
        ("show me the weather", ""),
        ("purple", "purple"),
    ],
)
def test_unknown_words_are_left_out(spoken: str, target: str) -> None:
    assert write_target(spoken) == target


@pytest.mark.parametrize("held_out", [False, True])
def test_sentences_keep_to_their_side_of_the_split(held_out: bool) -> None:
    rng = random.Random(0)
    texts = [write_known(rng, held_out) for _ in range(200)]
    assert all(mini_world.is_held_out(text) == held_out for text in texts)
    assert all(write_target(text) == text for text in texts)


def test_commas_change_no_word() -> None:
    text = "a red house and a blue star and a cat and a dog"
    assert punctuate(text, random.Random(1)).replace(",", "") == text


def test_a_larger_corpus_holds_the_smaller_one() -> None:
    small, large = (set(training_recipes(0, size)) for size in (0.5, 1.0))
    assert small < large


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors"),
    [("a b c", "a b c", 0), ("a b c", "", 3), ("", "a", 1), ("a b c", "a x c", 1), ("a b", "b a", 2)],
)
def test_word_errors(reference: str, hypothesis: str, errors: int) -> None:
    assert count_word_errors(reference.split(), hypothesis.split()) == errors
