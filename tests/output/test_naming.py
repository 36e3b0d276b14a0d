from __future__ import annotations

import itertools
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audio2img.output.naming import MAX_WORDS_BYTES, picture_names, slugify

# learn.microsoft.com/windows/win32/fileio/naming-a-file
RESERVED = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
RESERVED |= {f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789¹²³"}
FORBIDDEN = set('<>:"/\\|?*') | {chr(code) for code in range(32)} | {"\x7f"}


@pytest.mark.parametrize(
    ("prompt", "slug"),
    [
        ("a red house under a yellow moon", "a-red-house-under-a-yellow-moon"),
        ("  A Red, (big) HOUSE!! ", "a-red-big-house"),
        ("../../etc/passwd", "etc-passwd"),
        ("C:\\con", "c-con"),
        ("don't", "don-t"),
        ("Crème brûlée", "crème-brûlée"),
        ("cre\u0300me", "cr\u00e8me"),
        ("\u0301a", "a"),
        ("İzmir", "i\u0307zmir"),
        ("नमस्ते दुनिया", "नमस्ते-दुनिया"),
        ("赤い家", "赤い家"),
        ("🏠🌙", "picture"),
        ("", "picture"),
        ("...", "picture"),
        ("\ud800x", "x"),
        ("x" * 100, "x" * MAX_WORDS_BYTES),
        ("word " * 40, "-".join(["word"] * 12)),
        ("é" * 100, "é" * (MAX_WORDS_BYTES // 2)),
    ],
)
def test_slugs(prompt: str, slug: str) -> None:
    assert slugify(prompt) == slug


def test_names_count_up() -> None:
    names = list(itertools.islice(picture_names("a red house", 42), 3))
    assert names == ["a-red-house-42.png", "a-red-house-42-2.png", "a-red-house-42-3.png"]


@given(
    st.one_of(
        st.text(st.characters()),
        st.text(st.characters(categories=["L", "M", "N"]), min_size=20),
        st.sampled_from(sorted(RESERVED)),
    ),
    st.integers(0, 2**32 - 1),
    st.integers(0, 300),
)
@example("con", 1, 0)
@example("lpt¹", 0, 0)
@example("q\u0323\u0307" * 40, 0, 0)
@example("\u0958" * 40, 0, 0)  # composed form is the longer, decomposed one
@example("ﬃ" * 40, 0, 0)
def test_every_name_is_legal_everywhere(prompt: str, seed: int, number: int) -> None:
    name = next(itertools.islice(picture_names(prompt, seed), number, None))
    assert name.endswith(".png")
    assert not FORBIDDEN & set(name)
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp") for c in name)
    assert name == unicodedata.normalize("NFC", name)
    assert unicodedata.category(name[0])[0] in "LN"  # not a dot, not a dash, not a mark
    assert len(name.encode()) <= 143
    assert len(unicodedata.normalize("NFD", name).encode("utf-16-le")) // 2 <= 255  # older macOS volumes
    assert name.partition(".")[0].upper() not in RESERVED
    assert f"-{seed}" in name


@given(st.text())
def test_a_slug_is_its_own_slug(text: str) -> None:
    assert slugify(slugify(text)) == slugify(text)
