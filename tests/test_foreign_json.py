"""JSON of others: what it holds, or why it cannot be read, never in Python's words."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio2img.foreign_json import MAX_DEPTH, parse_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES, st.booleans())
def test_any_value_is_read_as_it_was_written(value: object, as_bytes: bool) -> None:
    text = json.dumps(value)
    assert parse_json(text.encode() if as_bytes else text) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is no JSON from line 1, column 1 on"),
        ('{"a": 1,\n "b" 2}', "it is no JSON from line 2, column 6 on"),
        (b'"\xff"', "it is no UTF-8 text"),
        ("9" * 5_000, "a number in it has thousands of digits"),
        ("[" * 100_000, "it is nested too deeply"),
        ('{"a":' * 500 + "1" + "}" * 500, "it is nested too deeply"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "it is nested too deeply"),
    ],
)
def test_what_cannot_be_read_is_said(text: str | bytes, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(why)}$"):
        parse_json(text)


def test_nesting_up_to_the_bound_is_read() -> None:
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert json.dumps(parse_json(text)) == text
