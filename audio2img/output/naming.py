"""File names from what was said: short, readable, and legal on every file system."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterator
from pathlib import PurePath

MAX_WORDS_BYTES = 60
"""UTF-8 bytes of the words in a name; with seed and number it stays under the 143 of encrypted folders."""

FALLBACK = "picture"  # for a prompt without a letter or digit


def picture_names(prompt: str, seed: int) -> Iterator[str]:
    """Names for a picture, best first: "a-red-house-42.png", "a-red-house-42-2.png", "...-3.png" and so on.

    They hold lower-case letters, digits and accents of any script in composed form (NFC), and "-";
    the seed behind the words also keeps them apart from the names that Windows reserves ("con", "nul").
    """
    return numbered_names(f"{slugify(prompt)}-{seed}.png")


def numbered_names(name: str) -> Iterator[str]:
    """`name`, then the same with -2, -3, ... before its suffix."""
    yield name
    path = PurePath(name)
    for number in itertools.count(2):
        yield f"{path.stem}-{number}{path.suffix}"


def slugify(text: str, max_bytes: int = MAX_WORDS_BYTES) -> str:
    """The first words of `text`, lower-case, joined by "-": whole words while they fit, never empty."""
    words = _split_words(text)
    slug = next(words, FALLBACK)
    if len(slug.encode()) > max_bytes:
        return _cut(slug, max_bytes)
    for word in words:
        longer = f"{slug}-{word}"
        if len(longer.encode()) > max_bytes:
            break
        slug = longer
    return slug


def _split_words(text: str) -> Iterator[str]:
    """Runs of letters, digits and the marks upon them, lower-case, composed (NFC)."""
    composed = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
    for is_word, run in itertools.groupby(composed, lambda character: _category(character) in "LNM"):
        word = "".join(run)
        if is_word and any(_category(character) != "M" for character in word):
            # A mark at the beginning would sit on the "-" before it.
            yield word[next(i for i, character in enumerate(word) if _category(character) != "M") :]


def _category(character: str) -> str:
    return unicodedata.category(character)[0]


def _cut(word: str, max_bytes: int) -> str:
    """The longest beginning of `word` that fits, without splitting a letter from its marks."""
    kept, size = "", 0
    for character in word:
        size += len(character.encode())
        if size > max_bytes:
            break
        kept += character
    if len(kept) < len(word) and _category(word[len(kept)]) == "M":
        bare = kept.rstrip("".join({c for c in kept if _category(c) == "M"}))
        return bare[:-1] or kept
    return kept
