"""Arguments as a person at the command line knows them."""

from __future__ import annotations

import pytest

from audio2img.cli.wording import as_options


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("leave `init_image` out", "leave --init-image out"),
        ('choose `scheduler="euler-a"`, or more `steps`', "choose --scheduler euler-a, or more --steps"),
        ("draw with `low_memory=True`", "draw with --low-memory"),
        ("draw with `compile=False`", "draw with --no-compile"),
        ("leave `task=translate` out", "leave --translate out"),
        ("give `loras=my light.safetensors:0.6`", "give --lora my light.safetensors:0.6"),
        ("choose another `target`", "choose another --output"),
        ("give the same `loras`", "give the same --lora"),
        ("`memo.m4a` and `x y` are no arguments", "`memo.m4a` and `x y` are no arguments"),
        ("nothing to change", "nothing to change"),
    ],
)
def test_arguments_are_named_as_options(said: str, words: str) -> None:
    assert as_options(said) == words
