from __future__ import annotations

import csv

import pytest

from audio2img.prompt import clean_transcript
from audio2img.prompt.mini_world import unknown_words
from audio2img.recognition.sound_table import describe_sounds, load_sound_classes
from audio2img.types import SoundCategory


def heard(*scores, leader=0):
    """Categories with these (name, mean score); the first one leads unless told otherwise."""
    ranked = [
        SoundCategory(name, float(place == leader), mean, max(mean, 0.7))
        for place, (name, mean) in enumerate(scores)
    ]
    return sorted(ranked, key=lambda category: -category.weight)


def phrases(*scores, **options):
    return [thing.phrase for thing in describe_sounds(heard(*scores, **options))]


def test_the_names_are_those_of_yamnet_in_its_order(shared_data):
    with (shared_data / "yamnet_class_map.csv").open(encoding="utf-8", newline="") as file:
        names = [row["display_name"] for row in csv.DictReader(file)]
    assert len(names) == 521
    assert [one.name for one in load_sound_classes()] == names


def test_every_class_has_words_for_a_painter():
    for one in load_sound_classes():
        assert 1 <= len(one.phrase.split()) <= 10, one
        assert "sound" not in one.phrase, one
        assert one.role in ("thing", "voice", "place", "signal", "silence"), one
        assert one.role != "place" or one.phrase.startswith("in "), one
        assert 1 <= len(one.topic) <= 4, one
        assert all(one.topic), one


def test_phrases_pass_the_clean_up_of_spoken_words_unchanged():
    for one in load_sound_classes():
        assert clean_transcript(one.phrase) == one.phrase


def test_what_the_mini_model_is_told_is_in_its_world():
    told = [one for one in load_sound_classes() if one.mini]
    assert len(told) > 40
    for one in told:
        assert unknown_words(one.mini) == (), one


@pytest.mark.parametrize(
    ("scores", "wanted"),
    [
        ([("Dog", 0.8), ("Bark", 0.5)], ["a barking dog"]),
        ([("Animal", 0.9), ("Domestic animals, pets", 0.85), ("Dog", 0.8), ("Bark", 0.6)], ["a barking dog"]),
        ([("Rain", 0.8), ("Rain on surface", 0.5)], ["rain on a roof"]),
        ([("Dog", 0.8), ("Cat", 0.5)], ["a dog", "a cat"]),
        ([("Animal", 0.9), ("Dog", 0.8), ("Cat", 0.5)], ["a dog", "a cat"]),
        (
            [("Saxophone", 0.6), ("Jazz", 0.4), ("Music", 0.9)],
            ["a saxophonist", "a jazz band in a smoky club"],
        ),
        ([("Music", 0.9), ("Guitar", 0.05)], ["musicians playing"]),
        ([("Telephone", 0.9), ("Dial tone", 0.9), ("Alarm", 0.8)], ["a telephone off the hook"]),
        ([("Vehicle", 0.9), ("Engine", 0.7), ("Motorcycle", 0.5)], ["a motorcycle"]),
        ([("Motorcycle", 0.6), ("Accelerating, revving, vroom", 0.5)], ["a motorcycle"]),
        ([("Siren", 0.9), ("Ambulance (siren)", 0.6)], ["an ambulance with flashing lights"]),
        ([("Bird", 0.9), ("Fowl", 0.6), ("Duck", 0.6), ("Quack", 0.5)], ["a quacking duck"]),
        ([("Bird", 0.9), ("Chirp, tweet", 0.8), ("Coo", 0.2)], ["a chirping little bird"]),
        ([("Dog", 0.9), ("Bark", 0.3)], ["a dog"]),
        ([("Applause", 0.9), ("Clapping", 0.8), ("Crowd", 0.5)], ["an applauding audience"]),
        ([("Speech", 0.9), ("Narration, monologue", 0.05)], ["a person speaking"]),
        ([("Glarbing", 0.9)], ["glarbing"]),
    ],
)
def test_near_synonyms_share_a_place(scores, wanted):
    assert phrases(*scores) == wanted


def test_synonyms_are_found_whichever_leads():
    assert phrases(("Animal", 0.6), ("Dog", 0.6), ("Bark", 0.6), leader=1) == ["a barking dog"]


def test_guesses_are_left_out():
    weak = SoundCategory("Owl", 0.1, 0.02, 0.14)
    rare = SoundCategory("Owl", 0.0, 0.02, 0.9)
    assert describe_sounds([weak]) == ()
    assert describe_sounds([rare]) == ()


def test_a_word_in_a_minute_of_quiet_counts():
    said = [SoundCategory("Silence", 0.98, 0.95, 1.0), SoundCategory("Speech", 0.02, 0.02, 0.9)]
    assert [thing.role for thing in describe_sounds(said)] == ["silence", "voice"]


def test_between_the_words_a_sure_sound_counts_and_a_guess_does_not():
    speech = SoundCategory("Speech", 0.9, 0.9, 1.0)
    sea = SoundCategory("Ocean", 0.05, 0.04, 0.5)
    guess = SoundCategory("Eruption", 0.05, 0.02, 0.24)
    assert [thing.phrase for thing in describe_sounds([speech, sea, guess])] == [
        "a person speaking", "the ocean",
    ]  # fmt: skip
