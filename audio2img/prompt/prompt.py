"""From what was said to what is drawn: clean-up, lead-ins, templates, styles, the model's window.

Pure text in, text out. How many words fit is the tokenizer's business; `fit_prompt` takes it as
a function.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from string import Formatter

from audio2img.config import read_toml
from audio2img.errors import NothingToDrawError, UsageError
from audio2img.recognition.annotations import strip_annotations
from audio2img.types import Prompt

STYLE_KEYS = ("description", "template", "negative")
PLACEHOLDER = "prompt"
BUILT_IN_STYLES = Path(__file__).parent / "styles"
BUILT_IN_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Style:
    """A named way to draw. template: holds {prompt}; negative: what to keep out of the picture."""

    name: str
    template: str
    negative: str = ""
    description: str = ""


def make_prompt(
    transcript_text: str,
    *,
    style: str | None = None,
    template: str | None = None,
    negative: str = "",
    scene: str = "",
    styles_dir: Path | None = None,
    templates_dir: Path | None = None,
) -> Prompt:
    """The prompt for what somebody said or typed.

    template: a template's name, or text with {prompt} in it, put around the words first; then the
    style's own. scene: what follows the words as it is (", rain on a roof").
    negative: what to keep out of the picture, before what the style keeps out.
    styles_dir, templates_dir: folders of the user's own, see `load_styles`.

    Raises NothingToDrawError when nothing is left to draw, UsageError for an unknown style or a
    template that is none.
    """
    text = clean_transcript(transcript_text)
    if not _has_words(text):
        heard = f"in {transcript_text.strip()!r}" if transcript_text.strip() else "in an empty text"
        raise NothingToDrawError(f"there is nothing to draw {heard}", 'say what to draw: "a red house"')
    text += scene
    around = [] if template is None else [find_template(template, templates_dir)]
    around += [] if style is None else [find_style(style, styles_dir)]
    for one in around:
        text = fill_template(one.template, text, f"the style {one.name!r}" if one.name else "the template")
    return Prompt(text, join_negatives(negative, *(one.negative for one in around)))


def fit_prompt(prompt: Prompt, fit: Callable[[str], tuple[str, str]]) -> Prompt:
    """The prompt as far as the model reads it.

    fit: splits a text into what fits into the text encoder's window and what does not, as the
    model's tokenizer counts it. What does not fit is kept in `dropped`, for the caller to say.
    """
    kept, dropped = fit(prompt.text)
    return replace(prompt, text=kept, dropped=" ".join(part for part in (prompt.dropped, dropped) if part))


def join_negatives(*lists: str) -> str:
    """Comma-separated lists as one, each item once, in the order of their first mention."""
    items = [item.strip() for text in lists for item in text.split(",")]
    first = {item.lower(): item for item in reversed(items) if item}
    return ", ".join(dict.fromkeys(first[item.lower()] for item in items if item))


# Clean-up

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

    Annotations, fillers, stutters, dictated punctuation, lead-ins ("could you draw me a picture
    of") and thanks go. A text of one word is a scene, whatever the word.

    >>> clean_transcript("Um, can you please draw me a picture of a a red house [music], thank you.")
    'a red house'
    """
    text = unicodedata.normalize("NFC", text)
    text = "".join(" " if unicodedata.category(letter) in _INVISIBLE else letter for letter in text)
    text = strip_annotations(text, typed=True)
    text = _FILLER.sub(" ", text)
    for pattern, point in _DICTATED:
        text = pattern.sub(point, text)
    text = _STUTTER.sub(r"\1", " ".join(text.split()))
    text = strip_annotations(text, typed=True).strip(_EDGE_POINTS)
    if len(text.split()) == 1:
        return _LEAD_OUT.sub("", text)
    sentences = (_strip_lead_in(sentence) for sentence in _SENTENCE.split(text))
    return " ".join(sentence for sentence in sentences if _has_words(sentence)).strip(_EDGE_POINTS)


