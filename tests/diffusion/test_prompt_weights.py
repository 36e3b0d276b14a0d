"""Weights of words: what brackets mean, and how the text encoder's answer heeds them."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio2img.diffusion.prompt_weights import MAX_WEIGHT, emphasize, parse_weights
from audio2img.diffusion.prompt_windows import PromptWindows
from audio2img.diffusion.tokenizer import ClipTokenizer


@pytest.fixture(scope="module")
def windows(mini_bundle: Path) -> PromptWindows:
    return PromptWindows([ClipTokenizer.from_folder(mini_bundle)])


def runs(text: str) -> list[tuple[str, float]]:
    weighted = parse_weights(text)
    assert len(weighted.text) == len(weighted.weights)
    pairs = groupby(zip(weighted.text, weighted.weights, strict=True), key=lambda pair: pair[1])
    return [("".join(letter for letter, _ in group), round(weight, 6)) for weight, group in pairs]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("normal text", [("normal text", 1.0)]),
        ("an (important) word", [("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
        ("a [faint] word", [("a ", 1.0), ("faint", round(1 / 1.1, 6)), (" word", 1.0)]),
        ("a (red:1.4) house", [("a ", 1.0), ("red", 1.4), (" house", 1.0)]),
        ("( red : .5 )", [(" red ", 0.5)]),
        ("(unbalanced", [("unbalanced", 1.1)]),
        ("unbalanced) too]", [("unbalanced) too]", 1.0)]),
        (r"\(literal\]", [("(literal]", 1.0)]),
        ("(un)(merged)", [("unmerged", 1.1)]),
        ("a clock: 10:30", [("a clock: 10:30", 1.0)]),
        ("(10:30 train)", [("10:30 train", 1.1)]),
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            [
                ("a ", 1.0), ("house", 1.573), (" ", 1.1), ("on", 1.0), (" a ", 1.1), ("hill", 0.55),
                (", sun, ", 1.1), ("sky", 1.4641), (".", 1.1),
            ],
        ),
    ],
)  # fmt: skip
def test_brackets_mean_what_they_mean_in_a1111(text: str, expected: list[tuple[str, float]]) -> None:
    """The examples of its own documentation are among these."""
    assert runs(text) == expected


@given(st.text(alphabet="ab ():[]\\1.5é", max_size=60))
def test_any_text_can_be_read_and_written_again(text: str) -> None:
    weighted = parse_weights(text)
    again = parse_weights(weighted.part(0, len(weighted.text)))
    assert again.text == weighted.text
    assert again.weights == pytest.approx(weighted.weights, abs=1e-4)
    assert all(abs(weight) <= MAX_WEIGHT for weight in weighted.weights)


def test_deep_brackets_take_no_time() -> None:
    assert parse_weights("(a" * 100_000).weights[-1] == MAX_WEIGHT
    assert parse_weights(f"(a:{'9' * 5000})").weights == (MAX_WEIGHT,)


def test_tokens_have_the_weights_of_their_words(windows: PromptWindows) -> None:
    [([tokens], _)] = windows.split("a (big red:1.4) house", "cut")
    [([plain], _)] = windows.split("a big red house", "cut")
    assert tokens.ids.tolist() == plain.ids.tolist()
    assert plain.weights is None
    assert tokens.weights is not None
    n_words = len(plain.starts)
    expected = [1.0, 1.0, *[1.4] * (n_words - 2), 1.0, *[1.0] * (77 - n_words - 1)]
    assert tokens.weights.tolist() == pytest.approx(expected)


def test_a_long_prompt_keeps_its_weights_on_both_sides_of_a_cut(windows: PromptWindows) -> None:
    text = f"a house, ({'red ' * 200}moon:1.3)"
    kept, dropped = windows.fit(text)
    assert kept.startswith("a house, (red ")
    assert kept.endswith("red:1.3)")
    assert dropped.startswith("(red ")
    split = windows.split(text, "chunk")
    assert len(split) > 2
    words = " ".join(row[0].kept for row, _ in split).split()
    assert words == parse_weights(text).text.split()
    last = split[-1][0][0]
    assert last.weights is not None
    assert last.weights[1] == pytest.approx(1.3)


def test_the_mean_of_the_answer_stays() -> None:
    states = np.random.default_rng(0).standard_normal((1, 77, 8)).astype(np.float32) + 0.5
    weights = np.ones((1, 77, 1), dtype=np.float32)
    assert np.array_equal(emphasize(states, weights), states)
    weights[0, 3] = 1.4
    weighted = emphasize(states, weights)
    assert weighted.dtype == np.float32
    assert weighted.mean() == pytest.approx(states.mean(), rel=1e-4)
    ratio = weighted[0] / states[0]
    assert ratio[3] == pytest.approx(1.4 * ratio[2], rel=1e-4)
