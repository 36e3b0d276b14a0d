"""What a recognizer writes about a recording instead of what was said in it. A leaf like `types`.

Whisper has learned from subtitles, so it writes [BLANK_AUDIO], (music), ♪, *sighs*, and in
silence the sentences that end videos. The words around an annotation were said, and stay.
"""

from __future__ import annotations

import re

# Brackets are taken away from the inside out, so that "[ (wind) ]" goes in two passes. One that
# is never closed takes at most its own word along, never the rest of the sentence.
_SPECIAL_TOKEN = re.compile(r"<\|[^|<>]*\|>|\[_[A-Z]+_(?:\d+\])?\]?")
_BRACKETED = re.compile(r"\[[^\[\]]*\]|\{[^{}]*\}|【[^【】]*】|［[^［］]*］|\([^()]*\)|（[^（）]*）")
_BRACKETS = (("[", "]"), ("{", "}"), ("【", "】"), ("［", "］"), ("(", ")"), ("（", "）"))
_UNCLOSED = re.compile(r"\[[A-Z]+_[A-Z_]+|<\||\|>|[\[\]{}【】［］()（）]")
_STARRED = re.compile(r"(?<![\w*])\*+(?=\S)[^*\n]{1,60}(?<=\S)\*+(?!\w)")
_SUNG = re.compile(r"[♩♪♫♬♭♮♯🎵🎶🎼]+")
_SPEAKER = re.compile(r"(?:^|(?<=\s))>>+\s*(?:[A-Z][A-Z ]{1,30}:)?")

_SPACE = re.compile(r"\s+")
_SPACE_BEFORE_POINT = re.compile(r"\s+([,.;:!?…])")
# Points that an annotation leaves behind: at the start, a comma after a comma, a point after a gap.
_ORPHANED_POINTS = re.compile(
    r"^[\s,.;:!?…\-–—]+|(?<=[,;:])(?:\s*[,;:])+|(?<=[.!?…])(?:\s+[.,;:!?]+|[,;:]+)(?=\s|$)"
)

# What Whisper makes of silence, as `_bare` spells it. None of these describes a picture.
_SILENCE_PHRASES = """
you | bye | bye bye | thank you | thank you very much | thank you so much | thanks for watching
| thank you for watching | thank you for listening | thanks for listening
| thanks for watching everyone | thank you for watching and see you next time | see you next time
| see you in the next video | please subscribe | please subscribe to my channel
| please like and subscribe | like and subscribe | dont forget to subscribe
| dont forget to like and subscribe | subscribe | subtitles | to be continued | the end | so | okay
| ok | oh | hmm | uh | um | ah | mm | mm hmm | i | the
| vielen dank | vielen dank fürs zuschauen | untertitel im auftrag des zdf für funk 2017
| untertitel der amara org community | sous titres réalisés para la communauté damara org
| sous titrage société radio canada | merci | merci davoir regardé cette vidéo
| gracias | gracias por ver el video | subtítulos realizados por la comunidad de amara org
| grazie | sottotitoli creati dalla comunità amara org | obrigado
| legendas pela comunidade amara org | ご視聴ありがとうございました | 字幕由amara org社区提供
| продолжение следует | спасибо за просмотр | 시청해주셔서 감사합니다
"""
_HALLUCINATIONS = frozenset(phrase.strip() for phrase in _SILENCE_PHRASES.split("|"))
_CREDITS = re.compile(
    r"(subtitles?|subtitled|captions?|captioned|transcri\w+|translat\w+|untertitel\w*|sous titr\w+|"
    r"subtítulos|sottotitoli|legendas|napisy|субтитры)\b.*"
    r"\b(by|von|par|por|di|im auftrag|pela|amara|org|com)\b"
)


def strip_annotations(text: str) -> str:
    """`text` without annotations, wherever they stand, and without the gaps they leave.

    >>> strip_annotations("a red house [wind blowing], (music) ♪ under a yellow *sighs* moon")
    'a red house, under a yellow moon'
    """
    before = None
    while text != before:  # what goes can bring together what should go, too; every pass is shorter
        before = text
        text = _strip_once(text)
    return text


def _strip_once(text: str) -> str:
    for pair in _BRACKETS:
        text = _strip_pairs(text, *pair)
    for pattern in (_SPECIAL_TOKEN, _STARRED, _SUNG, _SPEAKER, _BRACKETED):
        text = pattern.sub(" ", text)
    # Brackets around brackets are left for the next pass; only then is one that is left unclosed.
    if not _BRACKETED.search(text):
        text = _UNCLOSED.sub(" ", text)
    text = _ORPHANED_POINTS.sub("", _SPACE.sub(" ", text))
    return _SPACE_BEFORE_POINT.sub(r"\1", text).strip()


def _strip_pairs(text: str, opening: str, closing: str) -> str:
    """`text` without what is in brackets of one kind, however deep, in one pass over it."""
    opened: list[int] = []  # where in `kept` each bracket that is open stands
    kept: list[str] = []
    for letter in text:
        if letter == closing and opened:
            del kept[opened.pop() :]
            kept.append(" ")
            continue
        if letter == opening:
            opened.append(len(kept))
        kept.append(letter)
    return "".join(kept)


def is_known_hallucination(text: str) -> bool:
    """Whether the whole of `text` is one of the things Whisper is known to write about silence."""
    bare = _bare(text)
    words = bare.split()
    if len(set(words)) == 1:  # "you you you"
        words = words[:1]
    return not words or " ".join(words) in _HALLUCINATIONS or bool(_CREDITS.match(bare))


def _bare(text: str) -> str:
    """Lower case, letters and digits only, one space between words; apostrophes join."""
    return " ".join(re.sub(r"[\W_]+", " ", re.sub(r"['’]", "", text.lower())).split())
