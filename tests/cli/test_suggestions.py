"""A wrong word is answered with the right one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["generat", "a house"], "did you mean generate?"),
        (["RUN", "x.wav"], "did you mean run?"),
        (["model", "list"], "did you mean models?"),
        (["models", "lst"], "did you mean list?"),
        (["memo.m4a"], "audio2img run memo.m4a"),
        (["https://example.org/a"], "audio2img run https://example.org/a"),
        (["picture.png"], "audio2img show picture.png"),
        (["a", "red", "house"], 'audio2img generate "a red house"'),
        (
            ["--style", "ink", "run", "x.wav"],
            "options follow their command, as in: audio2img COMMAND --style",
        ),
        (["generate", "a house", "--style", "watercolour"], "did you mean watercolor?"),
        (["generate", "a house", "--template", "Scenes"], "did you mean scene?"),
        (["generate", "a house", "--scheduler", "Eulr"], "did you mean euler"),
        (["generate", "a house", "--backend", "Core-ML"], "did you mean coreml?"),
    ],
)
def test_what_was_meant_is_suggested(
    audio2img: Callable[..., Any], assert_fails: Callable[..., None], words: list[str], hint: str
) -> None:
    assert_fails(audio2img(*words), 2, hint)


def test_nothing_near_is_not_guessed_at(
    audio2img: Callable[..., Any], assert_fails: Callable[..., None]
) -> None:
    done = audio2img("xyzzy")
    assert_fails(done, 2, "No such command")
    assert "did you mean" not in done.stderr


def test_an_unknown_setting_suggests_the_known_one(
    audio2img: Callable[..., Any], assert_fails: Callable[..., None]
) -> None:
    from audio2img.config import settings_file

    settings_file().parent.mkdir(parents=True)
    settings_file().write_text("Steps = 3")
    assert_fails(audio2img("generate", "a house"), 2, "did you mean steps?")
