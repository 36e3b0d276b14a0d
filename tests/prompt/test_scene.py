from __future__ import annotations

import pytest

from audio2img.prompt.mini_world import join_phrases
from audio2img.prompt.scene import SceneWords, write_scene
from audio2img.types import HeardThing

DOG = HeardThing("a barking dog", "Bark", 0.9, mini_world="a dog")
RAIN = HeardThing("rain on a roof", "Rain on surface", 0.5, mini_world="a house in the rain")
SAX = HeardThing("a saxophonist", "Saxophone", 0.4)
SPEAKER = HeardThing("a person speaking", "Speech", 0.8, "voice")
HALL = HeardThing("in a large hall", "Inside, large room or hall", 0.1, "place")
STREET = HeardThing("in a city street", "Outside, urban or manmade", 0.1, "place")
HAZE = HeardThing("a haze of pink grain", "Pink noise", 0.9, "signal")
SILENCE = HeardThing("a still and empty landscape", "Silence", 0.9, "silence")
SEA = HeardThing("the ocean", "Ocean", 0.5, mini_world="by the sea")


@pytest.mark.parametrize(
    ("things", "words"),
    [
        ([DOG, RAIN], "a barking dog, rain on a roof"),
        ([SPEAKER, DOG], "a person speaking, a barking dog"),
        ([DOG, RAIN, SAX, HALL, STREET], "a barking dog, rain on a roof, in a large hall"),
        ([HAZE, SAX], "a saxophonist"),
        ([SILENCE, HAZE], "a haze of pink grain"),
        ([SILENCE], ""),
        ([], ""),
    ],
)
def test_the_first_two_things_and_a_place(things, words):
    assert write_scene(things) == SceneWords(words)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("a red house under a yellow moon", "a barking dog, rain on a roof"),
        ("two dogs on a beach", "rain on a roof, a saxophonist"),
        ("a dog in the rain", "a saxophonist"),
    ],
)
def test_what_was_said_is_not_drawn_twice_and_the_speaker_not_at_all(said, words):
    assert write_scene([SPEAKER, DOG, RAIN, SAX, HAZE], said).text == words


def test_beside_words_noise_is_nothing():
    assert write_scene([SPEAKER, HAZE], "a house") == SceneWords("")


@pytest.mark.parametrize(
    ("things", "said", "scene"),
    [
        ([DOG, RAIN], "", SceneWords("a dog and a house in the rain")),
        ([DOG, SAX], "", SceneWords("a dog", ("a saxophonist",))),
        ([SAX], "", SceneWords("a saxophonist")),  # nothing it knows: the pipeline says so, word by word
        ([SAX], "a house", SceneWords("", ("a saxophonist",))),
        ([SEA], "a boat", SceneWords("by the sea")),
        ([SEA], "a boat at night", SceneWords("")),
        ([SEA, DOG], "a boat at night", SceneWords("a dog")),
    ],
)
def test_in_the_mini_models_world(things, said, scene):
    assert write_scene(things, said, in_mini_world=True) == scene


def test_phrases_become_one_sentence_of_the_small_world():
    assert join_phrases(["a bird at night", "a dog", "in the rain", "a cat"]) == "a bird and a dog at night"
    assert join_phrases(["a dog", "a dog"]) == "a dog"
    assert join_phrases(["by the sea"]) == "by the sea"
    assert join_phrases([]) == ""
