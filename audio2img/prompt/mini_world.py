"""The small world that the embedded models know: its words, its sentences, its scenes.

One grammar for everything that needs it: the training of both mini models, their
evaluation, the model card, and the pipeline when it says which words the mini
model has never seen.

    sentence  = [lead-in] item [relation item] [setting]
    item      = article [size] [colour] thing
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "gray")
SIZES = ("small", "big", "large", "tiny")
THINGS = (
    "circle", "square", "triangle", "star", "heart", "diamond", "moon", "sun", "cloud", "tree",
    "flower", "house", "boat", "fish", "mountain", "bird", "cat", "dog", "car", "castle",
)  # fmt: skip
RELATIONS = ("above", "below", "next to", "left of", "right of", "on", "under", "and")
SETTINGS = (
    "at night", "at sunset", "at sunrise", "in the snow", "in the rain",
    "on a beach", "in the forest", "by the sea",
)  # fmt: skip
LEAD_INS = (
    "draw", "paint", "make", "show me", "please draw", "please paint", "please show me",
    "a picture of", "i want",
)  # fmt: skip
ARTICLES = ("a", "an", "the")
JOINTS = ("to",)  # "to the left of"

HELD_OUT_BYTES = 26  # of 256: about a tenth of all sentences is never trained on


@dataclass(frozen=True)
class Item:
    """One thing of a scene; `colour` and `size` are None where the sentence leaves them open."""

    thing: str
    colour: str | None = None
    size: str | None = None


@dataclass(frozen=True)
class Scene:
    """One or two items, the relation of the first to the second, and where it all is."""

    items: tuple[Item, ...]
    relation: str | None = None
    setting: str | None = None


def random_scene(rng: random.Random, p_two: float = 0.5) -> Scene:
    """A scene drawn from the whole world; with probability `p_two` it has two different things."""
    things = rng.sample(THINGS, 2 if rng.random() < p_two else 1)
    items = tuple(
        Item(
            thing,
            rng.choice(COLOURS) if rng.random() < 0.8 else None,
            rng.choice(SIZES) if rng.random() < 0.35 else None,
        )
        for thing in things
    )
    relation = rng.choice(RELATIONS) if len(items) == 2 else None
    return Scene(items, relation, rng.choice(SETTINGS) if rng.random() < 0.5 else None)


def write_item(item: Item, article: str | None = None) -> str:
    """ "a small red house"; the indefinite article agrees unless another one is given."""
    words = " ".join(word for word in (item.size, item.colour, item.thing) if word)
    return f"{article or ('an' if words[0] in 'aeiou' else 'a')} {words}"


def write_sentence(scene: Scene, rng: random.Random | None = None) -> str:
    """The scene in words: its plainest sentence, or with `rng` one of the ways a person might say it."""
    if rng is None:
        parts = [write_item(scene.items[0])]
        if len(scene.items) == 2:
            parts += [scene.relation or "and", write_item(scene.items[1])]
        return " ".join(part for part in [*parts, scene.setting] if part)
    parts = [rng.choice(LEAD_INS)] if rng.random() < 0.45 else []
    for number, item in enumerate(scene.items):
        if number:
            relation = scene.relation or "and"
            to_the = relation in ("left of", "right of") and rng.random() < 0.4
            parts.append(f"to the {relation}" if to_the else relation)
        parts.append(write_item(item, "the" if rng.random() < 0.2 else None))
    return " ".join([*parts, scene.setting] if scene.setting else parts)


def read_sentence(text: str) -> Scene | None:
    """The scene of one of this world's sentences; None where `text` is no such sentence.

    Articles may be missing, and capitals and a last full stop do not matter.

    >>> read_sentence("Draw a small red house at night.")
    Scene(items=(Item(thing='house', colour='red', size='small'),), relation=None, setting='at night')
    """
    match = _SENTENCE.fullmatch(" ".join(text.lower().split()).rstrip(".!?, "))
    if not match:
        return None
    found = match.groupdict()
    items = tuple(
        Item(found[f"thing{number}"], found[f"colour{number}"], found[f"size{number}"])
        for number in (1, 2)
        if found[f"thing{number}"]
    )
    return Scene(items, found["relation"], found["setting"])


def _any_of(words: Sequence[str]) -> str:
    return f"(?:{'|'.join(sorted(words, key=len, reverse=True))})"


def _item_pattern(number: int) -> str:
    size, colour, thing = (_any_of(words) for words in (SIZES, COLOURS, THINGS))
    return (
        rf"(?:{_any_of(ARTICLES)} )?(?:(?P<size{number}>{size}) )?(?:(?P<colour{number}>{colour}) )?"
        rf"(?P<thing{number}>{thing})"
    )


_SENTENCE = re.compile(
    rf"(?:{_any_of(LEAD_INS)} )?{_item_pattern(1)}"
    rf"(?: (?:to the )?(?P<relation>{_any_of(RELATIONS)}) {_item_pattern(2)})?"
    rf"(?: (?P<setting>{_any_of(SETTINGS)}))?"
)


def random_utterance(rng: random.Random) -> str:
    """What somebody might say to the mini Whisper: mostly sentences, some lists and single words."""
    kind = rng.random()
    if kind < 0.80:
        return write_sentence(random_scene(rng, 0.65), rng)
    if kind < 0.87:
        return rng.choice(spoken_words())
    if kind < 0.94:
        items = [random_scene(rng, 0.0).items[0] for _ in range(rng.randint(3, 6))]
        return " and ".join(write_item(item) for item in items)
    return " ".join(rng.choice(spoken_words()) for _ in range(rng.randint(2, 7)))


def is_held_out(sentence: str) -> bool:
    """True for the fixed tenth of all sentences that no training ever sees (by hash of the text)."""
    return hashlib.md5(sentence.encode(), usedforsecurity=False).digest()[0] < HELD_OUT_BYTES


def spoken_words() -> tuple[str, ...]:
    """Every word of the grammar, sorted: the vocabulary of the mini Whisper."""
    phrases: Sequence[str] = (
        *COLOURS, *SIZES, *THINGS, *RELATIONS, *SETTINGS, *LEAD_INS, *ARTICLES, *JOINTS,
    )  # fmt: skip
    return tuple(sorted({word for phrase in phrases for word in phrase.split()}))


def join_phrases(phrases: Sequence[str]) -> str:
    """Phrases of this world as one of its sentences: two items at most, one setting, each once.

    >>> join_phrases(["a dog", "in the rain", "a bird at night"])
    'a dog and a bird in the rain'
    """
    items: dict[str, None] = {}
    settings: dict[str, None] = {}
    for phrase in phrases:
        setting = next((one for one in SETTINGS if phrase.endswith(one)), "")
        settings.update({setting: None} if setting else {})
        if item := phrase.removesuffix(setting).strip():
            items[item] = None
    return " ".join([*" and ".join([*items][:2]).split(), *[*settings][:1]])


def unknown_words(text: str) -> tuple[str, ...]:
    """The words of `text`, without their weights, that are not in this world, in order, each once."""
    from audio2img.diffusion.prompt_weights import parse_weights

    known = set(spoken_words())
    words = re.findall(r"[^\W_]+(?:'[^\W_]+)*", parse_weights(text).text.lower())
    return tuple(dict.fromkeys(word for word in words if word not in known))
