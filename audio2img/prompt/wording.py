"""Clean-up: of what a person said or typed, only the scene stays.

Brackets stay: they give words their weights, or are meant. What a recognizer writes in brackets beside
the words has gone when a transcript comes here.
"""

from __future__ import annotations

import re
import unicodedata

_DETERMINER = (
    r"(?:an?|the|some|any|one|two|three|four|five|six|seven|eight|nine|ten|many|several|lots|my|your|his|her|"
    r"our|their|its|this|that|these|those|another|me|us|\d+)"
)

# Punctuation that was spoken, as far as it cannot be meant: "a question mark" is a thing.
_MEANT = r"(?<!\ba\s)(?<!\ban\s)(?<!\bthe\s)(?<!\bone\s)"
_DICTATED = (
    (re.compile(rf"{_MEANT}\bfull stop\b[.,]*", re.IGNORECASE), "."),
    (re.compile(rf"{_MEANT}\b(?:question mark|exclamation (?:mark|point))\b[.,?!]*\s*$", re.IGNORECASE), ""),
    (re.compile(rf"{_MEANT}\bnew (?:line|paragraph)\b[.,]*", re.IGNORECASE), ","),
    (re.compile(rf"{_MEANT}\bcomma\b(?=,?\s+(?:and|{_DETERMINER})\b)", re.IGNORECASE), ","),
)
_FILLER = re.compile(
    r"(?:,\s*)?(?<![\w'’-])(?:u+[hm]+|uhm+|erm+|hm+|mhm+|mm+)(?![\w'’-])(?:\.{2,}|…)?,?", re.IGNORECASE
)
# Words that nobody says twice on purpose: "a a red house", "on on the hill".
_STUTTER = re.compile(
    r"\b(an?|the|of|in|on|at|to|and|with|under|over|by|for|is|i|it)(?:[\s,]+\1\b)+(?!['’-])", re.IGNORECASE
)
# What a filler leaves behind: points after a point, and the space before one.
_ORPHANED_POINTS = re.compile(r"(?<=[,;:])(?:\s*[,;:])+(?=\s|$)|(?<=[.!?…])(?:\s+[.,;:!?]+|[,;:]+)(?=\s|$)")
_SPACE_BEFORE_POINT = re.compile(r"\s+([,.;:!?…])")
_EDGE_POINTS = " \t.,;:!?…-–—"

# Lead-ins: what is said to the machine, and not about the picture.

_POLITE = r"(?:please|kindly|just|maybe|quickly|now|then|also)"
_GREETING = r"(?:(?:hello|hi|hey|okay|ok|alright|well|so|now|and|computer|there)\b[\s,.!]*){1,3}"
# Always orders; the compounds that begin with them are not.
_VERB = (
    r"(?:(?:re)?draw(?!\s+(?:bridge|string)s?\b)|create|generate|imagine|visuali[sz]e|depict|illustrate|"
    r"produce|make(?!\s+(?:up|believe|over)\b)(?:\s+it(?=\s+an?\b))?|"
    r"show(?=\s+(?:me|us|a|an|the|some)\b)|give(?=\s+(?:me|us)\b))"
)
# Things, too ("paint bucket"), and orders only before an article or the like, or after "please".
_NOUN_VERB = r"(?:paint|sketch|render|design|picture|photograph|model|let\s+me\s+see)"
_ORDER = (
    rf"(?:{_VERB}|{_NOUN_VERB}(?=\s+(?:{_POLITE}\s+)*{_DETERMINER}\b)|(?<=please\s){_NOUN_VERB})(?![\w'’-])"
)
_FOR_WHOM = rf"(?:\s+(?:me|us)\b)?(?:[\s,]+{_POLITE}\b,?)*"
_PICTURE = r"(?:(?:an?|the|another|one|some|this)\s+)?(?:picture|image|pic)s?\s+(?:of|showing|with|where)\b"
_WISH = (
    r"(?:i|we)(?:\s+(?:want|wanna|need)|(?:\s+would|['’]d)\s+(?:really\s+)?(?:like|love))"
    rf"(?:\s+to\s+(?:see|have|get)\b|\s+you\s+to\s+{_ORDER}{_FOR_WHOM}|(?=\s+{_DETERMINER}\b))"
)
_QUESTION = rf"(?:can|could|would|will)\s+you\s+(?:{_POLITE}\s+)*{_ORDER}{_FOR_WHOM}"
_COMMAND = rf"(?:let['’]?s\s+|let\s+us\s+)?{_ORDER}{_FOR_WHOM}"
_LEAD_IN = re.compile(
    rf"^(?:{_GREETING})?(?:{_POLITE}\b[\s,]*)*"
    rf"(?:(?:{_WISH}|{_QUESTION}|{_COMMAND})(?:\s+{_PICTURE})?|{_PICTURE}|(?<=please)|(?<=please[\s,]))"
    r"(?=[\s,:;.!?]|$|(?<=\s))[\s,:;.!?]*",
    re.IGNORECASE,
)
_LEAD_OUT = re.compile(
    r"[\s,]*\b(?:for me|please|thank you|thanks)(?:[\s,]+(?:please|thank you|thanks))*[\s.!?]*$",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=\S)")
_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode's controls, formats, surrogates, line ends


def clean_transcript(text: str) -> str:
    """`text` without what is not part of the scene; empty where nothing is.

    Fillers, stutters, dictated punctuation, lead-ins ("could you draw me a picture of") and thanks
    go. A text of one word is a scene, whatever the word.

    >>> clean_transcript("Um, can you please draw me a picture of a a (red:1.4) house, thank you.")
    'a (red:1.4) house'
    """
    text = unicodedata.normalize("NFC", text)
    text = "".join(" " if unicodedata.category(letter) in _INVISIBLE else letter for letter in text)
    text = _FILLER.sub(" ", text)
    for pattern, point in _DICTATED:
        text = pattern.sub(point, text)
    text = _STUTTER.sub(r"\1", " ".join(text.split()))
    text = _SPACE_BEFORE_POINT.sub(r"\1", _ORPHANED_POINTS.sub("", text)).strip(_EDGE_POINTS)
    if len(text.split()) == 1:
        return _LEAD_OUT.sub("", text)
    sentences = (_strip_lead_in(sentence) for sentence in _SENTENCE.split(text))
    return " ".join(sentence for sentence in sentences if has_words(sentence)).strip(_EDGE_POINTS)


def _strip_lead_in(sentence: str) -> str:
    """One sentence without what is said to the machine, before and after the scene."""
    without = _LEAD_OUT.sub("", sentence)
    return _LEAD_IN.sub("", without)


def has_words(text: str) -> bool:
    """Whether a letter or a digit is in it."""
    return any(letter.isalnum() for letter in text)
