"""What was heard, in words to draw: which things, in what order, and never the same thing twice."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from audio2img.prompt.mini_world import SETTINGS, join_phrases
from audio2img.types import HeardThing

MOST_THINGS = 2  # more are a crowded picture; a place may join them
WEAK_SHARE = 1 / 3  # what weighs less than this beside the first thing is more often wrong than right
DEFAULT_TEMPLATE = "scene"

_SMALL_WORDS = re.compile(
    r"an?|the|and|at|for|from|in|into|its|of|off|on|out|over|their|through|to|under|up|with"
)


@dataclass(frozen=True)
class SceneWords:
    """Words for a picture, "" where there is nothing to draw, and the phrases that found no place in them."""

    text: str
    left_out: tuple[str, ...] = ()


def write_scene(things: Sequence[HeardThing], said: str = "", *, in_mini_world: bool = False) -> SceneWords:
    """The scene that was heard, best things first.

    said: the words it is to follow: no speaker is drawn then, and nothing that they name already.
    in_mini_world: in the words that the embedded model knows, as far as there are any.
    """
    chosen = _choose(things, said)
    phrases = [thing.phrase for thing in chosen]
    if not in_mini_world:
        return SceneWords(", ".join(phrases))
    known = [thing.mini_world for thing in chosen if thing.mini_world]
    if said and any(setting in said.lower() for setting in SETTINGS):  # the model knows one at a time
        known = [phrase for phrase in known if not phrase.endswith(SETTINGS)]
    if not known and not said:
        return SceneWords(", ".join(phrases))
    left_out = tuple(thing.phrase for thing in chosen if not thing.mini_world)
    return SceneWords(join_phrases(known), left_out)


def _choose(things: Sequence[HeardThing], said: str) -> list[HeardThing]:
    """The first things, unless weak, and the first place; a signal only where there is nothing else."""
    if said:
        spoken = _words(said)
        things = [thing for thing in things if thing.role != "voice" and not spoken & _words(thing.phrase)]
    sources = [thing for thing in things if thing.role in ("thing", "voice")]
    chosen = [thing for thing in sources if thing.weight >= WEAK_SHARE * sources[0].weight][:MOST_THINGS]
    chosen += [thing for thing in things if thing.role == "place"][:1]
    if not chosen and not said:
        chosen = [thing for thing in things if thing.role == "signal"][:1]
    return chosen


def _words(text: str) -> set[str]:
    """The words of `text` that mean something, in small letters and without the s of the plural."""
    words = re.findall(r"[^\W\d_]+", text.lower())
    return {word.removesuffix("s") for word in words if not _SMALL_WORDS.fullmatch(word)}
