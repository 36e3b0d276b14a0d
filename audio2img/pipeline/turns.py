"""Taking turns: what one model does for one caller at a time, in the order in which they came."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from audio2img.pipeline.call import POLL_S


class Turns:
    """A queue without a clerk: whoever is first in it works, the others wait."""

    def __init__(self) -> None:
        self._line: deque[object] = deque()
        self._moved = threading.Condition()

    @contextmanager
    def turn(
        self, check: Callable[[], None], on_place: Callable[[int], None] = lambda place: None
    ) -> Iterator[None]:
        """Wait for one's turn, which lasts until the block ends.

        check: asked often; what it raises ends the waiting. on_place: told how many are before this one,
        whenever that changes, and not at all where nobody is.
        """
        ticket, told = object(), 0
        with self._moved:
            self._line.append(ticket)
        try:
            while place := self._place_of(ticket):
                check()
                if place != told:
                    told = place
                    on_place(place)
                self._wait_for_change(ticket, place)
            yield
        finally:
            with self._moved:
                self._line.remove(ticket)
                self._moved.notify_all()

    def _place_of(self, ticket: object) -> int:
        with self._moved:
            return self._line.index(ticket)

    def _wait_for_change(self, ticket: object, place: int) -> None:
        with self._moved:
            self._moved.wait_for(lambda: self._line.index(ticket) != place, timeout=POLL_S)
