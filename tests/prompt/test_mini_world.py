"""The grammar of the small world."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from audio2img.prompt import mini_world
from audio2img.prompt.mini_world import Item, Scene


def test_a_plain_sentence() -> None:
    scene = Scene((Item("house", "orange"), Item("moon", "yellow", "small")), "under", "at night")
    assert mini_world.write_sentence(scene) == "an orange house under a small yellow moon at night"


@given(st.integers(0, 2**32))
def test_every_utterance_is_made_of_the_words_of_the_world(seed: int) -> None:
    utterance = mini_world.random_utterance(random.Random(seed))
    assert set(utterance.split()) <= set(mini_world.spoken_words())
    assert mini_world.unknown_words(utterance) == ()


def test_about_a_tenth_of_all_sentences_is_held_out() -> None:
    rng = random.Random(3)
    sentences = [mini_world.write_sentence(mini_world.random_scene(rng)) for _ in range(4000)]
    held_out = sum(map(mini_world.is_held_out, sentences)) / len(sentences)
    assert 0.08 < held_out < 0.13


def test_unknown_words_keep_their_order_and_come_once() -> None:
    assert mini_world.unknown_words("An elephant's RED elephant, elephant & a piano!") == (
        "elephant's", "elephant", "piano",
    )  # fmt: skip
    assert mini_world.unknown_words("a (red:1.4) house, (a piano:0.8)") == ("piano",), "weights are no words"


def test_scenes_cover_the_whole_world() -> None:
    rng = random.Random(5)
    scenes = [mini_world.random_scene(rng) for _ in range(3000)]
    assert {item.thing for scene in scenes for item in scene.items} == set(mini_world.THINGS)
    assert {scene.relation for scene in scenes} == {None, *mini_world.RELATIONS}
    assert {scene.setting for scene in scenes} == {None, *mini_world.SETTINGS}
    assert all((scene.relation is None) == (len(scene.items) == 1) for scene in scenes)
