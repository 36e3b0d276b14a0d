from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio2img.prompt import clean_transcript, mini_world

LEAD_INS = [
    "draw", "Draw me", "please draw", "Please draw me", "paint", "please paint me", "make", "make me",
    "show me", "please show me", "a picture of", "An image of", "I want", "i would like", "I'd love to see",
    "i want to see a picture of", "I want you to draw", "create an image of", "generate a picture of",
    "can you draw", "Could you please draw me a picture of", "would you paint", "let's draw", "imagine",
    "hello computer, please draw", "Okay, so, draw me", "hey there, can you show me", "um, draw, uh,",
    "picture of", "sketch", "render", "give me", "now please create", "Draw, please,", "Draw:",
]  # fmt: skip

MEANT = [
    "a drawing of a house", "a painting of a cat", "a photo of the sea", "a sketch of two hands",
    "make-up artist", "make up artist in a studio", "paint bucket on a table",
    "drawbridge over a river", "draw bridge at night", "show jumping horse",
    "model train on a table", "design sketches on a desk", "well in a village", "so many stars",
    "thank you card with flowers", "the umbrella", "a red comma on a wall", "a question mark",
    "a victorian period costume", "the jurassic period", "a very very big house",
    "i want to be a bird", "would you like tea", "drawers in a cupboard",
    "two people who please each other", "hmong dancers", "a picture frame on a wall",
    "ein Haus am See", "une maison rouge", "赤い家", "draw", "2",
]  # fmt: skip


@pytest.mark.parametrize("lead_in", LEAD_INS)
def test_lead_ins_are_dropped(lead_in):
    assert clean_transcript(f"{lead_in} a red house under a yellow moon") == "a red house under a yellow moon"


@pytest.mark.parametrize("text", MEANT)
def test_what_is_part_of_the_scene_stays(text):
    assert clean_transcript(text) == text


@pytest.mark.parametrize(
    ("heard", "kept"),
    [
        ("  a red \n\t house ", "a red house"),
        ("Um, a uh red hmm, house.", "a red house"),
        ("a a red house on on the hill", "a red house on the hill"),
        ("um, a house, uh, by the sea", "a house by the sea"),
        ("a cat, hmm, , a dog. Hmm. A fish", "a cat, a dog. A fish"),
        ("a cat comma a dog and a fish full stop", "a cat, a dog and a fish"),
        ("a red house, please. Thank you.", "a red house"),
        ("a house for me, please", "a house"),
        ("Please draw a cat. Make it a black cat!", "a cat. a black cat"),
        ("Draw mountains at sunset.", "mountains at sunset"),
        ("please paint mountains", "mountains"),
        ("...a dog...", "a dog"),
        ("a\u200b dog\x00 and\u2028a cat", "a dog and a cat"),
        ("cafe\u0301 at night", "caf\u00e9 at night"),
    ],
)
def test_clean_up(heard, kept):
    assert clean_transcript(heard) == kept


@pytest.mark.parametrize(
    "text",
    [
        "a house (with a red roof) by the sea", "a (red:1.4) house", "a [red] house", "(singing birds)",
        "((a) [[b]])", "(music)", "a cat with a [laughing] dog", "[wind blowing], a house",
        "a (red, blue:1.4)", "a (red house , :1.4)", r"a smile \(happy\)", "a house (unclosed",
        "a *bold* house", "♪ and ♫", "{a|b}", ">> an arrow",
    ],
)  # fmt: skip
def test_what_is_typed_in_brackets_stays(text: str) -> None:
    """They are weights, or meant: what is typed is no transcript."""
    assert clean_transcript(text).replace(" ", "") == text.replace(" ", "")


def test_every_sentence_of_the_small_world_loses_its_lead_in_and_nothing_else():
    rng = random.Random(4)
    for _ in range(500):
        scene = mini_world.random_scene(rng)
        plain = mini_world.write_sentence(scene)
        for lead_in in mini_world.LEAD_INS:
            assert clean_transcript(f"{lead_in} {plain}") == plain
        assert clean_transcript(plain) == plain


@given(st.text(max_size=80))
def test_any_text_is_cleaned_without_an_accident(text):
    once = clean_transcript(text)
    assert once == " ".join(once.split())


@given(
    st.lists(
        st.sampled_from(["big", "red", "house", "under", "yellow", "moon", "cat"]), min_size=1, max_size=8
    )
)
def test_plain_words_are_never_lost(words):
    assert clean_transcript(" ".join(words)) in (" ".join(words), _without_stutter(words))


def _without_stutter(words):
    kept = [
        word
        for number, word in enumerate(words)
        if word != "under" or words[number - 1 : number] != ["under"]
    ]
    return " ".join(kept)