def _strip_lead_in(sentence: str) -> str:
    """One sentence without what is said to the machine, before and after the scene."""
    without = _LEAD_OUT.sub("", sentence)
    return _LEAD_IN.sub("", without)


def _has_words(text: str) -> bool:
    return any(letter.isalnum() for letter in text)


# Templates and styles


def fill_template(template: str, text: str, owner: str) -> str:
    """`template` with {prompt} replaced by `text`. owner: whose template, for the message.

    Raises UsageError when {prompt} is missing, or another placeholder or a lone brace is there.
    """
    remedy = 'write it like "{prompt}, oil on canvas"'
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise UsageError(f"{owner} cannot be read: {error}", remedy) from None
    names = [name for _literal, name, _format, _conversion in parts if name is not None]
    for name in names:
        if name != PLACEHOLDER:
            raise UsageError(f"{owner} has an unknown placeholder {{{name}}}", remedy)
    if not names:
        raise UsageError(f"{owner} lacks the placeholder {{{PLACEHOLDER}}}: {template!r}", remedy)
    return "".join(literal + (text if name is not None else "") for literal, name, _f, _c in parts)


def find_style(name: str, styles_dir: Path | None = None) -> Style:
    """The style of that name, in any case. Raises UsageError with the choices when there is none."""
    return _find(name, load_styles(styles_dir), styles_dir, "style")


def load_styles(styles_dir: Path | None = None) -> Mapping[str, Style]:
    """The styles that come with the package and those in `styles_dir`, which win; by lower-case name.

    A style is a file NAME.toml with `template`, and optionally `negative` and `description`.
    Raises UsageError for one that cannot be read, naming the file and the key.
    """
    return _load(BUILT_IN_STYLES, styles_dir, "style")


def find_template(name_or_text: str, templates_dir: Path | None = None) -> Style:
    """The template of that name, or the text itself where it is no single word.

    Templates are files like styles, and what they keep out of the picture is kept out, too. Raises
    UsageError with the choices for an unknown name.
    """
    if not _NAME.fullmatch(name_or_text.strip()):
        return Style("", name_or_text)
    return _find(name_or_text, load_templates(templates_dir), templates_dir, "template")


def load_templates(templates_dir: Path | None = None) -> Mapping[str, Style]:
    """The templates that come with the package and those in `templates_dir`, as `load_styles`."""
    return _load(BUILT_IN_TEMPLATES, templates_dir, "template")


_NAME = re.compile(r"[\w-]+")


def _find(name: str, known: Mapping[str, Style], own_dir: Path | None, kind: str) -> Style:
    wanted = name.strip().lower()
    if wanted not in known:
        own = f"; or add your own as {own_dir / 'NAME.toml'}" if own_dir is not None else ""
        raise UsageError(
            f"there is no {kind} called {name!r}", f"choose from: {', '.join(sorted(known))}{own}"
        )
    return known[wanted]


def _load(built_in: Path, own_dir: Path | None, kind: str) -> Mapping[str, Style]:
    styles = {style.name: style for style in _read_styles(built_in, kind)}
    if own_dir is not None and own_dir.is_dir():
        styles.update((style.name, style) for style in _read_styles(own_dir, kind))
    return styles


def _read_styles(folder: Path, kind: str) -> Iterator[Style]:
    for file in sorted(folder.glob("*.toml")):
        if not file.name.startswith("."):
            yield _read_style(file, kind)


def _read_style(file: Path, kind: str) -> Style:
    remedy = f"mend or remove it; its keys can be: {', '.join(STYLE_KEYS)}"
    content = read_toml(file)
    if unknown := [key for key in content if key not in STYLE_KEYS]:
        raise UsageError(f"the {kind} file {file} has an unknown key {unknown[0]!r}", remedy)
    for key, value in content.items():
        if not isinstance(value, str):
            raise UsageError(f"in the {kind} file {file}, {key} is not a text", remedy)
    if "template" not in content:
        raise UsageError(f"the {kind} file {file} has no template", remedy)
    fill_template(content["template"], "", f"the {kind} file {file}")
    return Style(file.stem.lower(), **content)
