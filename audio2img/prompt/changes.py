"""What somebody says about a picture, read as changes: "make the house blue, and at night".

The patterns are those that people use in English, and the commonest in German and Spanish. A pattern's
groups are the fields of the change that it stands for; nothing here knows the prompt that is changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

MOST_LETTERS = 1000  # of one order; nobody says more in a breath


@dataclass(frozen=True)
class Describe:
    """A thing and how it is: "the house blue", "it bigger", "blue house"; in a bare text neither is sure."""

    text: str
    bare: bool = False


@dataclass(frozen=True)
class Locate:
    """When or where it all is: "at night", "on a hill"."""

    phrase: str


@dataclass(frozen=True)
class Remove:
    """What is to go, or to stay out: "the dog"."""

    thing: str


@dataclass(frozen=True)
class Add:
    """What comes to the rest: "a red boat"."""

    phrase: str


@dataclass(frozen=True)
class Replace:
    """What goes, and what comes in its place."""

    old: str
    new: str


@dataclass(frozen=True)
class Strengthen:
    """What there is to be more of, and the word for more."""

    thing: str
    more: str = "more"


@dataclass(frozen=True)
class Weaken:
    """What there is to be less of."""

    thing: str


@dataclass(frozen=True)
class Revision:
    """What became of a prompt.

    prompt: its new words; negative: what is to be kept out beside, "" for nothing new.
    changed: whether either says something new. note: a plain sentence for the person, what was understood
    or why nothing changed.
    """

    prompt: str
    negative: str
    changed: bool
    note: str


Change = Describe | Locate | Remove | Add | Replace | Strengthen | Weaken

ARTICLE = (
    r"(?:an?|the|some|this|that|my|one|two|three|ein(?:e[nmrs]?)?|de[rnms]|die|das|una?|unos|unas|"
    r"el|la|los|las)"
)
PRONOUN = (
    r"(?:it|him|her|he|she|they|this|that|them|everything|(?:the|this) (?:picture|image|scene|thing)|"
    r"es|das (?:bild|ganze)|alles|lo|todo|la (?:imagen|escena))"
)
PREPOSITION = (
    r"(?:next to|in front of|from|(?:to the )?(?:left|right) of|on top of|above|below|under|over|on|"
    r"in|at|by|near|beside|"
    r"behind|inside|between|with|wearing|holding|like|as|made of|full of|neben|unter|über|auf|im|am|"
    r"vor|hinter|"
    r"bei|an de[rmn]|mit|aus|wie|sobre|en|bajo|junto a|al lado de|encima de|debajo de|con|como|hecho de)"
)

# Of one kind there is one in a picture: a new one takes the old one's place.
SETTINGS = {
    "time": (
        r"(?:at|by|during|in)(?: the)? (?:night(?:time)?|day(?:time|light)?|(?:early |"
        r"late )?(?:morning|afternoon|"
        r"evening)|noon|midday|midnight|sunset|sunrise|dawn|dusk|twilight|golden hour|blue hour|moonlight)|"
        r"(?:bei|in der|am|im|um) (?:nacht|tage?|morgen|abend|mittag|mitternacht|sonnenuntergang|"
        r"sonnenaufgang|"
        r"morgengrauen|abenddämmerung|dämmerung|mondschein|mondlicht)|nachts|tagsüber|"
        r"(?:de|por la|al|a|a la) (?:noche|día|mañana|tarde|atardecer|amanecer|anochecer|mediodía|"
        r"medianoche|puesta del? sol)"
    ),
    "weather": (
        r"(?:in|during|under)(?: the| an?)? (?:snow(?:storm)?|rain|fog|mist|(?:thunder)?storm|wind|"
        r"sunshine|blizzard)|"
        r"(?:im|bei) (?:schnee|regen|nebel|sturm|gewitter|sonnenschein)|"
        r"(?:en|bajo|con) (?:la |el )?(?:nieve|lluvia|niebla|tormenta|sol)"
    ),
    "season": (
        r"(?:in|during)(?: the)? (?:winter|summer|autumn|fall|spring)|"
        r"im (?:winter|sommer|herbst|frühling)|en (?:invierno|verano|otoño|primavera)"
    ),
    "place": (
        r"(?:in|on|at|by|near|beside|under|along)(?: the| an?)? (?:beach|forest|woods|sea(?:side|"
        r"shore)?|ocean|desert|"
        r"mountains|city|jungle|lake|river|field|meadow|garden|park|countryside|village|street|water)|"
        r"in space|underwater|"
        r"(?:im|am|auf dem|auf der|in der|in den|unter) (?:strand|wald|meer|see|wüste|bergen|stadt|"
        r"garten|park|wiese|wasser)|"
        r"(?:en|junto a|bajo) (?:la |el |las |los |al )?(?:playa|bosque|mar|desierto|montañas?|"
        r"ciudad|jardín|parque|agua)|"
        r"junto al mar"
    ),
}  # fmt: skip
ANY_SETTING = "|".join(SETTINGS.values())

_ADD = r"and|add|include|plus|put in|also|und|dazu|y|e|añade|agrega"
_TIMES = {
    "night": "at night", "day": "by day", "morning": "in the morning", "evening": "in the evening",
    "sunset": "at sunset", "sunrise": "at sunrise", "dawn": "at dawn",
    "winter": "in winter", "summer": "in summer",
    "autumn": "in autumn", "spring": "in spring", "rain": "in the rain", "raining": "in the rain",
    "snowing": "in the snow",
    "snow": "in the snow",
    "nacht": "bei Nacht", "tag": "bei Tag", "abend": "am Abend", "morgen": "am Morgen",
    "de noche": "de noche", "de día": "de día",
}  # fmt: skip
_SOME = rf"{ARTICLE}\b.+"
_PATTERNS: tuple[tuple[str, Callable[..., Change]], ...] = (
    # English
    (
        r"(?:(?:(?:make|let) it(?: be)?|it (?:should|must|is to) be|mach es|es soll|haz que sea|que sea) )"
        rf"(?P<time>{'|'.join(_TIMES)})(?: (?:sein|werden))?",
        lambda time: Locate(_TIMES[time.lower()]),
    ),
    (r"(?:replace|swap|substitute|exchange) (?P<old>.+?) (?:with|for|by) (?P<new>.+)", Replace),
    (r"(?:change|turn|transform) (?:the colou?r of )?(?P<old>.+?) (?:in)?to (?P<new>.+)", Replace),
    (r"make (?P<old>.+?) into (?P<new>.+)", Replace),
    (rf"instead of (?P<old>.+?),? (?P<new>{_SOME})", Replace),
    (r"(?:make it |draw )?(?P<new>.+?) (?:instead of|rather than|in place of) (?P<old>.+)", Replace),
    (r"take (?P<thing>.+) (?:away|out|off)", Remove),
    (
        r"(?:(?:there )?(?:should|must) be )?(?:without|no more|no|not|remove|delete|erase|drop|get rid of|"
        r"leave out|take (?:away|out)|i (?:don'?t|do not) want) (?:any )?(?P<thing>.+?)"
        r"(?: from (?:it|the picture))?",
        Remove,
    ),
    (r"(?:add )?more (?P<thing>.+)", Strengthen),
    (r"(?:less|fewer) (?P<thing>.+)", Weaken),
    (rf"give (?P<text>(?:{PRONOUN}|the [\w-]+) .+)", lambda text: Describe(_with(text))),
    (rf"(?:put|place|move|show|set) {PRONOUN} (?P<phrase>{PREPOSITION}\b.+)", Locate),
    (rf"(?P<text>(?:{PRONOUN}|the .+?) "
     r"(?:should|must|shall|has to|is|are|becomes?)(?: now)?(?: to)?(?: be)? .+)",
     lambda text: Describe(_without_verb(text))),
    (r"there (?:should be|must be|is|are) (?:also )?(?P<phrase>.+)", Add),
    (r"(?:put|place) (?P<phrase>(?:an?|some|two|three) .+)", Add),
    (r"(?:draw|show)(?: me)? (?P<text>the .+)", Describe),
    (r"(?:make|paint|colou?r|turn|let|put|place|move) (?P<text>.+?)(?: be)?", Describe),
    # German
    (r"ersetz(?:e|en)? (?P<old>.+) (?:durch|mit) (?P<new>.+)", Replace),
    (rf"(?:an)?statt (?P<old>.+?),? (?P<new>{_SOME})", Replace),
    (r"(?P<new>.+?) (?:an)?statt (?P<old>.+)", Replace),
    (r"nimm (?P<thing>.+) (?:weg|heraus|raus)", Remove),
    (r"(?:ohne|kein(?:e[nrms]?)?|entfern(?:e|en)?|lösche?) (?P<thing>.+)", Remove),
    (r"(?P<more>mehr) (?P<thing>.+)", Strengthen),
    (r"weniger (?P<thing>.+)", Weaken),
    (r"füge? (?P<phrase>.+) hinzu", Add),
    (r"(?:mach|mache|färbe?|male?) (?P<text>.+)", Describe),
    (rf"(?P<text>(?:{PRONOUN}|(?:der|die|das) \S+) soll .+? sein)",
     lambda text: Describe(_without_verb(text))),
    # Spanish
    (r"(?:cambia|reemplaza|sustituye) (?P<old>.+) (?:por|con) (?P<new>.+)", Replace),
    (rf"en (?:vez|lugar) del? (?P<old>.+?),? (?P<new>{_SOME})", Replace),
    (r"(?P<new>.+?) en (?:vez|lugar) del? (?P<old>.+)", Replace),
    (r"(?:sin|quita|elimina|borra) (?P<thing>.+)", Remove),
    (r"(?P<more>más) (?P<thing>(?!grande|pequeñ).+)", Strengthen),
    (r"menos (?P<thing>.+)", Weaken),
    (r"(?:haz|pon|pinta) (?P<text>.+)", Describe),
    # All of them
    (rf"(?:(?:{_ADD}) )*(?P<phrase>{ANY_SETTING})", Locate),
    (rf"(?:(?:{_ADD}) )?(?P<phrase>(?:with|mit|con) .+)", Add),
    (rf"(?:{_ADD}) (?P<phrase>.+?)(?: to (?:it|the picture)| too| as well)?", Add),
    (r"(?P<phrase>.+?) (?:too|as well|dazu|también)", Add),
    (rf"(?P<phrase>{PREPOSITION} .+)", Locate),
    (r"(?P<text>.+)", lambda text: Describe(text, bare=True)),
)  # fmt: skip
_COMPILED = tuple((re.compile(pattern, re.IGNORECASE), build) for pattern, build in _PATTERNS)

_POLITE = (
    r"can we have|could we have|please|now|okay|ok|um+|uh+|so|well|but|then|just|can you|could you|"
    r"would you|i want you to|i want|"
    r"i(?:'d| would) like|bitte|jetzt|aber|kannst du|por favor|ahora|pero|puedes"
)
_AFTER = re.compile(r"[\s,]+(?:please|thanks|thank you|now|bitte|jetzt|por favor)$", re.IGNORECASE)
_ORDER = (
    r"(?:make|paint|put|place|move|add|remove|delete|erase|take|replace|swap|change|turn|give|"
    r"without|no|more|less|"
    r"fewer|mach|mache|färbe|ohne|kein|keine|keinen|entferne|ersetze|füge|mehr|weniger|sin|quita|"
    r"elimina|cambia|haz|"
    r"pon|pinta|añade|agrega|más|menos)"
)
_BEFORE = re.compile(rf"(?:(?:{_POLITE})\b[\s,]*)*(?:(?:and|und|y) (?={_ORDER} ))?(?=\S)", re.IGNORECASE)
_BETWEEN = re.compile(
    rf"\s*[.;!?]+\s+|\s*,\s*(?=(?:(?:and|but|und|aber|y|pero|then) )?(?:{_ORDER}\b|(?:{_ADD}|with|"
    rf"mit|con) {ARTICLE}\b|"
    rf"(?:{ANY_SETTING})\b))|\s+(?:and|but|then|und|aber|y|pero)(?: then)?\s+(?={_ORDER} )|"
    rf"\s+(?:but|aber|pero)\s+(?=(?:with|mit|con) )|"
    rf"(?<!\bnot)(?<!\bno)(?<!\bwithout)(?:\s*,)?\s+(?:(?:and|but|und|y)\s+)?(?=(?:{ANY_SETTING})$)",
    re.IGNORECASE,
)
# What is left of "it should be at night" when the night is read.
_EMPTY = re.compile(
    rf"(?:(?:{_ADD}|no|yes|nein|ja|sí)|(?:(?:put|place|move|make|show|let|set|mach|mache|pon|haz) )?{PRONOUN}"
    r"(?: (?:should|must|shall|is|has to|soll|debe|be|to be|should be|must be|all))*|que sea)",
    re.IGNORECASE,
)


def read_changes(said: str) -> tuple[Change, ...]:
    """The changes that `said` asks for, in its order; none where there are no words.

    A text that matches no pattern is a bare `Describe`: whether it means anything, the prompt decides.
    """
    text = " ".join(said[:MOST_LETTERS].replace("’", "'").split()).strip(" .,;:!?…")
    parts = [_strip_courtesy(part) for part in _BETWEEN.split(text) if part]
    return tuple(_read_change(part) for part in parts if part and not _EMPTY.fullmatch(part))


def kind_of_setting(phrase: str) -> str:
    """The kind of a setting ("time", "weather", "season", "place"), "" for one that nobody listed."""
    found = (kind for kind, pattern in SETTINGS.items() if re.fullmatch(pattern, phrase, re.IGNORECASE))
    return next(found, "")


def _strip_courtesy(part: str) -> str:
    part = _AFTER.sub("", part.strip(" .,;:!?…"))
    begun = _BEFORE.match(part)
    return part[begun.end() :] if begun else part


def _read_change(part: str) -> Change:
    for pattern, build in _COMPILED:
        if match := pattern.fullmatch(part):
            return build(**{name: text for name, text in match.groupdict().items() if text is not None})
    return Describe(part, bare=True)


def _with(text: str) -> str:
    """ "the cat a hat" as "the cat with a hat"."""
    return re.sub(rf"^({PRONOUN}|the [\w-]+) ", r"\1 with ", text, count=1, flags=re.IGNORECASE)


def _without_verb(text: str) -> str:
    """ "the house should be blue" as "the house blue"."""
    verb = r" (?:should|must|shall|has to|is|are|becomes?|soll)(?: now)?(?: to)?(?: be)? "
    return re.sub(" sein$", "", re.sub(verb, " ", text, count=1, flags=re.IGNORECASE))
