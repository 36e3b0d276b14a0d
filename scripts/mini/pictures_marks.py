"""Marks for pictures: is what the judge sees what the sentence said?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audio2img.prompt.mini_world import Scene
from scripts.mini.pictures_judge import Found, Judge, Verdict, look, measure_colour

NEAR_PX = 6.0  # things closer than this in a direction do not count as apart in it
# Radii of a single thing, in pixels: drawn are 14 and 18 (tiny, small), 26 (nothing said), 38 (big, large).
SIZE_LIMITS_PX: dict[str | None, tuple[float, float]] = {
    "tiny": (0.0, 22.0), "small": (0.0, 22.0), None: (22.0, 32.0), "big": (32.0, 99.0), "large": (32.0, 99.0),
}  # fmt: skip


@dataclass(frozen=True)
class Marks:
    """One picture against its scene; None (or no entry) where there is nothing to judge."""

    things: bool
    colours: tuple[bool, ...]
    setting: bool
    size: bool | None
    relation: bool | None

    @property
    def all_right(self) -> bool:
        """Things, named colours, setting, size and relation are all right."""
        return all(
            mark is not False for mark in (self.things, *self.colours, self.setting, self.size, self.relation)
        )


def relation_holds(relation: str, first: Found, second: Found) -> bool:
    """Whether the first thing found stands in this relation to the second."""
    right, down = first.x - second.x, first.y - second.y
    if relation in ("above", "on"):
        return down < -NEAR_PX and -down > abs(right)
    if relation in ("below", "under"):
        return down > NEAR_PX and down > abs(right)
    if relation == "left of":
        return right < -NEAR_PX and -right > abs(down)
    if relation == "right of":
        return right > NEAR_PX and right > abs(down)
    return max(abs(right), abs(down)) > NEAR_PX  # "next to", "and": two places


def mark_picture(picture: NDArray[np.uint8], verdict: Verdict, scene: Scene) -> Marks:
    """The marks of one picture (128, 128, 3) uint8.

    The things are right when exactly those named score highest. A colour is measured where the named thing is
    seen best, whether or not it is the right thing: a blob in the right colour earns that mark and no other.
    """
    named = [item.thing for item in scene.items]
    places = [verdict.place_of(thing) for thing in named]
    best = {found.thing for found in verdict.found[: len(named)]}
    colours = tuple(
        measure_colour(picture, item.thing, place.x, place.y, place.radius) == item.colour
        for item, place in zip(scene.items, places, strict=True)
        if item.colour
    )
    size = relation = None
    if len(named) == 1:
        low, high = SIZE_LIMITS_PX[scene.items[0].size]
        size = low <= places[0].radius < high
    else:
        relation = relation_holds(scene.relation or "and", places[0], places[1])
    return Marks(best == set(named), colours, verdict.setting == scene.setting, size, relation)


def mark_pictures(judge: Judge, pictures: NDArray[np.uint8], scenes: Sequence[Scene]) -> list[Marks]:
    """The marks of pictures (n, 128, 128, 3) uint8 of these scenes."""
    verdicts = look(judge, pictures)
    return [mark_picture(*each) for each in zip(pictures, verdicts, scenes, strict=True)]


def _share(marks: Sequence[bool]) -> float:
    return round(sum(marks) / len(marks), 4)


def summarize(marks: Sequence[Marks]) -> dict[str, float]:
    """Shares of right marks, each over the pictures (for colours: things) that it applies to, if any."""
    verdicts = {
        "thing": [mark.things for mark in marks],
        "colour": [colour for mark in marks for colour in mark.colours],
        "setting": [mark.setting for mark in marks],
        "size": [mark.size for mark in marks if mark.size is not None],
        "relation": [mark.relation for mark in marks if mark.relation is not None],
        "all_right": [mark.all_right for mark in marks],
    }
    return {"n": len(marks), **{name: _share(given) for name, given in verdicts.items() if given}}
