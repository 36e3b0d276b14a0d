"""A change of any prompt in words: a thing looks otherwise, goes, comes, or the time and place are others.

`noun_phrases` finds what is meant; what was not meant stays as it is, with its weights.
"""

from __future__ import annotations

import re

from audio2img.prompt.changes import (
    ARTICLE,
    PREPOSITION,
    PRONOUN,
    SETTINGS,
    Add,
    Change,
    Describe,
    Locate,
    Remove,
    Replace,
    Revision,
    Strengthen,
    Weaken,
    kind_of_setting,
)
from audio2img.prompt.noun_phrases import (
    LOOK,
    SIZES,
    NounPhrase,
    describe_phrase,
    find_noun_phrase,
    first_noun_phrase,
    mask_weights,
    remove_phrase,
    whole_brackets,
)
from audio2img.prompt.prompts import join_negatives

_MOST, _LEAST = 1.8, 0.4  # weights that "more" and "less" do not pass
_COMPARED = {
    "bigger": "big", "larger": "large", "smaller": "small", "taller": "tall", "darker": "dark",
    "lighter": "light",
    "brighter": "bright",
    "older": "old", "younger": "young", "longer": "long", "shorter": "short",
    "größer": "groß", "kleiner": "klein", "heller": "hell", "dunkler": "dunkel",
}  # fmt: skip
_DEGREE = r"(?:(?:much|a bit|a little|a lot|even|way|all|completely|look|be|to be|más|viel|etwas) )+"
_PLACE = re.compile(rf"{PREPOSITION} ", re.IGNORECASE)
_POSSESSIVE = re.compile(r"(?:his|her|its|their|your|our) ", re.IGNORECASE)
_DEFINITE = re.compile(r"(?:the|der|die|das|el|la|los|las) ", re.IGNORECASE)
_MOST_LOOK_WORDS = 4  # of a look that is none of the tables': "old and a bit crooked"


def change_prompt(prompt: str, change: Change) -> Revision | None:
    """A free prompt after one change; None where it is no change of it."""
    if isinstance(change, Remove):
        return _remove(prompt, change.thing)
    if isinstance(change, Locate):
        return _locate(prompt, change.phrase)
    if isinstance(change, Add):
        return _add(prompt, change.phrase)
    if isinstance(change, Replace):
        return _replace(prompt, change)
    if isinstance(change, Strengthen):
        return _weigh(prompt, change.thing, 0.2, change.more)
    if isinstance(change, Weaken):
        return _weigh(prompt, change.thing, -0.2)
    return _describe(prompt, change)


def _describe(prompt: str, change: Describe) -> Revision | None:
    """A look for a thing of the prompt: "the house blue", "blue house", "it bigger"."""
    phrase, look = _split_look(prompt, change.text)
    looks = _looks_in(look)
    named = phrase is not None and _DEFINITE.match(change.text) and _PLACE.match(look)
    if change.bare and not named and not all(map(LOOK.fullmatch, looks)):
        return None
    if phrase is None:
        return None if change.bare else _unchanged(prompt, f'"{change.text}" names nothing of the words')
    if not look:
        return _unchanged(prompt, "")
    if re.match(r"(?:not|no longer|nicht|no) ", look, re.IGNORECASE):
        return _unchanged(prompt, f'"{look}" does not say what it is instead')
    if re.match(rf"{ARTICLE} ", look, re.IGNORECASE):  # "the dog a cat"
        return _put_in_place(prompt, phrase, look)
    if re.match(rf"{PRONOUN} ", change.text, re.IGNORECASE) and not all(
        map(LOOK.fullmatch, looks)
    ):  # "it darker"
        return _locate(prompt, look) if _PLACE.match(look) else _add_words(prompt, f", {look}")
    if len(look.split()) > _MOST_LOOK_WORDS and not _PLACE.match(look):
        return _unchanged(prompt, f'"{look}" is too much for one change')
    if other := re.match(r"(?:and|und|y) ", look, re.IGNORECASE):  # "the house and the moon blue"
        return _describe_both(prompt, phrase, look[other.end() :])
    noun = prompt[phrase.noun : phrase.end]
    words = prompt
    for one in looks:
        again = find_noun_phrase(words, noun)
        words = describe_phrase(words, again, one) if again else words
    what = (
        f'"{look}" is said of the {noun}'
        if _PLACE.match(look)
        else f"the {noun} {'are' if re.fullmatch('[a-z]+[^su]s', noun) else 'is'} {look}"
    )
    return _changed(prompt, words, f"{what} now", f"{what} already")


