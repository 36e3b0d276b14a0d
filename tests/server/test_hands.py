"""One image model at a time, for several who want different ones: real models, the embedded one twice."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from audio2img.backends.protocol import DrawingWishes
from audio2img.background import in_background
from audio2img.errors import CancelledError
from audio2img.pipeline.models import ModelNames
from audio2img.server.hands import Hands

MINI = Path(__file__).parents[2] / "models" / "mini"


@pytest.fixture
def hands(tmp_path: Path) -> Hands:
    """With a copy of the embedded model as the usual one."""
    shutil.copytree(MINI, tmp_path / "another")
    return Hands(ModelNames(str(tmp_path / "another")), DrawingWishes())


def test_who_wants_another_model_is_not_overtaken(hands: Hands) -> None:
    drew: list[str | None] = []
    lock = threading.Lock()

    def draw(name: str | None, waits: threading.Event) -> None:
        with hands.holding(name, lambda: None, lambda place: waits.set()), lock:
            drew.append(name)

    with hands.holding(None, lambda: None):
        waits = [threading.Event() for _ in range(3)]
        futures = []
        for name, one in zip(("mini", None, "mini"), waits, strict=True):
            futures.append(in_background(lambda name=name, one=one: draw(name, one)))  # type: ignore[misc]
            assert one.wait(60)  # in line
        assert drew == []
    for future in futures:
        future.result(60)
    assert drew == ["mini", None, "mini"]


def test_who_waits_is_told_the_place_and_may_give_up(hands: Hands) -> None:
    places: list[int] = []
    is_given_up = threading.Event()

    def check() -> None:
        if is_given_up.is_set():
            raise CancelledError("stopped")

    def note(place: int) -> None:
        places.append(place)
        is_given_up.set()

    def take() -> None:
        with hands.holding("mini", check, note):
            pass

    with hands.holding(None, lambda: None), hands.holding(None, lambda: None):
        with pytest.raises(CancelledError):
            take()
        assert places == [2]
        with hands.holding(None, lambda: None):  # nobody is in the way any more
            pass


def test_a_page_that_opens_takes_nobodys_model_away(hands: Hands) -> None:
    def check() -> None:
        raise AssertionError("it waits")

    told = hands.describe(None, check)
    hands.describe("mini", check)
    with hands.holding("mini", check):
        assert hands.describe(None, check) == told


def test_nobody_gets_a_model_that_is_closed(hands: Hands) -> None:
    def take() -> None:
        with hands.holding("mini", lambda: None, lambda place: waits.set()):
            pass

    waits = threading.Event()
    with hands.holding(None, lambda: None):
        future = in_background(take)
        assert waits.wait(60)
        hands.close()
    with pytest.raises(CancelledError):
        future.result(60)
