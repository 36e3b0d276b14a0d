"""The image models of the server: one is loaded at a time, and callers of another wait for it to be free."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property

from audio2img.backends import preferred_variant
from audio2img.backends.protocol import DrawingWishes
from audio2img.errors import ModelError
from audio2img.pipeline.call import POLL_S
from audio2img.pipeline.models import ModelNames, Models
from audio2img.store.catalog import ResolvedModel, find_row, looks_like_path, resolve_model


class Hands:
    """names, drawing: as for `Models`; names.image is what draws where nobody names another."""

    def __init__(self, names: ModelNames, drawing: DrawingWishes) -> None:
        self._names, self._drawing = names, drawing
        self._changed = threading.Condition()
        self._models = Models(names, drawing)
        self._loaded: str | None = None  # the name of theirs, None for the usual one
        self._users = 0

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

    @contextmanager
    def holding(self, name: str | None, check: Callable[[], None]) -> Iterator[Models]:
        """The models to draw with: that of this name, which stays until the block ends.

        name: None for the usual one. check: asked while it waits for others; what it raises ends that.
        """
        wanted = self._wanted(name)
        with self._changed:
            while self._users and self._loaded != wanted:
                check()
                self._changed.wait(POLL_S)
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

    def close(self) -> None:
        with self._changed:
            self._models.close()
