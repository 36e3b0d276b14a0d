"""A change of a scene of the small world, exactly by its grammar.

Two things at most and one setting fit into a scene: what does not fit is said, and nothing is lost for it.
"""

from __future__ import annotations

import re
from dataclasses import replace

from audio2img.prompt.changes import (
    Add,
    Change,
    Describe,
    Locate,
    Remove,
    Replace,
    Revision,
    Strengthen,
    Weaken,
)
from audio2img.prompt.mini_world import (
    ARTICLES,
    COLOURS,
    RELATIONS,
    SETTINGS,
    SIZES,
    THINGS,
    Item,
    Scene,
    read_sentence,
    write_item,
    write_sentence,
)

# Words that people use for what this world has: the last word of a setting, and other forms.
_SETTING_OF = {
    "night": "at night", "midnight": "at night", "nacht": "at night", "nachts": "at night",
    "noche": "at night",
    "sunset": "at sunset", "dusk": "at sunset", "evening": "at sunset", "sonnenuntergang": "at sunset",
    "atardecer": "at sunset", "sunrise": "at sunrise", "dawn": "at sunrise", "morning": "at sunrise",
    "sonnenaufgang": "at sunrise", "amanecer": "at sunrise", "snow": "in the snow", "winter": "in the snow",
    "schnee": "in the snow", "nieve": "in the snow", "rain": "in the rain", "storm": "in the rain",
    "regen": "in the rain", "lluvia": "in the rain", "beach": "on a beach", "strand": "on a beach",
    "playa": "on a beach", "forest": "in the forest", "woods": "in the forest", "wald": "in the forest",
    "bosque": "in the forest", "sea": "by the sea", "ocean": "by the sea", "meer": "by the sea",
    "mar": "by the sea",
}  # fmt: skip
_OTHER_FORMS = {
    "grey": "gray", "violet": "purple", "bigger": "big", "larger": "large", "smaller": "small",
    "tinier": "tiny", "huge": "large", "little": "small",
}  # fmt: skip
_SMALL_WORDS = {*ARTICLES, "it", "and", "this", "that", "much", "very", "more", "some", "now", "them"}
_PLACES = tuple(relation for relation in RELATIONS if relation != "and")

# A scene and what is said of it; None for what is no change of a scene.
_Answer = tuple[Scene, str] | None


def change_sentence(scene: Scene, prompt: str, change: Change) -> Revision | None:
    """`prompt`, a sentence of the small world, after one change; None where `change` is a whole new scene.

    scene: of `prompt`. What is to be kept out though nothing of it is there comes back in `negative`.
    """
    negative = ""
    if isinstance(change, Remove):
        answer, negative = _remove(scene, change.thing)
    elif isinstance(change, Locate):
        answer = _locate(scene, change.phrase)
    elif isinstance(change, Add | Strengthen):
        answer = _add(scene, change.phrase if isinstance(change, Add) else change.thing)
    elif isinstance(change, Replace):
        answer = _replace(scene, change)
    elif isinstance(change, Weaken):
        answer, negative = _remove(scene, change.thing)
    else:
        answer = _describe(scene, change)
    if answer is None:
        return None
    new, note = answer
    changed = new != scene or bool(negative)
    return Revision(write_sentence(new) if new != scene else prompt, negative, changed, note)


def _describe(scene: Scene, change: Describe) -> _Answer:
    """ "the house blue", "blue house", "it bigger", "a boat", "the house under the moon"."""
    text = _plain(change.text)
    said = read_sentence(text)
    if said and len(said.items) == 2 and said.relation:
        return _relate(scene, said, change)
    found, unknown = _sort_words(text)
    things = [word for word in found if word in THINGS]
    look = Item("", _first(found, COLOURS), _first(found, SIZES))
    if not things and (setting := _setting_in(text)):  # "make it night"
        return _locate(scene, setting)
    if unknown:
        return None if change.bare else (scene, _not_known(unknown))
    if len(things) == 2 and all(scene_has(scene, thing) for thing in things):  # "the house and the moon blue"
        both, note = _put(scene, things[0], replace(look, thing=things[0]))
        both, other = _put(both, things[1], replace(look, thing=things[1]))
        return both, f"{note}, and {other}" if note else ""
    if len(things) == 2 and scene_has(scene, things[0]):  # "the house a boat"
        return _put(scene, things[0], replace(look, thing=things[1]))
    if len(things) > 1:
        return None
    if not things:
        return _put(scene, scene.items[0].thing, look) if look != Item("") else None
    if scene_has(scene, things[0]):
        return _put(scene, things[0], replace(look, thing=things[0]))
    if "the" in text.split() and look != Item(""):
        return scene, f"there is no {things[0]} in the picture"
    if len(scene.items) == 1:
        return _put(scene, scene.items[0].thing, replace(look, thing=things[0]), keep_look=False)
    return None if change.bare else (scene, _full(scene))


