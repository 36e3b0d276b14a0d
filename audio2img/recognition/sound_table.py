"""From the classes that a sound model names to what a painter can paint.

The table is `sound_phrases.toml`: a phrase for each of YAMNet's 521 classes, and a topic, which
tells near synonyms ("Animal", "Dog", "Bark") from different things ("Dog", "Cat"). The model divides
its belief among the classes of a family, so families are compared by their sums, and then things.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audio2img.config import read_toml
from audio2img.types import HeardThing, SoundCategory, SoundRole

PLACE = "place"  # a role, and the family of all that have it
LEAST_WEIGHT = 0.05  # weaker things are guesses
LEAST_PEAK = 0.15  # and so are those that the model is never surer of than this
SURE_PEAK = 0.4  # from here on a sound was there, if only between words or in a minute of quiet
SURE_SECOND = 0.6  # a second thing is wrong more often than right where the model is never as sure as this
NAMED_SHARE = 0.15  # of the score of a general class is enough for a named thing to take its place
STEP = 2.0  # each step of a topic says so much more that half the score is enough

Topic = tuple[str, ...]


@dataclass(frozen=True)
class SoundClass:
    """One class: its name, what to paint for it, and what it belongs to.

    topic: a path of family, thing and what it does ("animal/dog/bark"); a general class has its
    family only.
    """

    name: str
    phrase: str
    topic: Topic
    role: SoundRole = "thing"
    mini: str = ""

    @property
    def family(self) -> str:
        """What its score is added to: silence is none of the signals."""
        return "silence" if self.role == "silence" else self.topic[0]


@dataclass(frozen=True)
class FamilyScore:
    """How a family did over a whole recording, by the sum of its classes in each window.

    lead_share: the share of windows in which it was the strongest; mean_score: of its sums, each of
    them 1 at most.
    """

    lead_share: float
    mean_score: float

    @property
    def weight(self) -> float:
        """In [0, 1], as `SoundCategory.weight`."""
        return (self.lead_share + self.mean_score) / 2


Families = Mapping[str, FamilyScore]
_Members = list[tuple[SoundClass, SoundCategory]]


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


class FamilyTally:
    """Adds up the scores of families, window by window.

    The classes of one family share what they are sure of: a bark is .4 Animal, .3 Dog and .2 Bark, and
    must not be less than .5 Door.
    """

    def __init__(self) -> None:
        classes = load_sound_classes()
        self._names = sorted({one.family for one in classes})
        of_class = [self._names.index(one.family) for one in classes]
        self._belongs = np.zeros((len(classes), len(self._names)), np.float32)
        self._belongs[np.arange(len(classes)), of_class] = 1
        # A place is behind all that sounds, so it leads nothing.
        self._can_lead = np.array([name != PLACE for name in self._names])
        self._leads = np.zeros(len(self._names), np.int64)
        self._sums = np.zeros(len(self._names))
        self._n_windows = 0

    def add(self, scores: NDArray[np.float32]) -> None:
        """One window's scores: (521,) float32 in [0, 1]."""
        sums = scores @ self._belongs
        self._leads[int(np.argmax(np.where(self._can_lead, sums, -1)))] += 1
        self._sums += np.minimum(sums, 1)
        self._n_windows += 1

    def finish(self) -> Families:
        n_windows = max(1, self._n_windows)
        return {
            name: FamilyScore(leads / n_windows, total / n_windows)
            for name, leads, total in zip(self._names, self._leads.tolist(), self._sums.tolist(), strict=True)
        }


def describe_sounds(
    categories: Sequence[SoundCategory], families: Families | None = None
) -> tuple[HeardThing, ...]:
    """What was heard, best first, near synonyms together.

    families: as `FamilyTally` gives them; None adds up the categories.

    The strongest thing of a family has its family's weight, all others have their own. Of the classes of
    a thing the one gives the words that says most and is sure enough: Animal, Dog and Bark become "a
    barking dog". A class that the table does not know is painted by its name.
    """
    known = {one.name.lower(): one for one in load_sound_classes()}
    by_family: dict[str, _Members] = {}
    for category in categories:
        name = category.name
        one = known.get(name.lower()) or SoundClass(name, name.lower(), (name,))
        by_family.setdefault(one.family, []).append((one, category))
    scores = {
        name: _added_up(members) if families is None or name not in families else families[name]
        for name, members in by_family.items()
    }
    masked = sum(
        scores[name].lead_share
        for name, members in by_family.items()
        if members[0][0].role in ("voice", "silence")
    )
    things = [
        (thing, peak)
        for name, members in by_family.items()
        for thing, peak in _describe_family(members, scores[name])
        if _is_heard(thing.weight, peak, masked)
    ]
    things.sort(key=lambda pair: -pair[0].weight)
    first = next((thing for thing, _ in things if thing.role == "thing"), None)
    return tuple(
        thing for thing, peak in things if thing.role != "thing" or thing is first or peak >= SURE_SECOND
    )


def _added_up(members: _Members) -> FamilyScore:
    mean_score = sum(category.mean_score for _, category in members)
    lead_share = sum(category.lead_share for _, category in members)
    return FamilyScore(min(1.0, lead_share), min(1.0, mean_score))


def _is_heard(weight: float, peak: float, masked: float) -> bool:
    """Whether a thing is more than a guess. masked: the share of windows led by speech or silence.

    Speech drowns what is behind it, which shows between the words only, and silence leaves little to
    hear: there a thing counts by the windows that are left, if the model is sure of it in one.
    """
    if weight >= LEAST_WEIGHT:
        return peak >= LEAST_PEAK
    return weight >= LEAST_WEIGHT * (1 - masked) and peak >= SURE_PEAK


def _describe_family(members: _Members, score: FamilyScore) -> list[tuple[HeardThing, float]]:
    """The things of one family and the highest score in each, best first."""
    by_thing: dict[Topic, _Members] = {}
    for one, category in members:
        by_thing.setdefault(one.topic[:2], []).append((one, category))
    general = next((group for topic, group in by_thing.items() if len(topic) == 1), [])
    named = sorted((group for topic, group in by_thing.items() if len(topic) > 1), key=_total, reverse=True)
    is_named = named and _best_mean(named[0]) >= NAMED_SHARE * _best_mean(general)
    if not is_named:
        named[:1] = [general]
    if members[0][0].role == PLACE:
        return [_describe_thing(group, _weight(group)) for group in named]
    weights = [score.weight, *(_weight(group) for group in named[1:])]
    return [_describe_thing(group, weight) for group, weight in zip(named, weights, strict=True)]


def _total(group: _Members) -> float:
    return sum(category.mean_score + category.lead_share for _, category in group)


def _best_mean(group: _Members) -> float:
    return max((category.mean_score for _, category in group), default=0.0)


def _weight(group: _Members) -> float:
    return max(category.weight for _, category in group)


def _describe_thing(group: _Members, weight: float) -> tuple[HeardThing, float]:
    # By mean scores: the class of a whole family nearly always leads those that say more.
    words, _ = max(group, key=lambda pair: pair[1].mean_score * STEP ** len(pair[0].topic))
    peak = max(category.peak_score for _, category in group)
    return HeardThing(words.phrase, words.name, round(weight, 4), words.role, words.mini), peak
