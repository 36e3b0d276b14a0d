"""What was said or heard becomes what is drawn: clean-up, styles, templates, scenes, the small world.

Pure text in, text out; nothing here knows of models. The names below are loaded when they are first used:
a list of styles needs no clean-up of what was heard.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audio2img.prompt.prompts import fit_prompt, make_prompt
    from audio2img.prompt.revision import Revision, revise
    from audio2img.prompt.styling import find_style, find_template, list_styles
    from audio2img.prompt.wording import clean_transcript

__all__ = [
    "Revision",
    "clean_transcript",
    "find_style",
    "find_template",
    "fit_prompt",
    "list_styles",
    "make_prompt",
    "revise",
]

_HOMES = {
    "Revision": "revision",
    "clean_transcript": "wording",
    "find_style": "styling",
    "find_template": "styling",
    "fit_prompt": "prompts",
    "list_styles": "styling",
    "make_prompt": "prompts",
    "revise": "revision",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