def _describe_both(prompt: str, phrase: NounPhrase, rest: str) -> Revision:
    """A look for two things: `rest` names the second and the look."""
    second = _describe(prompt, Describe(rest))
    _, look = _split_look(prompt, rest)
    first = (
        _describe(second.prompt, Describe(f"{prompt[phrase.noun : phrase.end]} {look}"))
        if second and look
        else None
    )
    if second is None or first is None or re.match("(?:and|und|y) ", look):
        return _unchanged(prompt, f'"{rest}" was not understood')
    return Revision(first.prompt, "", first.prompt != prompt, f"{first.note}; {second.note}")


def _split_look(prompt: str, text: str) -> tuple[NounPhrase | None, str]:
    """The thing of the prompt that `text` is about, and the look that it gives to it.

    The thing comes first ("the house blue") or last ("blue house"); a look alone is the first thing's.
    """
    words = _bare(text).split()
    pronoun = re.match(rf"{PRONOUN}(?: |$)", text, re.IGNORECASE)
    possessive = _POSSESSIVE.match(text)
    cuts: list[tuple[list[str], list[str]]] = []
    if not pronoun or (possessive and not _PLACE.match(" ".join(words))):
        cuts += [(words[:count], words[count:]) for count in range(min(4, len(words)), 0, -1)]
    if not pronoun and not possessive:
        cuts += [(words[count:], words[:count]) for count in range(1, len(words))]
    for thing, look in cuts:
        if not all(map(LOOK.fullmatch, thing)) and (phrase := find_noun_phrase(prompt, " ".join(thing))):
            return phrase, _plain_look(" ".join(look))
    if pronoun:
        return first_noun_phrase(prompt), _plain_look(text[pronoun.end() :])
    look_alone = _plain_look(" ".join(words))
    is_look = bool(look_alone) and all(map(LOOK.fullmatch, _looks_in(look_alone)))
    return (first_noun_phrase(prompt) if is_look else None), look_alone


def _bare(text: str) -> str:
    """ "the dog", "her dog" or "any dog" as "dog"."""
    return re.sub(rf"^(?:{ARTICLE}|{_POSSESSIVE.pattern.strip()}|any|all) ", "", text, flags=re.IGNORECASE)


def _plain_look(text: str) -> str:
    """ "much bigger" as "big"."""
    text = re.sub(rf"^{_DEGREE}", "", text.strip(), flags=re.IGNORECASE)
    return " ".join(_COMPARED.get(word.lower(), word) for word in text.split())


def _looks_in(look: str) -> list[str]:
    """The single looks of "big and dark blue": "big", "dark blue"; of a phrase the whole."""
    if _PLACE.match(look):
        return [look]
    parts = [part for part in re.split(r"\s*,\s*|\s+(?:and|und|y)\s+", look) if part]
    found: list[str] = []
    for part in parts:
        size = re.match(rf"({SIZES}) (?=\S)", part, re.IGNORECASE)
        found += [size[1], part[size.end() :]] if size else [part]
    return found


