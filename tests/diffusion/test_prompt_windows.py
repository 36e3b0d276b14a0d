"""Prompts in windows: nothing is lost, and the shares are whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audio2img.diffusion.prompt_windows import PromptWindows
from audio2img.diffusion.tokenizer import ClipTokenizer

WORDS = ["a", "big", "red", "house", "at", "night", "under", "the", "moon"]


@pytest.fixture(scope="module")
def windows(mini_bundle: Path) -> PromptWindows:
    return PromptWindows([ClipTokenizer.from_folder(mini_bundle)])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.sampled_from(WORDS), max_size=250))
def test_every_word_is_in_one_window(windows: PromptWindows, words: list[str]) -> None:
    text = " ".join(words)
    split = windows.split(text, "chunk")
    assert " ".join(row[0].kept for row, _ in split).split() == words
    assert all(row[0].dropped == "" for row, _ in split)
    assert sum(weight for _, weight in split) == pytest.approx(1)


def test_cut_is_one_window(windows: PromptWindows) -> None:
    text = " ".join(WORDS * 20)
    [(row, weight)] = windows.split(text, "cut")
    assert weight == 1
    assert (row[0].kept, row[0].dropped) == windows.fit(text)
    assert len(windows.split(text, "chunk")) > 1
