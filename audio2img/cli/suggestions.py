"""What somebody may have meant who typed a command that there is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from audio2img.audio.arrivals import ENDINGS
from audio2img.names import nearest_names

PICTURES = (".jpeg", ".jpg", ".png", ".webp")


def suggest_command(words: Sequence[str], commands: Sequence[str], program: str) -> str:
    """A hint to add to "no such command", or "". words: what was typed, the unknown command first.

    program: the words before it ("audio2img models").
    """
    typed = words[0]
    if near := nearest_names(typed, commands):
        return f": did you mean {' or '.join(near)}?"
    if program.count(" ") == 0:
        suffix = Path(typed).suffix.lower()
        if suffix in ENDINGS or typed.startswith(("http://", "https://")):
            return f"; to draw what it says: {program} run {typed}"
        if suffix in PICTURES:
            return f"; to see how it was made: {program} show {typed}"
        if len(words) > 1 or " " in typed:
            return f'; to draw a text: {program} generate "{" ".join(words)}"'
    return ""
