"""What is shown steers no terminal, fills no more than a screen, and loses nothing harmless."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from audio2img.cli.text import LINE_LIMIT, clean, clean_json, shorten

ANYTHING = st.text(st.characters())


def is_harmless(text: str) -> bool:
    steering = {*range(32), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)} - {9, 10}
    return not any(ord(one) in steering or 0xD800 <= ord(one) < 0xE000 for one in text)


@given(ANYTHING)
def test_nothing_that_is_cleaned_steers_a_terminal(text: str) -> None:
    assert is_harmless(clean(text))
    if is_harmless(text) and not set(text) & {"\u200e", "\u200f", "\u2028", "\u2029"}:
        assert clean(text) == text


@given(ANYTHING)
def test_json_that_is_cleaned_means_the_same(text: str) -> None:
    cleaned = clean_json(json.dumps({text: text}, ensure_ascii=False, indent=2))
    assert is_harmless(cleaned)
    assert json.loads(cleaned) == {text: text}


def test_what_is_left_out_is_written_out() -> None:
    assert (
        clean("a\x1b[2Jb\x9bc\rd\udc9be\u202ef\tg\nh 赤") == "a\\x1b[2Jb\\x9bc\\x0dd\\x9be\\u202ef\tg\nh 赤"
    )


@given(st.integers(0, 5 * LINE_LIMIT))
def test_a_long_text_keeps_both_ends(length: int) -> None:
    text = "".join(str(number % 10) for number in range(length))
    short = shorten(text)
    assert len(short) <= LINE_LIMIT
    assert (short == text) == (length <= LINE_LIMIT)
    assert short[:100] == text[:100]
    assert short[-100:] == text[-100:]
