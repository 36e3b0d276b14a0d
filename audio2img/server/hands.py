"""The image models of the server: one is loaded at a time, and who wants another waits for it to be free.

In the order in which they came: whoever waits is not overtaken by those who want what is loaded.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from audio2img.backends import preferred_variant
from audio2img.backends.protocol import Capabilities, DrawingWishes
from audio2img.errors import CancelledError, ModelError
from audio2img.pipeline.call import POLL_S
from audio2img.pipeline.models import ModelNames, Models
from audio2img.store.catalog import ResolvedModel, find_row, looks_like_path, resolve_model

if TYPE_CHECKING:
    from audio2img.diffusion import ModelDefaults


class Hands:
    """names, drawing: as for `Models`; names.image is what draws where nobody names another."""

    def __init__(self, names: ModelNames, drawing: DrawingWishes) -> None:
        self._names, self._drawing = names, drawing
        self._changed = threading.Condition()
        self._models = Models(names, drawing)
        self._loaded: str | None = None  # the name of theirs, None for the usual one
        self._users = 0
        self._line: deque[object] = deque()  # of those who wait
        self._described: dict[str | None, tuple[Capabilities, ModelDefaults]] = {}
        self._is_closed = False

    @cached_property
    def _usual(self) -> ResolvedModel:
        return self._models.image_model

    @property
    def usual_name(self) -> str:
        """Raises ModelError when it cannot be found."""
        return self._usual.name

    def check(self, name: str | None) -> None:
        """Raises ModelError for a name that nobody knows, or a model that is not on this machine."""
        if self._wanted(name) is None:
            return
        if looks_like_path(name or ""):
            raise ModelError(
                "a model is asked for by its name here, not by a path", "see: audio2img models list"
            )
        resolve_model(name, "image", preferred_variant())

    def vocabulary(self, name: str | None) -> str:
        """Of the model of that name: "mini_world", or "" for one that knows any words."""
        wanted = self._wanted(name)
        return self._usual.vocabulary if wanted is None else find_row(wanted, "image").vocabulary

    def _wanted(self, name: str | None) -> str | None:
        return None if name in (None, self.usual_name) else name

    def preload(self) -> None:
        """Start loading the model that was used last, if that has not happened yet."""
        with self._changed:
            self._models.preload()

    def describe(self, name: str | None, check: Callable[[], None]) -> tuple[Capabilities, ModelDefaults]:
        """What the model of that name can do, and how it draws where nobody says.

        It is loaded for that once: a page that opens later takes nobody's model away.
        check: as for `holding`.
        """
        wanted = self._wanted(name)
        if wanted not in self._described:
            with self.holding(name, check) as models, models.session() as session:
                self._described[wanted] = session.describe_image_model()
        return self._described[wanted]

    @contextmanager
    def holding(
        self,
        name: str | None,
        check: Callable[[], None],
        on_place: Callable[[int], None] = lambda place: None,
    ) -> Iterator[Models]:
        """The models to draw with: that of this name, which stays until the block ends.

        name: None for the usual one. check: asked while it waits for others; what it raises ends that.
        on_place: told how many are before this one, whenever that changes.
        """
        wanted = self._wanted(name)
        with self._changed:
            self._wait(wanted, check, on_place)
            if self._loaded != wanted:
                self._models.close()
                image = self._names.image if wanted is None else wanted
                self._models = Models(replace(self._names, image=image), self._drawing)
                self._loaded = wanted
            self._users += 1
            models = self._models
        try:
            yield models
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    def _wait(self, wanted: str | None, check: Callable[[], None], on_place: Callable[[int], None]) -> None:
        """Until the model of that name may be taken. For who holds `_changed`; raises CancelledError after
        `close`."""
        ticket, told = object(), 0
        self._line.append(ticket)
        try:
            while self._line[0] is not ticket or (self._users and self._loaded != wanted):
                check()
                place = self._users + self._line.index(ticket)
                if place != told:
                    told = place
                    on_place(place)
                self._changed.wait(POLL_S)
            if self._is_closed:
                raise CancelledError("the models were closed")
        finally:
            self._line.remove(ticket)
            self._changed.notify_all()

    def close(self) -> None:
        """Free the models; nobody gets any after it."""
        with self._changed:
            self._is_closed = True
            self._models.close()
