from __future__ import annotations

import contextlib
import re
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audio2img.diffusion.facts import SCHEDULER_CLASSES
from audio2img.diffusion.schedulers import SCHEDULER_NAMES
from audio2img.errors import InputError
from audio2img.output.parameters import (
    SAMPLERS,
    format_parameters,
    ignored_settings,
    parse_parameters,
    parse_settings,
)
from audio2img.output.record import PictureRecord
from audio2img.types import ImageRequest

# Everything but the controls and surrogates, which become spaces; with many lines and look-alikes.
printable = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff") | st.just("\n")
)
look_alikes = st.lists(
    st.sampled_from(
        [
            "Negative prompt: x",
            "Steps: 1, Seed: 2, Size: 3x4",
            "\\Steps: 5",
            "  Negative prompt:",
            "a",
            "",
            "\\\\",
        ]
    )
).map("\n".join)
prompts = printable | look_alikes


def read_as_the_web_ui_does(text: str) -> tuple[str, str, dict[str, str]]:
    """(prompt, negative prompt, settings) by the rules of the web UI's reader, written anew."""
    lines = [line.strip() for line in text.strip().split("\n")]
    pairs = re.findall(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)', lines[-1])
    if len(pairs) >= 3:
        lines.pop()
    start = next((i for i, line in enumerate(lines) if line.startswith("Negative prompt:")), len(lines))
    negative = [line.removeprefix("Negative prompt:").strip() for line in lines[start:]]
    return "\n".join(lines[:start]), "\n".join(negative), dict(pairs)


def test_golden(record: PictureRecord) -> None:
    record = replace(record, audio2img_version="0.1.0")
    assert format_parameters(record) == (
        "a red house under a yellow moon\n"
        "Negative prompt: blurry\n"
        "Steps: 12, Sampler: DPM++ 2M, CFG scale: 6.5, Seed: 42, Size: 32x24,"
        " Model hash: 0123456789, Model: mini, Version: audio2img 0.1.0"
    )


@given(prompts, prompts, st.sampled_from(SCHEDULER_NAMES), st.floats(0, 50), st.integers(0, 2**32 - 1))
@example("", "Negative prompt: a", "ddim", 7.5, 0)
@example("\n\n", "\n", "ddim", 7.5, 0)
@example("a\nnegative PROMPT: b", "", "euler", 1.0, 3)
def test_prompts_and_settings_come_back(
    prompt: str, negative: str, scheduler: str, scale: float, seed: int
) -> None:
    request = ImageRequest(prompt, negative, seed, 12, float(f"{scale:.10g}"), scheduler, 512, 768)
    text = format_parameters(PictureRecord(request, 'a, "b": c', "f" * 64))
    read = parse_parameters(text)
    assert read.request == request
    assert read.model == 'a, "b": c'


@given(look_alikes, look_alikes)
def test_the_web_ui_tells_prompt_and_negative_apart(prompt: str, negative: str) -> None:
    request = ImageRequest(prompt, negative, 7, 12, width=8, height=8)
    text = format_parameters(PictureRecord(request, "m"))
    seen_prompt, seen_negative, settings = read_as_the_web_ui_does(text)
    assert settings["Seed"] == "7"
    assert settings["Steps"] == "12"

    def words(text: str) -> list[str]:
        return text.replace("\\", "").split()

    assert words(seen_prompt) == words(prompt)
    assert words(seen_negative) == words(negative)


def test_controls_become_spaces(record: PictureRecord) -> None:
    request = replace(record.request, prompt="a\x00b\x1b[31mc\rd\x85e\ud800f", negative_prompt="")
    assert format_parameters(replace(record, request=request)).split("\n")[0] == "a b [31mc d e f"


def test_another_programs_text_is_understood() -> None:
    text = (
        "portrait of a cat,\nhighly detailed\n"
        "Negative prompt: ugly, blurry,\nlowres\n"
        "Steps: 28, Sampler: Euler a, CFG scale: 7, Seed: 2934817625, Size: 512x704, Model hash: 6ce0161689,"
        ' Model: v1-5-pruned, Clip skip: 2, Lora hashes: "x: 1, y: 2", Version: v1.10.1'
    )
    record = parse_parameters(text)
    assert record.request == ImageRequest(
        "portrait of a cat,\nhighly detailed",
        "ugly, blurry,\nlowres",
        2934817625,
        28,
        7.0,
        "euler-a",
        512,
        704,
    )
    assert (record.model, record.model_hash, record.backend) == ("v1-5-pruned", "", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "only a prompt",
        "a\nSteps: 20",
        "a\nSteps: many, Sampler: Euler, Seed: 1, Size: 1x1",
        "a\nSteps: 20, Sampler: Euler, Seed: 1",
        "a\nSteps: 20, Sampler: Euler, Seed: 1, Size: large",
        "a\nSteps: 20, Sampler: Euler, Seed: 1, Size: 0x512",
        "a\nSteps: 20, Sampler: Euler, Seed: -1, Size: 8x8",
        "a\nSteps: 20, Sampler: Euler, Seed: 1, Size: 8x8, CFG scale: nan",
        "a\nSteps: 20, Sampler: Euler, Seed: 1, Size: 8x8, CFG scale: inf",
        "a\nSteps: 20, Sampler: Euler, Seed: 1, Size: 8x8, CFG scale: 1e999",
        f"a\nSteps: {'9' * 5000}, Sampler: Euler, Seed: 1, Size: 8x8",
        f"a\nSteps: 20, Sampler: Euler, Seed: 1, Size: 8x8, Model: {'x' * 100_000}",
    ],
)
def test_texts_without_settings_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_parameters(text)


# The pattern of the web UI itself (modules/infotext_utils.py), which takes minutes for long texts.
THEIR_SETTING = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


@given(st.text(st.sampled_from('a1_ -/:,"\\\té')) | st.lists(st.sampled_from(["Ab: ", "1,", '"x, y"', ":"])))
@example("a:b:cc:dd,ee: ff")
@example('ab: "\\", cd: "e", f')
@example("- ab: c")
def test_settings_are_split_as_the_web_ui_splits_them(pieces: str | list[str]) -> None:
    line = "".join(pieces)
    theirs = dict(THEIR_SETTING.findall(line))
    assert parse_settings(line).keys() == theirs.keys()
    unquoted = {key: value for key, value in theirs.items() if '"' not in value}
    assert unquoted.items() <= parse_settings(line).items()


@pytest.mark.slow
@pytest.mark.parametrize("piece", ["a", "-a ", "\n ", "\n\\", 'aa:"\\",'])
def test_long_texts_of_strangers_end(piece: str) -> None:
    """In time that grows as they do: these took hours."""
    long = piece * (1_500_000 // len(piece))
    for text in (long, f"a\nSteps: 20, Sampler: Euler, Seed: 1, Size: 8x8, {long}"):
        with contextlib.suppress(InputError):
            parse_parameters(text)
    format_parameters(PictureRecord(ImageRequest(long, long, width=8, height=8), "m"))


def test_what_another_programs_settings_say_beyond_ours() -> None:
    text = "a\nSteps: 20, Seed: 1, Size: 8x8, Clip skip: 2, Model: m, Hires upscale: 2, Version: v1"
    assert ignored_settings(text) == ("Clip skip: 2", "Hires upscale: 2")
    assert ignored_settings("") == ()


def test_every_scheduler_has_a_web_ui_name() -> None:
    assert set(SAMPLERS) == {*SCHEDULER_NAMES, *SCHEDULER_CLASSES}
    assert len(set(SAMPLERS.values())) == len(SAMPLERS)
