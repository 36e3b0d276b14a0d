from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio2img.recognition.annotations import is_known_hallucination, strip_annotations

HEARD = [
    ("a red house", "a red house"),
    ("[BLANK_AUDIO]", ""),
    (" [ Music ] ", ""),
    ("(speaking in foreign language)", ""),
    ("♪", ""),
    ("♪♪ (upbeat music) ♪♪", ""),
    ("*sighs*", ""),
    ("[MUSIC] a red house", "a red house"),
    ("a red house [MUSIC]", "a red house"),
    ("a red [BLANK_AUDIO] house under (music) a yellow moon", "a red house under a yellow moon"),
    ("a red house [wind blowing], (music) ♪ under a yellow *sighs* moon", "a red house, under a yellow moon"),
    ("draw [ (wind) blowing ] a cat.", "draw a cat."),
    ("<|startoftranscript|><|en|><|0.00|> a dog<|2.40|>", "a dog"),
    ("[_BEG_] a dog [_TT_120]", "a dog"),
    ("a red [BLANK_AUDIO house", "a red house"),
    ("a cat (unclosed and a dog", "a cat unclosed and a dog"),
    ("a cat] and a dog", "a cat and a dog"),
    ("[Music]. A cat", "A cat"),
    ("Hello. [music]. A cat", "Hello. A cat"),
    ("a cat , (m) , dog", "a cat, dog"),
    (">> JOHN: a cat", "a cat"),
    ("- A cat.", "A cat."),
    ("（音楽） 赤い家", "赤い家"),
    # what is no annotation stays as it was
    ("2 * 3 * 4 stars", "2 * 3 * 4 stars"),
    ("a dog... and a cat!", "a dog... and a cat!"),
    ('a 3.5 ton well-known cat\'s "house"', 'a 3.5 ton well-known cat\'s "house"'),
]


@pytest.mark.parametrize(("heard", "kept"), HEARD)
def test_annotations_go_and_the_words_around_them_stay(heard, kept):
    assert strip_annotations(heard) == kept


@pytest.mark.parametrize(
    "text",
    ["you", " You. ", "you you you", "Thanks for watching!", "Thank you.", "...", "",
     "Subtitles by the Amara.org community", "Untertitel im Auftrag des ZDF für funk, 2017",
     "Don't forget to subscribe!"],
)  # fmt: skip
def test_what_whisper_writes_about_silence_is_known(text):
    assert is_known_hallucination(text)


@pytest.mark.parametrize(
    "text", ["a house", "you and me by the sea", "thank you card with flowers", "the moon"]
)
def test_what_could_be_drawn_is_no_hallucination(text):
    assert not is_known_hallucination(text)


@given(st.text(alphabet="ab []()*♪<|>{}.,-\n", max_size=40))
def test_stripping_ends_and_stripping_twice_changes_nothing_more(text):
    once = strip_annotations(text)
    assert strip_annotations(once) == once
    assert not set("[](){}♪") & set(once)


@given(st.lists(st.sampled_from(["red", "house", "moon"]), max_size=6), st.data())
def test_no_word_outside_an_annotation_is_lost(words, data):
    notes = ["[BLANK_AUDIO]", "(music)", "♪", "*sighs*", "<|en|>", "[ (x) ]"]
    mixed = [part for word in words for part in (data.draw(st.sampled_from(notes)), word)]
    assert strip_annotations(" ".join(mixed)).split() == words


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "text",
    ["*" * 100_000, "[" * 40_000 + "a" + "]" * 40_000, "(" * 40_000 + "a" + ")" * 40_000],
    ids=["stars", "brackets", "parentheses"],
)
def test_a_long_row_of_marks_is_stripped_in_one_pass(text):
    """Each of them took more than a minute once: the square of its length."""
    assert strip_annotations(f"{text} house").endswith("house")
