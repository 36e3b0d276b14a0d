"""What somebody may have meant by a name that nobody knows."""

from __future__ import annotations

from collections.abc import Iterable


def nearest_names(name: str, choices: Iterable[str], most: int = 3) -> list[str]:
    """The choices most like `name`, whatever their case; the likeliest first, often none."""
    import difflib

    by_folded = {choice.casefold(): choice for choice in reversed(list(choices))}
    near = difflib.get_close_matches(name.casefold(), by_folded, most, 0.7)
    return [by_folded[folded] for folded in near]


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """ "did you mean watercolor? ", or "" where nothing is near."""
    near = nearest_names(name, choices)
    return f"did you mean {' or '.join(near)}? " if near else ""
