"""Where a prompt speaks of a thing: the noun, the words before it that belong to it, and how they change.

No grammar of a language is known here, only its small words: what stands before a noun belongs to it as far
back as its article, or to the next comma, preposition or verb form. Brackets of weights may stand between,
and stay.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from audio2img.prompt.changes import ANY_SETTING, ARTICLE, PREPOSITION

COLOURS = (
    r"(?:red|orange|blonde?|yellow|green|blue|purple|pink|brown|black|white|gr[ae]y|gold(?:en)?|silver|turquoise|cyan|violet|"
    r"beige|magenta|teal|"
    r"(?:rot|blau|grün|gelb|schwarz|weiß|weiss|braun|grau|violett|golden|silbern)(?:e[nmrs]?)?|rosa|lila|"
    r"(?:roj|amarill|negr|blanc|morad|dorad)[oa]s?|azul(?:es)?|verdes?|gris(?:es)?|marrón|marrones|naranja)"
)
SIZES = (
    r"(?:small|big|large|tiny|huge|little|giant|enormous|tall|"
    r"(?:groß|gross|klein|riesig|winzig)(?:e[nmrs]?)?|grandes?|pequeñ[oa]s?|enormes?)"
)
SHADES = r"(?:dark|light|bright|deep|pale)"
AGES = r"(?:old|young|new|ancient|modern)"
LOOK = re.compile(rf"(?:{SHADES} )?{COLOURS}|{SIZES}|{AGES}", re.IGNORECASE)
_ARTICLE = re.compile(rf"{ARTICLE}|four|five|many|several|my|your|his|her|its|our|their|\d+", re.IGNORECASE)
_FOR_ONE = re.compile("an?|one", re.IGNORECASE)
_FOREIGN = re.compile(r"ein(?:e[nmrs]?)?|de[rnms]|die|das|una?|unos|unas|el|la|los|las", re.IGNORECASE)
_SPANISH = re.compile(r"una?|unos|unas|el|la|los|las", re.IGNORECASE)
_SMALL_WORD = re.compile(
    rf"{PREPOSITION}|of|from|to|into|through|around|along|across|against|toward|towards|without|and|or|but|plus|while|"
    r"where|who|that|which|is|are|was|were|has|have|und|oder|von|zu|durch|ohne|ist|sind|y|e|o|de|del|por|sin|es|son|"
    r"asleep|alone|alive|awake|made|seen|up|down|there|here|far|close|very",
    re.IGNORECASE,
)
_JOINT = re.compile(
    rf"(?:,?\s*\b(?:and|or|plus|und|oder|y|o)|,|\b(?:{PREPOSITION}|of|around|from|von|de))\s*$", re.IGNORECASE
)
_LIST_JOINT = re.compile(r"(?:,?\s*\b(?:and|or|plus|und|oder|y|o)|,)\s*$", re.IGNORECASE)
_QUANTITY = re.compile(
    r"(?:lots|a lot|plenty|a few|a couple|a group|a flock|a herd|a bunch|a pile) of\s+$", re.IGNORECASE
)
_MOST_WORDS_BEFORE = 5  # a noun
_MOST_LETTERS_BEFORE = 120
_WEIGHTS = re.compile(r"\\[()\[\]\\]|:\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*(?=\))|[()\[\]]")
_NEXT_WORD = re.compile(r"\s+([^\W_]+)")
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


@dataclass(frozen=True)
class NounPhrase:
    """A thing in a text, by the places of its letters.

    start: of the whole phrase; noun, end: of the noun. words: the (start, end) of those before it, from the
    first to the last, its article among them. is_head: not the first half of another ("dog" in "dog house").
    """

    start: int
    noun: int
    end: int
    words: tuple[tuple[int, int], ...]
    is_head: bool


def mask_weights(text: str) -> str:
    """`text`, letter for letter, with blanks for its brackets and their numbers."""
    return _WEIGHTS.sub(lambda match: " " * len(match[0]), text)


def find_noun_phrase(text: str, noun: str) -> NounPhrase | None:
    """The first phrase of `text` with `noun`, in singular or plural; one that it heads before any other."""
    words = noun.split()
    if not words:
        return None
    last = words[-1]
    forms = {last, f"{last}s", f"{last}es", last.removesuffix("s"), last.removesuffix("es")} - {""}
    start = "".join(re.escape(word) + r"\s+" for word in words[:-1])
    ending = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
    pattern = rf"(?<![\w'’-]){start}({ending})(?![\w'’-])"
    masked = mask_weights(text)
    first = None
    for match in re.finditer(pattern, masked, re.IGNORECASE):
        found = _phrase_at(text, masked, *match.span(1))
        if found.is_head:
            return found
        first = first or found
    return first


def first_noun_phrase(text: str) -> NounPhrase | None:
    """The phrase that a text begins with, "a red house" of "a red house by the sea"; None for no words."""
    masked = mask_weights(text)
    spanish = False
    last = None
    for word in _WORD.finditer(masked):
        is_article = bool(_ARTICLE.fullmatch(word[0]))
        if last is None:
            spanish = spanish or bool(_SPANISH.fullmatch(word[0]))
            last = None if is_article or _SMALL_WORD.fullmatch(word[0]) else word
            continue
        gap = masked[last.end() : word.start()].strip()
        if gap or is_article or spanish or _SMALL_WORD.fullmatch(word[0]) or word[0].endswith("ing"):
            break
        last = word
    return _phrase_at(text, masked, *last.span()) if last else None


def remove_phrase(text: str, phrase: NounPhrase) -> str:
    """`text` without a phrase, its brackets, and the word that joins it to the rest."""
    start, end = _with_brackets(text, phrase.start, phrase.end)
    start = min(
        (word for word, _ in phrase.words if word < start and _balanced(text[word:end])), default=start
    )
    before, after = text[:start], text[end:]
    following = re.match(r"\s*(?:,\s*)?(?:and|or|und|oder|y)\s+", after)
    begin = max(0, len(before) - _MOST_LETTERS_BEFORE)
    listed = _LIST_JOINT.search(before, begin)
    if following and not listed:  # "with a dog and a cat"
        after = after[following.end() :]
    elif joint := listed or _JOINT.search(before, begin):
        before = before[: joint.start()].rstrip()
        before = before.rstrip(",") if re.match(r"\s*(?:,|$)", after) else before
    if not re.search(r"\w", before):
        after = after.lstrip(" ,")
        relation = re.match(rf"{PREPOSITION}\s+", after, re.IGNORECASE)
        if relation and not re.match(
            rf"(?:{ANY_SETTING})(?!\w)", after, re.IGNORECASE
        ):  # the rest of "a dog on a sofa"
            after = after[relation.end() :]
    return _join(before, after)


def describe_phrase(text: str, phrase: NounPhrase, look: str) -> str:
    """`text` with `look` for the phrase: a colour or size takes the place of the old one.

    What begins with a preposition ("on fire") follows the noun, and so does a Spanish look.
    """
    article = text[slice(*phrase.words[0])] if phrase.words else ""
    if re.match(rf"{PREPOSITION} ", look, re.IGNORECASE):
        return text if text[phrase.end :].lstrip().startswith(look) else _insert(text, phrase.end, look)
    if _SPANISH.fullmatch(article):
        following = re.match(rf"(\s+)((?:{COLOURS}|{SIZES})\b)", text[phrase.end :], re.IGNORECASE)
        same = following and _kind(following[2]) == _kind(look)
        end = phrase.end + (following.end() if following and same else 0)
        return f"{text[: phrase.end]} {look}{text[end:]}"
    old = [span for span in phrase.words if _kind(text[slice(*span)]) == _kind(look)] if _kind(look) else []
    if _FOREIGN.fullmatch(article):
        look = _inflect(look, article, text[slice(*old[-1])] if old else "", text[phrase.noun : phrase.end])
    if old:
        shade = old[-1]
        before = [span for span in phrase.words if span[1] <= shade[0]]
        begin = (
            before[-1][0]
            if before and re.fullmatch(SHADES, text[slice(*before[-1])], re.IGNORECASE)
            else shade[0]
        )
        begin = begin if not mask_weights(text[begin : shade[0]]).count("  ") else shade[0]
        new = text[:begin] + look + text[shade[1] :]
        return _agree(new, phrase, begin)
    first = next(
        (span[0] for span in phrase.words if not _ARTICLE.fullmatch(text[slice(*span)])), phrase.noun
    )
    place = first if _kind(look) == "size" else phrase.noun
    if any(text[slice(*span)].lower() == look.lower() for span in phrase.words):
        return text
    return _agree(text[:place] + look + " " + text[place:], phrase, place)


def _kind(word: str) -> str:
    if re.fullmatch(rf"(?:{SHADES} )?{COLOURS}", word, re.IGNORECASE):
        return "colour"
    if re.fullmatch(SIZES, word, re.IGNORECASE):
        return "size"
    return "age" if re.fullmatch(AGES, word, re.IGNORECASE) else ""


def _inflect(look: str, article: str, old: str, noun: str) -> str:
    """A German look with the ending of the one before it, or that which its article asks for."""
    ending = re.search(r"e[nmrs]?$", old)
    if ending:
        return look if look.endswith(ending[0]) else look + ending[0]
    endings = {"eine": "e", "einen": "en", "der": "e", "die": "e", "das": "e"}
    if article.lower() == "ein":
        return look + "es"
    return look + endings.get(article.lower(), "en")


def _agree(text: str, phrase: NounPhrase, place: int) -> str:
    """`text` with "a" or "an" as the word at `place` asks for, where that article stands right before it."""
    article = re.search(r"\b(an?)(\s+[(\[]*)$", text[:place], re.IGNORECASE)
    if not article or not phrase.words or article.start() != phrase.words[0][0]:
        return text
    right = article[1][0] + ("n" if text[place].lower() in "aeiou" else "")
    return text[: article.start()] + right + article[2] + text[place:]


def _phrase_at(text: str, masked: str, noun: int, end: int) -> NounPhrase:
    words = _words_before(masked, noun, bool(re.search("[^su]s$", text[noun:end])))
    starts = [span[0] for span in words if _balanced(text[span[0] : end])]
    start = min(starts, default=noun)
    quantity = _QUANTITY.search(text, max(0, start - _MOST_LETTERS_BEFORE), start)
    following = _NEXT_WORD.match(masked, end)
    foreign = bool(words) and bool(_FOREIGN.fullmatch(text[slice(*words[0])]))
    is_head = (
        not following or foreign or bool(_SMALL_WORD.fullmatch(following[1]))
        or bool(_ARTICLE.fullmatch(following[1])) or bool(re.search("(?:ing|ed|s)$", following[1]))
    )  # fmt: skip
    return NounPhrase(quantity.start() if quantity else start, noun, end, tuple(words), is_head)


def _words_before(masked: str, noun: int, plural: bool) -> list[tuple[int, int]]:
    """The words before a noun that belong to it, the first one first: to its article, or all that may."""
    words: list[tuple[int, int]] = []
    before = _last_words(masked, noun)
    for number, span in enumerate(before[:_MOST_WORDS_BEFORE]):
        word = masked[slice(*span)]
        if _ARTICLE.fullmatch(word):
            if not (plural and _FOR_ONE.fullmatch(word)):
                return [span, *words]
            break
        last = masked[slice(*before[number + 1])] if number + 1 < len(before) else ""
        if _SMALL_WORD.fullmatch(word) or _is_verb(word, last):
            return words
        words.insert(0, span)
    else:
        if len(before) <= _MOST_WORDS_BEFORE:
            return words
    # No article of its own: "a boy walks big dogs". Only what is surely a look belongs to it.
    looks: list[tuple[int, int]] = []
    for span in reversed(words):
        if not re.fullmatch(rf"{LOOK.pattern}|{SHADES}", masked[slice(*span)], re.IGNORECASE):
            break
        looks.insert(0, span)
    return looks


def _last_words(masked: str, end: int) -> list[tuple[int, int]]:
    """The last words before `end` with only blanks between, the nearest first: one more than may belong."""
    begin = max(0, end - _MOST_LETTERS_BEFORE)
    words: list[tuple[int, int]] = []
    for match in reversed([*_WORD.finditer(masked, begin, end)]):
        if masked[match.end() : end].strip() or len(words) > _MOST_WORDS_BEFORE:
            break
        words.append(match.span())
        end = match.start()
    return words


def _is_verb(word: str, last: str) -> bool:
    """Whether a word looks like one, "walks" or "walking"; after an article (`last`) none is."""
    return not _ARTICLE.fullmatch(last) and word.endswith(("ing", "s")) and not word.endswith(("ss", "us"))


def _with_brackets(text: str, start: int, end: int) -> tuple[int, int]:
    """The span with the brackets that hold nothing else: "(a dog:1.2)"."""
    while True:
        opening = re.search(r"(?<!\\)[(\[]\s*$", text[:start])
        closing = re.match(r"\s*(?::\s*[+-]?[\d.]+\s*)?[)\]]", text[end:])
        if not opening or not closing:
            return start, end
        start, end = opening.start(), end + closing.end()


def whole_brackets(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The span with the closing bracket that it lacks, "in the (snow:1.2)"; None where it cuts brackets."""
    closing = re.match(r"\s*(?::\s*[+-]?[\d.]+\s*)?[)\]]", text[end:])
    ends = [end, end + closing.end()] if closing else [end]
    return next(((start, stop) for stop in ends if _balanced(text[start:stop])), None)


def _balanced(text: str) -> bool:
    depth = 0
    for bracket in re.findall(r"\\.|[()\[\]]", text):
        depth += (bracket in "([") - (bracket in ")]")
        if depth < 0:
            return False
    return depth == 0


def _insert(text: str, place: int, words: str) -> str:
    return f"{text[:place]} {words}{text[place:]}"


def _join(before: str, after: str) -> str:
    """The two sides of what has gone, with one space or none between them."""
    before, after = before.rstrip(), after.lstrip()
    glue = "" if not before or not after or before[-1] in "([" or after[0] in ",.;:!?)]" else " "
    return before + glue + after
