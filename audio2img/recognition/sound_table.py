"""From the classes that a sound model names to what a painter can paint.

The table is `sound_phrases.toml`: a phrase for each of YAMNet's 521 classes, and a topic, which
tells near synonyms ("Animal", "Dog", "Bark") from different things ("Dog", "Cat").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from audio2img.config import read_toml
from audio2img.types import HeardThing, SoundCategory, SoundRole

LEAST_WEIGHT = 0.05  # weaker categories are guesses
LEAST_PEAK = 0.15  # and so are those that the model is never surer of than this
SURE_PEAK = 0.4  # from here on a sound was there, if only between words or in a minute of quiet
STEP = 2.0  # each step of a topic says so much more that half the score is enough


@dataclass(frozen=True)
class SoundClass:
    """One class: its name, what to paint for it, and what it belongs to.

    topic: a path of family, thing and what it does ("animal/dog/bark").
    """

    name: str
    phrase: str
    topic: tuple[str, ...]
    role: SoundRole = "thing"
    mini: str = ""

    def is_synonym(self, other: SoundClass) -> bool:
        """Whether both stand for the same thing, or one for the family of the other."""
        shared = min(len(self.topic), len(other.topic), 2)
        return self.topic[:shared] == other.topic[:shared]


_Group = list[tuple[SoundClass, SoundCategory]]


@lru_cache(maxsize=1)
def load_sound_classes() -> tuple[SoundClass, ...]:
    """The classes of YAMNet, in the order of its scores."""
    table = read_toml(Path(__file__).with_name("sound_phrases.toml"))
    return tuple(
        SoundClass(
            row["name"], row["phrase"], tuple(row["topic"].split("/")), row.get("role", "thing"),
            row.get("mini", ""),
        )
        for row in table["sounds"]
    )  # fmt: skip


def describe_sounds(categories: Sequence[SoundCategory]) -> tuple[HeardThing, ...]:
    """What was heard, best first, near synonyms together; categories: best first.

    Of synonyms the one gives the words that says most and is sure enough: Animal, Dog and Bark become
    "a barking dog". A class that the table does not know is painted by its name.
    """
    known = {one.name.lower(): one for one in load_sound_classes()}
    masked = sum(
        category.lead_share
        for category in categories
        if (one := known.get(category.name.lower())) and one.role in ("voice", "silence")
    )
    groups: list[_Group] = []
    for category in categories:
        if not _is_heard(category, masked):
            continue
        name = category.name
        one = known.get(name.lower()) or SoundClass(name, name.lower(), ("", name))
        group = next((group for group in groups if _is_of(one, group)), None)
        if group is None:
            groups.append(group := [])
        group.append((one, category))
    return tuple(_describe_group(group) for group in groups)


def _is_heard(category: SoundCategory, masked: float) -> bool:
    """Whether a category is more than a guess. masked: the share of windows led by speech or silence.

    Speech drowns what is behind it, which shows between the words only, and silence leaves little to
    hear: there a category counts by the windows that are left, if the model is sure of it in one.
    """
    if category.weight >= LEAST_WEIGHT:
        return category.peak_score >= LEAST_PEAK
    return category.weight >= LEAST_WEIGHT * (1 - masked) and category.peak_score >= SURE_PEAK


def _is_of(one: SoundClass, group: _Group) -> bool:
    """Whether a class is a synonym of all that are in the group: a dog and a cat are both animals."""
    return all(one.is_synonym(other) for other, _ in group)


def _describe_group(group: _Group) -> HeardThing:
    # By mean scores: the class of a whole family nearly always leads those that say more.
    words, _ = max(group, key=lambda pair: pair[1].mean_score * STEP ** len(pair[0].topic))
    weight = max(category.weight for _, category in group)
    return HeardThing(words.phrase, words.name, weight, words.role, words.mini)