def _locate(prompt: str, phrase: str) -> Revision:
    """A setting in the place of the old one of its kind, or after the rest."""
    if re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", mask_weights(prompt), re.IGNORECASE):
        return _unchanged(prompt, f'"{phrase}" is in the words already')
    kind = kind_of_setting(phrase)
    if kind and (old := _find_setting(prompt, kind)):
        words = prompt[: old[0]] + phrase + prompt[old[1] :]
        return Revision(words, "", True, f'"{phrase}" is in the place of "{prompt[slice(*old)]}" now')
    relation = _PLACE.match(phrase)
    if relation:  # "under the moon" where there is "under a yellow moon"
        noun = re.escape(phrase.split()[-1])
        same = rf"(?<!\w){re.escape(relation[0])}(?:[\w-]+ ){{0,4}}{noun}(?!\w)"
        if re.search(same, mask_weights(prompt), re.IGNORECASE):
            return _unchanged(prompt, f'"{phrase}" is in the words already')
    return _add_words(prompt, phrase)


def _find_setting(prompt: str, kind: str) -> tuple[int, int] | None:
    """Where a prompt says this kind of setting, with the brackets that it closes."""
    pattern = SETTINGS[kind].replace(" ", r"\s+")
    found = re.search(rf"(?<!\w)(?:{pattern})(?!\w)", mask_weights(prompt), re.IGNORECASE)
    return whole_brackets(prompt, *found.span()) if found else None


def _add(prompt: str, phrase: str) -> Revision:
    """One more thing, unless it is there; "a red boat" where there is a boat describes it."""
    with_ = re.match(r"(?:with|mit|con) ", phrase, re.IGNORECASE)
    thing = phrase[with_.end() :] if with_ else phrase
    if kind_of_setting(phrase):
        return _locate(prompt, phrase)
    if re.search(rf"(?<!\w){re.escape(thing)}(?!\w)", mask_weights(prompt), re.IGNORECASE):
        return _unchanged(prompt, f'"{thing}" is in the words already')
    return _add_words(prompt, phrase if with_ else f"{_word_for_and(thing)} {thing}")


def _replace(prompt: str, change: Replace) -> Revision:
    """One thing for another; a setting or a look for the old one."""
    old = _bare(change.old)
    if kind_of_setting(change.new):
        return _locate(prompt, change.new)
    phrase = (
        first_noun_phrase(prompt)
        if re.fullmatch(PRONOUN, change.old, re.IGNORECASE)
        else find_noun_phrase(prompt, old)
    )
    if phrase is None:
        return _unchanged(prompt, f'there is no "{old}" in the words')
    if all(LOOK.fullmatch(one) for one in _looks_in(change.new)) and not LOOK.fullmatch(old):
        return _describe(prompt, Describe(f"{change.old} {change.new}")) or _unchanged(prompt, "")
    return _put_in_place(prompt, phrase, change.new, keep_looks=" " not in old)


def _put_in_place(prompt: str, phrase: NounPhrase, new: str, *, keep_looks: bool = True) -> Revision:
    """A thing for the phrase. The old looks stay where the new thing has none of its own."""
    article = re.match(rf"{ARTICLE} ", new, re.IGNORECASE)
    plain = new[article.end() :] if article else new
    old = prompt[phrase.noun : phrase.end]
    has_looks = " " in plain or not keep_looks
    start = phrase.start if has_looks or len(phrase.words) <= 1 else phrase.noun
    begins = prompt[phrase.start : phrase.noun]
    if start == phrase.noun or not begins:
        new = plain if begins or not article else new
    elif re.match(r"the |a |an ", begins, re.IGNORECASE) and article is None:
        new = re.match(r"\S+ ", begins)[0] + plain  # type: ignore[index]
    words = prompt[:start] + new + prompt[phrase.end :]
    return _changed(
        prompt, words, f'"{new}" is in the place of "{old}" now', f'"{new}" is in the words already'
    )


def _remove(prompt: str, things: str) -> Revision:
    """Things out of the prompt; to be kept out of the picture where the words do not name them."""
    words, negative, notes = prompt, [], []
    for thing in re.split(r"\s*,\s*|\s+(?:and|or|und|oder|y|o|no|nor)\s+", things):
        noun = _bare(_PLACE.sub("", thing, count=1) if _PLACE.match(thing) else thing).strip()
        if not noun:
            continue
        removed, gone = _remove_all(words, noun)
        if gone and not re.search(r"\w", mask_weights(removed)):
            notes.append(f"without {noun} nothing would be left to draw")
        elif gone:
            words = removed
            notes.append(f'"{noun}" is gone from the words')
        else:
            negative.append(noun)
            notes.append(f'"{noun}" is kept out of the picture')
    if not notes:
        return _unchanged(prompt, "nothing was named that could go")
    return Revision(words, join_negatives(*negative), words != prompt or bool(negative), ", ".join(notes))


