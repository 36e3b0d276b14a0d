from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio2img.errors import NothingToDrawError, UsageError
from audio2img.prompt import mini_world
from audio2img.prompt.prompt import (
    BUILT_IN_STYLES,
    clean_transcript,
    fill_template,
    find_style,
    fit_prompt,
    join_negatives,
    load_styles,
    load_templates,
    make_prompt,
)
from audio2img.types import Prompt

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
        ("a red house [wind blowing] under (music) a moon ♪", "a red house under a moon"),
        ("a house (with a red roof) by the sea", "a house (with a red roof) by the sea"),
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
    "heard",
    [
        "",
        "  ",
        "...",
        "[BLANK_AUDIO]",
        "(music) ♪",
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


# Templates and styles


def test_a_template_goes_around_the_words():
    prompt = make_prompt("draw me a red house", template="{prompt}, oil on canvas")
    assert prompt == Prompt("a red house, oil on canvas")


def test_braces_in_the_words_are_no_placeholders():
    assert make_prompt("a {weird} house", template="{prompt}!").text.endswith("!")
    assert fill_template("{{{prompt}}}", "x", "it") == "{x}"


@pytest.mark.parametrize(
    ("template", "word"),
    [
        ("oil on canvas", "lacks"),
        ("{prompt} by {artist}", "{artist}"),
        ("{prompt", "read"),
        ("{}", "unknown"),
        ("", "lacks"),
    ],
)
def test_a_template_that_is_none(template, word):
    with pytest.raises(UsageError, match=None) as caught:
        make_prompt("a house", template=template)
    assert word in caught.value.message
    assert "{prompt}" in caught.value.remedy


@pytest.mark.parametrize("path", sorted(BUILT_IN_STYLES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_styles_that_come_with_it(path):
    style = find_style(path.stem.upper())
    assert style.description
    assert style.negative
    prompt = make_prompt("draw a red house", style=path.stem, negative="people")
    assert "a red house" in prompt.text
    assert prompt.negative == f"people, {style.negative}"
    assert len(prompt.text.split()) < 30  # it must leave room in 77 tokens


def test_there_are_some_styles():
    assert {"photo", "oil", "watercolor", "pencil", "anime", "pixel", "3d", "cinematic"} <= set(load_styles())


def test_an_unknown_style_lists_the_choices(tmp_path):
    with pytest.raises(UsageError) as caught:
        make_prompt("a house", style="cubism", styles_dir=tmp_path)
    assert "cubism" in caught.value.message
    assert "oil, pencil, photo" in caught.value.remedy
    assert str(tmp_path) in caught.value.remedy


def test_a_style_of_ones_own_wins(tmp_path):
    (tmp_path / "Lino.toml").write_text('template = "linocut of {prompt}"\n')
    (tmp_path / "oil.toml").write_text('template = "{prompt} in oil"\nnegative = "acrylic"\n')
    (tmp_path / "notes.txt").write_text("not a style")
    assert make_prompt("a house", style="lino", styles_dir=tmp_path) == Prompt("linocut of a house")
    assert make_prompt("a house", style="oil", styles_dir=tmp_path) == Prompt("a house in oil", "acrylic")
    assert make_prompt("a house", style="photo", styles_dir=tmp_path / "none").text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('template = "{prompt}"\nnegatives = "x"\n', ["negatives"]),
        ('template = "no place"\n', ["{prompt}"]),
        ('template = "{prompt} {x}"\n', ["{x}"]),
        ('negative = "x"\n', ["no template"]),
        ("template = 5\n", ["template", "not a text"]),
        ("template = \n", ["not valid TOML"]),
        (b"\xff\xfe\x00", ["not valid TOML"]),
    ],
)
def test_a_style_file_with_a_fault_is_named(tmp_path, content, words):
    path = tmp_path / "mine.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError) as caught:
        make_prompt("a house", style="photo", styles_dir=tmp_path)
    for word in ["mine.toml", *words]:
        assert word in caught.value.message
    assert caught.value.remedy


def test_template_and_style_together():
    prompt = make_prompt("a house", template="{prompt} at night", style="ink")
    assert prompt.text.startswith("ink drawing of a house at night,")


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


# The model's window


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


# Templates in files


def test_the_templates_that_come_with_it():
    templates = load_templates()
    assert {"older", "scene", "panorama", "moment", "mood"} <= set(templates)
    for template in templates.values():
        assert template.description
        assert make_prompt("a barking dog", template=template.name.upper()).text != "a barking dog"
    assert make_prompt("a dog, rain", template="older") == Prompt("generate an image of a dog, rain")


def test_a_template_of_ones_own(tmp_path):
    (tmp_path / "older.toml").write_text('template = "once: {prompt}"\nnegative = "new"\n')
    assert make_prompt("a house", template="older", templates_dir=tmp_path) == Prompt("once: a house", "new")
    with pytest.raises(UsageError, match=r"no template called 'newer'") as caught:
        make_prompt("a house", template="newer", templates_dir=tmp_path)
    assert "older, panorama, scene" in caught.value.remedy


def test_what_follows_the_words():
    prompt = make_prompt("please draw a house. Thanks.", scene=", rain on a roof", template="{prompt}!")
    assert prompt.text == "a house, rain on a roof!"
