"""Say the change: what people say about a picture, and what becomes of its words."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio2img.prompt import mini_world, revise
from audio2img.prompt.mini_world import read_sentence, write_sentence

HOUSE = "a red house at night"
PAIR = "a red house under a yellow moon"
PAINTING = "a red house under a yellow moon, oil painting, highly detailed"
PETS = "a dog and a cat on a sofa at night"
WEIGHTED = "a (red:1.4) house and (a black dog:1.2) in the (snow:1.1), [blurry]"
GERMAN = "ein rotes Haus mit einem Hund am Meer"
SPANISH = "una casa roja con un perro en la playa"


@pytest.mark.parametrize(
    ("prompt", "said", "revised"),
    [
        (HOUSE, "make the house blue", "a blue house at night"),
        (HOUSE, "Please make the house BLUE.", "a blue house at night"),
        (HOUSE, "blue house", "a blue house at night"),
        (HOUSE, "the house blue", "a blue house at night"),
        (HOUSE, "orange", "an orange house at night"),
        (HOUSE, "the house bigger", "a big red house at night"),
        (HOUSE, "make the house big and blue", "a big blue house at night"),
        (HOUSE, "at sunset", "a red house at sunset"),
        (HOUSE, "it should be at sunset", "a red house at sunset"),
        (HOUSE, "put it on the beach", "a red house on a beach"),
        (HOUSE, "and a boat", "a red house and a boat at night"),
        (HOUSE, "and a small boat in the rain", "a red house and a small boat in the rain"),
        (HOUSE, "a boat", "a boat at night"),
        (HOUSE, "a small boat", "a small boat at night"),
        (HOUSE, "a small house", "a small red house at night"),
        (HOUSE, "make the house a boat", "a red boat at night"),
        (HOUSE, "replace the house with a green castle", "a green castle at night"),
        (HOUSE, "not at night", "a red house"),
        (HOUSE, "under a tree", "a red house under a tree at night"),
        (HOUSE, "more snow", "a red house in the snow"),
        (HOUSE, "put a boat next to the house", "a boat next to a red house at night"),
        (PAIR, "make the moon big", "a red house under a big yellow moon"),
        (PAIR, "the moon left of the house", "a yellow moon left of a red house"),
        (PAIR, "make the house and the moon blue", "a blue house under a blue moon"),
        (PAIR, "without the moon", "a red house"),
        (PAIR, "change the moon to a sun", "a red house under a yellow sun"),
        (PAIR, "make the house blue and at night", "a blue house under a yellow moon at night"),
        (PAIR, "show me the house at night", "a red house under a yellow moon at night"),
    ],
)
def test_changes_in_the_small_world(prompt: str, said: str, revised: str) -> None:
    revision = revise(prompt, said, in_mini_world=True)
    assert (revision.prompt, revision.negative, revision.changed) == (revised, "", True), revision.note


@pytest.mark.parametrize(
    ("prompt", "said", "note"),
    [
        (PAIR, "and a boat", "two things at most"),
        (HOUSE, "and a piano", "piano"),
        (HOUSE, "at night", "already"),
        (HOUSE, "make the house red", "already"),
        (HOUSE, "make the moon big", "no moon"),
        (HOUSE, "without the house", "nothing would be left"),
        (HOUSE, "put it in the desert", "desert"),
        (HOUSE, "a cat above a dog", "new picture"),
        (PAIR, "a castle by the sea", "new picture"),
        (HOUSE, "hello how are you", "new picture"),
        (HOUSE, "", "nothing was said"),
    ],
)
def test_what_does_not_fit_into_the_small_world_is_said(prompt: str, said: str, note: str) -> None:
    revision = revise(prompt, said, in_mini_world=True)
    assert (revision.prompt, revision.negative, revision.changed) == (prompt, "", False)
    assert note in revision.note


def test_what_was_not_in_a_scene_is_kept_out_of_it() -> None:
    revision = revise(HOUSE, "without the dog", in_mini_world=True)
    assert (revision.prompt, revision.negative, revision.changed) == (HOUSE, "a dog", True)


@pytest.mark.parametrize(
    ("prompt", "said", "revised"),
    [
        (PAINTING, "make the house blue", PAINTING.replace("red", "blue")),
        (PAINTING, "Make it orange!", PAINTING.replace("a red", "an orange")),
        (PAINTING, "make the moon dark blue", PAINTING.replace("yellow", "dark blue")),
        (PAINTING, "bigger", PAINTING.replace("a red", "a big red")),
        (PAINTING, "make the house old", PAINTING.replace("red", "red old")),
        (PAINTING, "make the house on fire", PAINTING.replace("house", "house on fire")),
        (PAINTING, "make it darker", PAINTING.replace("moon", "moon, dark")),
        (PAINTING, "make it night", PAINTING.replace("moon", "moon at night")),
        (PAINTING, "it should be at sunset", PAINTING.replace("moon", "moon at sunset")),
        (PAINTING, "and a boat", PAINTING.replace("moon", "moon and a boat")),
        (PAINTING, "without the moon", PAINTING.replace(" under a yellow moon", "")),
        (PAINTING, "replace the moon with a green sun", PAINTING.replace("yellow moon", "green sun")),
        (PAINTING, "a green tree instead of the moon", PAINTING.replace("yellow moon", "green tree")),
        (PAINTING, "change the house to a castle", PAINTING.replace("house", "castle")),
        (PAINTING, "at night, and without the moon", "a red house at night, oil painting, highly detailed"),
        (PETS, "without the dog", "a cat on a sofa at night"),
        (PETS, "without the cat", "a dog on a sofa at night"),
        (PETS, "no sofa", "a dog and a cat at night"),
        (PETS, "not at night", "a dog and a cat on a sofa"),
        (PETS, "no, make it rain", f"{PETS} in the rain"),
        (PETS, "take the dog away", "a cat on a sofa at night"),
        (PETS, "by day", "a dog and a cat on a sofa by day"),
        (PETS, "instead of a dog a horse", "a horse and a cat on a sofa at night"),
        (PETS, "turn the sofa into a bed", "a dog and a cat on a bed at night"),
        (WEIGHTED, "make the house blue", WEIGHTED.replace("red", "blue")),
        (WEIGHTED, "make the dog white", WEIGHTED.replace("black", "white")),
        (WEIGHTED, "without the dog", "a (red:1.4) house in the (snow:1.1), [blurry]"),
        (WEIGHTED, "no snow", "a (red:1.4) house and (a black dog:1.2), [blurry]"),
        (WEIGHTED, "more snow", WEIGHTED.replace("1.1", "1.3")),
        (WEIGHTED, "less snow", WEIGHTED.replace("1.1", "0.9")),
        (WEIGHTED, "in the rain", "a (red:1.4) house and (a black dog:1.2) in the rain, [blurry]"),
        ("An old man.", "make him young", "A young man."),
        ("a red house", "make the red house blue", "a blue house"),
        ("a red house", "could we have a boat too?", "a red house and a boat"),
        ("a woman with long hair, by a window, photo", "without the window", "a woman with long hair, photo"),
        ("a woman with long hair", "make her hair blond", "a woman with long blond hair"),
        ("a woman with long hair", "give her a hat", "a woman with long hair with a hat"),
        ("An old man.", "and a dog", "An old man and a dog."),
        ("1girl, solo, red hair, smile", "blue hair", "1girl, solo, blue hair, smile"),
        ("1girl, solo, red hair, smile", "at night", "1girl, solo, red hair, smile, at night"),
        (GERMAN, "ohne den Hund", "ein rotes Haus am Meer"),
        (GERMAN, "bei Nacht", f"{GERMAN} bei Nacht"),
        (GERMAN, "mach das Haus blau", GERMAN.replace("rotes", "blaues")),
        (GERMAN, "und ein Boot", f"{GERMAN} und ein Boot"),
        (GERMAN, "im Wald", "ein rotes Haus mit einem Hund im Wald"),
        (SPANISH, "sin el perro", "una casa roja en la playa"),
        (SPANISH, "de noche", f"{SPANISH} de noche"),
        (SPANISH, "haz la casa azul", SPANISH.replace("roja", "azul")),
        (SPANISH, "y un barco", f"{SPANISH} y un barco"),
        (SPANISH, "cambia el perro por un gato", SPANISH.replace("perro", "gato")),
    ],
)
def test_changes_of_any_prompt(prompt: str, said: str, revised: str) -> None:
    revision = revise(prompt, said, in_mini_world=False)
    assert (revision.prompt, revision.negative, revision.changed) == (revised, "", True), revision.note


@pytest.mark.parametrize(
    ("prompt", "said", "negative"),
    [
        (PAINTING, "no clouds", "clouds"),
        (PAINTING, "without the dog and the birds", "dog, birds"),
        (GERMAN, "keine Wolken", "Wolken"),
        (SPANISH, "sin nubes", "nubes"),
        ("a girl near an old dog house", "without the dog", "dog"),
    ],
)
def test_what_the_words_do_not_name_is_kept_out(prompt: str, said: str, negative: str) -> None:
    revision = revise(prompt, said, in_mini_world=False)
    assert (revision.prompt, revision.negative, revision.changed) == (prompt, negative, True)


@pytest.mark.parametrize(
    "said",
    [
        "a castle on a hill in the style of van Gogh", "a cat", "a boat by the sea", "hello how are you",
        "two children play with a ball", "make the sky blue", "without", "", "?!",
    ],
)  # fmt: skip
def test_what_is_no_change_leaves_the_prompt_alone(said: str) -> None:
    revision = revise(PAINTING, said, in_mini_world=False)
    assert (revision.prompt, revision.negative, revision.changed) == (PAINTING, "", False)
    assert revision.note


REPEATABLE = [
    "make it blue", "make the house big", "at night", "and a boat", "with a garden", "make it darker",
    "by the sea", "make the house on fire", "under a tree", "without the moon", "no dog",
]  # fmt: skip


@pytest.mark.parametrize("said", REPEATABLE)
@pytest.mark.parametrize("in_mini_world", [True, False])
def test_the_same_change_twice_is_done_once(said: str, in_mini_world: bool) -> None:
    once = revise(PAIR, said, in_mini_world=in_mini_world)
    assert revise(once.prompt, said, in_mini_world=in_mini_world).prompt == once.prompt


def test_a_prompt_that_is_none_of_the_small_world_changes_like_any_other() -> None:
    revision = revise("a red piano, at dawn", "make the piano blue", in_mini_world=True)
    assert revision.prompt == "a blue piano, at dawn"


@given(st.integers(0, 2**32))
def test_every_sentence_of_the_small_world_is_read_as_its_scene(seed: int) -> None:
    scene = mini_world.random_scene(random.Random(seed))
    assert read_sentence(write_sentence(scene, random.Random(seed))) == scene
    assert read_sentence(write_sentence(scene)) == scene


PIECES = [
    *mini_world.spoken_words(), "without", "change", "replace", "with", "it", "no", "more", "less", "instead",
    "of", "bigger", "into", "should", "be", ",", ".", "piano", "ohne", "sin", "und",
]  # fmt: skip


@given(st.integers(0, 2**32), st.lists(st.sampled_from(PIECES), max_size=8))
def test_the_small_world_stays_within_its_grammar(seed: int, said: list[str]) -> None:
    prompt = write_sentence(mini_world.random_scene(random.Random(seed)))
    revision = revise(prompt, " ".join(said), in_mini_world=True)
    scene = read_sentence(revision.prompt)
    assert scene is not None
    assert write_sentence(scene) == revision.prompt
    assert revision.changed == (revision.prompt != prompt or bool(revision.negative))
    assert revision.note


TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from([*PIECES, "(", ")", "[", "]", "\\", ":1.2)", "(red:1.2)"]), max_size=10).map(
        " ".join
    ),
)


@given(TEXTS, TEXTS, st.booleans())
def test_any_texts_are_taken(prompt: str, said: str, in_mini_world: bool) -> None:
    revision = revise(prompt, said, in_mini_world=in_mini_world)
    assert revision.changed == (revision.prompt != prompt or bool(revision.negative))
    assert revision.note


@given(
    st.lists(st.sampled_from(["lamp", "oak", "river", "(glass:1.3)", "under", "near", "a", ","]), max_size=6),
    st.sampled_from(["make the house blue", "at night", "without the house", "and a boat", "more house"]),
)
def test_untouched_words_stay_in_their_order(others: list[str], said: str) -> None:
    prompt = " ".join(["a red house with a lamp", *others])
    rest = iter(revise(prompt, said, in_mini_world=False).prompt.split())
    untouched = [word for word in ["lamp", *others] if word not in (",", "a", "under", "near")]
    assert all(any(word == found.strip(",") for found in rest) for word in untouched)