def _remove_all(prompt: str, noun: str) -> tuple[str, bool]:
    """The prompt without every phrase of this noun, and whether there was one."""
    words, gone = prompt, False
    while (phrase := find_noun_phrase(words, noun)) and phrase.is_head:
        words, gone = remove_phrase(words, phrase), True
    return words, gone


def _weigh(prompt: str, thing: str, step: float, more: str = "") -> Revision:
    """More or less of a thing, by its weight; what is not there comes, or is kept out."""
    noun = re.sub(rf"^(?:{ARTICLE}|of the) ", "", thing, flags=re.IGNORECASE)
    phrase = find_noun_phrase(prompt, noun)
    if phrase is None:
        return _remove(prompt, noun) if step < 0 else _add_words(prompt, f", {more} {noun}")
    before, word, after = prompt[: phrase.noun], prompt[phrase.noun : phrase.end], prompt[phrase.end :]
    number = re.match(r":\s*(\d+\.?\d*)\s*\)", after) if before.endswith("(") else None
    weight = round((float(number[1]) if number else 1.0) + step, 2)
    if not _LEAST <= weight <= _MOST:
        return _unchanged(prompt, f"{noun} cannot be made {'stronger' if step > 0 else 'weaker'} than it is")
    if number:
        words = f"{before}{word}:{weight:g}{after[number.end() - 1 :]}"
    else:
        words = f"{before}({word}:{weight:g}){after}"
    return Revision(words, "", True, f"{noun} counts {'more' if step > 0 else 'less'} now")


def _add_words(prompt: str, words: str) -> Revision:
    plain = re.sub(r"^(?:, |and |und |y )", "", words)
    if words != plain and plain.lower() in re.split(r"\s*,\s*", mask_weights(prompt).lower()):
        return _unchanged(prompt, f'"{plain}" is in the words already')
    return Revision(_append(prompt, words), "", True, f'"{plain}" is in the words now')


def _append(prompt: str, phrase: str) -> str:
    """`phrase` after what the prompt shows: its first part where that is a thing, else after all.

    What follows the first comma is mostly about the style.
    """
    masked = mask_weights(prompt)
    comma = masked.find(",")
    text = prompt.rstrip()
    stop = re.search(r"[.!?,;\s]*$", text)
    end = stop.start() if stop else len(text)
    if (
        0 < comma < end
        and _is_open(prompt[:comma]) is False
        and re.match(rf"\s*{ARTICLE}\s", masked, re.IGNORECASE)
    ):
        end = len(prompt[:comma].rstrip())
    elif 0 <= comma < end and not phrase.startswith(","):
        phrase = ", " + re.sub("^(?:and|und|y) ", "", phrase)
    if not prompt[:end].strip():
        return phrase.lstrip(", ") + prompt
    return f"{prompt[:end]}{'' if phrase.startswith(',') else ' '}{phrase}{prompt[end:]}"


def _is_open(text: str) -> bool:
    """Whether a bracket is open at the end of it."""
    plain = re.sub(r"\\.", "", text)
    return plain.count("(") > plain.count(")") or plain.count("[") > plain.count("]")


def _word_for_and(thing: str) -> str:
    if re.match(r"ein(?:e[nm]?)? ", thing, re.IGNORECASE):
        return "und"
    return "y" if re.match(r"un[ao]?s? ", thing, re.IGNORECASE) else "and"


def _changed(prompt: str, words: str, note: str, same: str) -> Revision:
    return Revision(words, "", True, note) if words != prompt else _unchanged(prompt, same)


def _unchanged(prompt: str, note: str) -> Revision:
    return Revision(prompt, "", False, note)
