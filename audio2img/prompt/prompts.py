"""From what was said to what is drawn: the words, what is put around them, the model's window.

How many words fit is the tokenizer's business; `fit_prompt` takes it as a function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from audio2img.errors import NothingToDrawError
from audio2img.prompt.styling import fill_template, find_style, find_template
from audio2img.prompt.wording import clean_transcript, has_words
from audio2img.types import Prompt


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
    styles_dir, templates_dir: folders of the user's own, see `styling.find_style`.

    Raises NothingToDrawError when nothing is left to draw, UsageError for an unknown style or a
    template that is none.
    """
    from audio2img.diffusion.prompt_weights import parse_weights

    text = clean_transcript(transcript_text)
    if not has_words(parse_weights(text).text):
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
