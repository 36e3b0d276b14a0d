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

SILENCE = "Silence"
LEAST_WEIGHT = 0.05  # weaker categories are guesses
LEAST_PEAK = 0.15  # and so are those that the model is never surer of than this
SPEAKS_FOR = 0.2  # a synonym is believed when its mean score is at least this share of the surest one's


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

    Of the synonyms that are strong enough the one that says most gives the words: Animal, Dog and
    Bark become "a barking dog". A class that the table does not know is painted by its name.
    """
    known = {one.name: one for one in load_sound_classes()}
    # A word in a minute of quiet is a word: weights count where there is something to hear.
    silent = sum(category.lead_share for category in categories if category.name == SILENCE)
    least = LEAST_WEIGHT * (1 - silent) if silent < 1 else LEAST_WEIGHT
    groups: list[_Group] = []
    for category in categories:
        if category.weight < least or category.peak_score < LEAST_PEAK:
            continue
        name = category.name
        one = known.get(name) or SoundClass(name, name.lower(), ("", name))
        group = next((group for group in groups if _is_of(one, group)), None)
        if group is None:
            groups.append(group := [])
        group.append((one, category))
    return tuple(_describe_group(group) for group in groups)


def _is_of(one: SoundClass, group: _Group) -> bool:
    """Whether a class is a synonym of all that are in the group: a dog and a cat are both animals."""
    return all(one.is_synonym(other) for other, _ in group)


def _describe_group(group: _Group) -> HeardThing:
    # By mean scores: the class of a whole family nearly always leads those that say more.
    surest = max(category.mean_score for _, category in group)
    believed = [pair for pair in group if pair[1].mean_score >= SPEAKS_FOR * surest]
    words, _ = max(believed, key=lambda pair: (len(pair[0].topic), pair[1].mean_score))
    weight = max(category.weight for _, category in group)
    return HeardThing(words.phrase, words.name, weight, words.role, words.mini)