def _relate(scene: Scene, said: Scene, change: Describe) -> _Answer:
    """Two things and how they lie: new is what is not in the scene, or the relation alone."""
    there = [scene_has(scene, item.thing) for item in said.items]
    if not any(there):
        return None if change.bare else (scene, _full(scene))
    if len(scene.items) == 2 and not all(there):
        return scene, _full(scene)
    old = {item.thing: item for item in scene.items}
    items = tuple(_merge(old.get(item.thing, item), item) for item in said.items)
    new = Scene(items, said.relation, said.setting or scene.setting)
    when = "already" if new == scene else "now"
    if said.relation == "and":
        return new, f"there are {write_item(items[0])} and {write_item(items[1])} {when}"
    return new, f"{_the(items[0])} is {said.relation} {_the(items[1])} {when}"


def _locate(scene: Scene, phrase: str) -> _Answer:
    """A setting, or a relation to a thing: "under a tree", "next to the house"."""
    text = _plain(phrase)
    if setting := _setting_in(text):
        if setting == scene.setting:
            return scene, f"it is {setting} already"
        return replace(scene, setting=setting), f"it is {setting} now"
    relation = next((one for one in _PLACES if re.match(rf"(?:to the )?{one} ", text)), "")
    said = read_sentence(re.sub(rf"^(?:to the )?{relation} ", "", text)) if relation else None
    if said is None or len(said.items) != 1:
        return scene, f'the small model knows no place "{phrase}"; it knows {", ".join(SETTINGS)}'
    other = next((item for item in scene.items if item.thing != said.items[0].thing), None)
    if other is None or (len(scene.items) == 2 and not scene_has(scene, said.items[0].thing)):
        return scene, _full(scene)
    return _relate(scene, Scene((Item(other.thing), said.items[0]), relation), Describe(phrase))


def _add(scene: Scene, phrase: str) -> _Answer:
    """One more thing, where there is room; a thing that is there takes over how it is said to be."""
    text = _plain(phrase).removeprefix("with ")
    if (setting := _setting_in(text)) and not any(word in THINGS for word in _sort_words(text)[0]):
        return _locate(scene, setting)
    said = read_sentence(text)
    if said is None:
        found, unknown = _sort_words(text)
        if unknown or not found:
            return scene, _not_known(unknown or [phrase])
        if all(word in COLOURS + SIZES for word in found):
            return _describe(scene, Describe(text))
        return scene, _full(scene)
    if len(said.items) == 2 and any(scene_has(scene, item.thing) for item in said.items):
        return _relate(scene, said, Describe(text))
    new, notes = scene, []
    for item in said.items:
        if scene_has(new, item.thing):
            new, note = _put(new, item.thing, item)
        elif len(new.items) == 1:
            relation = said.relation if len(said.items) == 2 and item is said.items[1] else "and"
            new, note = (
                replace(new, items=(*new.items, item), relation=relation),
                f"{write_item(item)} is there now",
            )
        else:
            note = _full(new)
        notes.append(note)
    return new, ", and ".join(dict.fromkeys(notes))


def _replace(scene: Scene, change: Replace) -> _Answer:
    """One thing for another, or the words of a colour or a setting for the old ones."""
    old, new = _plain(change.old), _plain(change.new)
    if setting := _setting_in(new):
        return _locate(scene, setting)
    found, unknown = _sort_words(new)
    if unknown:
        return scene, _not_known(unknown)
    olds = [word for word in _sort_words(old)[0] if word in THINGS]
    if not olds or not scene_has(scene, olds[0]):
        what = olds[0] if olds else old
        return scene, f"there is no {what} in the picture"
    thing = _first(found, THINGS) or olds[0]
    return _put(scene, olds[0], Item(thing, _first(found, COLOURS), _first(found, SIZES)))


