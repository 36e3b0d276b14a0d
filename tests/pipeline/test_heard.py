"""What was heard becomes a prompt: the pipeline with a model that is not bound to the small world."""

from __future__ import annotations

import pytest

from audio2img import NothingToDrawError, Options, Pipeline, SoundSummary
from audio2img.types import HeardThing

RAIN = HeardThing("rain on a roof", "Rain on surface", 0.5, mini_world="a house in the rain")
SPEAKER = HeardThing("a person speaking", "Speech", 0.9, "voice")
SILENCE = HeardThing("a still and empty landscape", "Silence", 1.0, "silence")


@pytest.fixture(scope="module")
def pipeline(mini_bundle):
    with Pipeline(str(mini_bundle)) as opened:  # by its path it is a model like any other
        yield opened


def heard(*things):
    return SoundSummary("yamnet", 3.0, 5, (), things)


def prompt_of(pipeline, text, *things, **options):
    return pipeline.generate(text, Options(seed=1, steps=1, **options), heard(*things)).prompt


def test_sounds_follow_the_words(pipeline):
    prompt = prompt_of(pipeline, "please draw a red house. Thank you.", SPEAKER, RAIN)
    assert prompt.text == "a red house, rain on a roof"


def test_sounds_alone_get_the_default_template(pipeline):
    prompt = prompt_of(pipeline, "", RAIN)
    assert prompt.text == "rain on a roof, together in one scene, natural light, rich detail, depth"
    assert "text" in prompt.negative


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"template": "older"}, "generate an image of rain on a roof"),
        ({"template": "{prompt} at dawn"}, "rain on a roof at dawn"),
        ({"style": "ink"}, "rain on a roof"),
    ],
)
def test_a_template_or_style_takes_its_place(pipeline, options, text):
    prompt = prompt_of(pipeline, "", RAIN, **options).text
    assert text in prompt
    assert "one scene" not in prompt


def test_words_alone_are_as_before(pipeline):
    drawing = pipeline.generate("a red house", Options(seed=1, steps=1))
    assert (drawing.prompt.text, drawing.prompt.negative) == ("a red house", "")


def test_silence_is_no_picture(pipeline):
    with pytest.raises(NothingToDrawError, match=r"silence"):
        prompt_of(pipeline, "", SILENCE)
