"""The queue for what works for one caller at a time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from audio2img.errors import CancelledError
from audio2img.pipeline.turns import Turns


def nothing() -> None:
    pass


def test_turns_come_in_the_order_of_asking_and_places_count_down() -> None:
    turns, order = Turns(), []
    places: dict[str, list[int]] = {"second": [], "third": []}
    asked = {name: threading.Event() for name in places}

    def wait_as(name: str) -> None:
        def told(place: int) -> None:
            places[name].append(place)
            asked[name].set()

        with turns.turn(nothing, told):
            order.append(name)

    with ThreadPoolExecutor(2) as pool:
        with turns.turn(nothing, lambda place: pytest.fail("nobody was before it")):
            second = pool.submit(wait_as, "second")
            assert asked["second"].wait(60)
            third = pool.submit(wait_as, "third")
            assert asked["third"].wait(60)
            order.append("first")
        second.result(60)
        third.result(60)
    assert order == ["first", "second", "third"]
    assert places["second"] == [1]
    assert places["third"][0] == 2


def test_who_gives_up_leaves_the_queue() -> None:
    turns = Turns()

    def give_up() -> None:
        raise CancelledError("stopped")

    with turns.turn(nothing), pytest.raises(CancelledError), turns.turn(give_up):
        pytest.fail("it was not its turn")
    with turns.turn(give_up):
        pass  # nobody is before it, so that nobody asks