def _remove(scene: Scene, phrase: str) -> tuple[_Answer, str]:
    """The scene without some things or its setting, and what is to be kept out though it was not there."""
    text = _plain(phrase)
    setting = _setting_in(text)
    things = [word for word in _sort_words(text)[0] if word in THINGS]
    if setting and not things:
        if scene.setting == setting:
            return (replace(scene, setting=None), f"it is no longer {setting}"), ""
        return (scene, f"it was not {setting}, so that is kept out"), setting
    if not things:
        return (scene, _not_known(_sort_words(text)[1] or [phrase])), ""
    kept = tuple(item for item in scene.items if item.thing not in things)
    if not kept:
        return (scene, f"without {_the(scene.items[0])} nothing would be left to draw"), ""
    absent = [thing for thing in things if not scene_has(scene, thing)]
    notes = [f"the {item.thing} is gone" for item in scene.items if item.thing in things]
    notes += [f"there was no {thing}, so it is kept out" for thing in absent]
    new = replace(scene, items=kept, relation=scene.relation if len(kept) == 2 else None)
    return (new, ", and ".join(notes)), ", ".join(write_item(Item(thing)) for thing in absent)


def _put(scene: Scene, thing: str, new: Item, *, keep_look: bool = True) -> tuple[Scene, str]:
    """`new` in the place of `thing`, and the words for it. What `new` leaves open stays as it was.

    keep_look: False for a thing that has nothing of the old one.
    """
    old = next(item for item in scene.items if item.thing == thing)
    other_thing = bool(new.thing) and new.thing != thing
    if other_thing and scene_has(scene, new.thing):
        return scene, f"there is a {new.thing} already"
    has_look = bool(new.colour or new.size)
    item = new if other_thing and (has_look or not keep_look) else _merge(old, new)
    look = " and ".join(word for word in (new.size, new.colour) if word)
    if item == old:
        return scene, f"the {thing} is {look} already" if look else ""
    changed = replace(scene, items=tuple(item if one is old else one for one in scene.items))
    if other_thing:
        return changed, f"{write_item(item)} is in the place of {_the(old)} now"
    return changed, f"the {thing} is {look} now"


def _merge(old: Item, new: Item) -> Item:
    return Item(new.thing or old.thing, new.colour or old.colour, new.size or old.size)


def scene_has(scene: Scene, thing: str) -> bool:
    """Whether one of the scene's items is a `thing`."""
    return any(item.thing == thing for item in scene.items)


def _sort_words(text: str) -> tuple[list[str], list[str]]:
    """The world's colours, sizes and things in `text`, and the words that the world does not have."""
    words = [word for word in re.findall(r"[^\W_]+", text) if word not in _SMALL_WORDS]
    known = (*COLOURS, *SIZES, *THINGS)
    return [word for word in words if word in known], [word for word in words if word not in known]


def _plain(text: str) -> str:
    """`text` in small letters, with this world's own forms: "bigger houses" as "big house"."""
    words = re.findall(r"[^\W_]+", text.lower())
    forms = (_OTHER_FORMS.get(word, word) for word in words)
    singular = (word[:-1] if word.endswith("s") and word[:-1] in THINGS else word for word in forms)
    return " ".join(singular)


def _setting_in(text: str) -> str:
    """The setting that `text` means, "" for none: its last word tells."""
    return _SETTING_OF.get(text.split()[-1], "") if text else ""


def _first(words: list[str], kind: tuple[str, ...]) -> str | None:
    return next((word for word in words if word in kind), None)


def _the(item: Item) -> str:
    return f"the {item.thing}"


def _not_known(words: list[str]) -> str:
    return f'the small model does not know "{" ".join(words)}"'


def _full(scene: Scene) -> str:
    names = " and ".join(_the(item) for item in scene.items)
    return (
        f"two things at most fit into this picture: {names} {'are' if len(scene.items) > 1 else 'is'} there"
    )
