"""What is wished in the call, the environment and the settings file becomes one thing."""

from __future__ import annotations

import pytest

from audio2img.config import Settings
from audio2img.errors import UsageError
from audio2img.pipeline.wishes import Wishes

FILE = "settings.toml"


def settings(**values: object) -> Settings:
    return Settings(**values, origins=dict.fromkeys(values, FILE))  # type: ignore[arg-type]


def test_the_call_wins_over_the_settings_and_keeps_no_origin() -> None:
    wishes = Wishes.of({"steps": 5, "seed": 7, "style": None}, settings(steps=9, style="ink"))
    assert (wishes.steps, wishes.seed, wishes.style) == (5, 7, "ink")
    assert wishes.origins == {"style": FILE}
    assert wishes.said("steps") == 5
    assert wishes.said("style") is None


def test_all_of_it_reaches_the_options() -> None:
    wishes = Wishes.of(
        {"translate": True, "size": (64, 32), "count": 2, "hear": "both"},
        settings(negative="fog", language="de"),
    )
    options = wishes.options()
    assert (options.task, options.size, options.count) == ("translate", (64, 32), 2)
    assert (options.negative, options.language, options.hear) == ("fog", "de", "both")
    assert wishes.hearing_options().language == "de"


def test_a_wish_that_cannot_be_is_told_by_its_name() -> None:
    with pytest.raises(UsageError) as caught:
        Wishes.of({}, settings(steps=0)).options()
    assert caught.value.setting == "steps"
    with pytest.raises(UsageError) as caught:
        Wishes.of({}, settings(silence=-3.0)).live(lambda: False)
    assert caught.value.setting == "silence"


def test_words_alone_do_not_look_at_settings_of_pictures() -> None:
    assert Wishes.of({}, settings(steps=0, silence=-3.0)).hearing_options().language is None


def test_what_holds_for_all_drawing_is_marked() -> None:
    drawing = Wishes.of({"low_memory": True}, settings(precision="half", compute_units="cpu")).drawing()
    assert drawing.general == {"precision": FILE, "compute_units": FILE}
    assert drawing.given == ("compute_units", "low_memory", "precision")
