from __future__ import annotations

import pytest

from audio2img.errors import NothingToDrawError
from audio2img.prompt import fit_prompt, make_prompt
from audio2img.prompt.prompts import join_negatives
from audio2img.types import Prompt


@pytest.mark.parametrize(
    "heard",
    [
        "",
        "  ",
        "...",
        "[]",
        "(:1.4)",
        r"\( \)",
        "um, uh",
        "please",
        "Draw me a picture of",
        "Thank you.",
        "!?",
    ],
)
def test_nothing_left_is_nothing_to_draw(heard):
    with pytest.raises(NothingToDrawError) as caught:
        make_prompt(heard)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("lists", "joined"),
    [
        (("", ""), ""),
        (("a, b", "b, c"), "a, b, c"),
        (("Text", "text, blurry "), "Text, blurry"),
        ((" ,a,, ",), "a"),
    ],
)
def test_negatives_are_joined_once(lists, joined):
    assert join_negatives(*lists) == joined


def fit_words(text, limit=4):
    words = text.split()
    return " ".join(words[:limit]), " ".join(words[limit:])


def test_what_does_not_fit_is_kept_for_the_record():
    prompt = Prompt("a red house under a yellow moon", "people")
    assert fit_prompt(prompt, fit_words) == Prompt("a red house under", "people", "a yellow moon")
    assert fit_prompt(Prompt("a red house"), fit_words) == Prompt("a red house")


def test_fitting_again_loses_nothing():
    twice = fit_prompt(
        fit_prompt(Prompt("one two three four five"), fit_words), lambda text: fit_words(text, 3)
    )
    assert sorted(f"{twice.text} {twice.dropped}".split()) == sorted(["one", "two", "three", "four", "five"])


def test_what_follows_the_words():
    prompt = make_prompt("please draw a house. Thanks.", scene=", rain on a roof", template="{prompt}!")
    assert prompt.text == "a house, rain on a roof!"
