"""What a page asks for, parsed: any JSON is either an order or a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio2img.config import Settings
from audio2img.errors import UsageError
from audio2img.pipeline.wishes import Wishes
from audio2img.server.orders import MAX_ORDER_BYTES, parse_draw, parse_hear, read_json

SETTINGS = Wishes.of({"style": "ink", "steps": 9}, Settings())

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
FIELDS = (
    "prompt", "options", "model", "from", "transcript_of", "hear", "language", "draw", "revise",
    "draw_at_once", "keep_sound", "style", "template", "negative", "seed", "steps", "guidance", "scheduler",
    "width", "height", "count", "init_image", "strength", "long_prompt",
)  # fmt: skip


def refused(parse: Callable[..., Any], *given: Any) -> UsageError | None:
    """What `parse` says of it; None where it takes it."""
    try:
        parse(*given)
    except UsageError as error:
        return error
    return None


@given(st.dictionaries(st.sampled_from(FIELDS), ANY | st.dictionaries(st.sampled_from(FIELDS), ANY)))
def test_whatever_is_asked_is_an_order_or_is_refused_with_a_remedy(table: dict[str, Any]) -> None:
    for parse in (parse_draw, parse_hear):
        error = refused(parse, table, SETTINGS)
        assert error is None or (error.message and error.remedy)


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_what_is_no_json_object_is_refused(data: bytes | str) -> None:
    error = refused(read_json, data)
    assert isinstance(read_json(data), dict) if error is None else "order" in error.message


def test_too_long_an_order_is_not_looked_at() -> None:
    with pytest.raises(UsageError, match="too long"):
        read_json(b" " * (MAX_ORDER_BYTES + 1))


def test_what_is_asked_goes_before_the_settings() -> None:
    order = parse_draw({"prompt": " a house ", "options": {"steps": 3, "width": 64, "height": 96}}, SETTINGS)
    options = order.options(SETTINGS, None)
    assert order.prompt == "a house"
    assert (options.steps, options.style, options.size) == (3, "ink", (64, 96))


def test_a_picture_to_start_from_is_a_name_until_it_is_found() -> None:
    table = {"prompt": "a house", "options": {"init_image": "a.png", "strength": 0.4}}
    order = parse_draw(table, SETTINGS)
    assert order.start == "a.png"
    assert order.options(SETTINGS, Path("/there/a.png")).init_image == str(Path("/there/a.png"))
    with pytest.raises(UsageError, match="strength"):
        parse_draw({"prompt": "a house", "options": {"strength": 0.4}}, SETTINGS)


def test_an_order_to_hear_holds_what_comes_after_it() -> None:
    table = {"hear": "both", "language": "de", "draw": {"options": {"count": 2}}, "keep_sound": True}
    order = parse_hear(json.loads(json.dumps(table)), SETTINGS)
    assert order.draw is not None
    assert (order.hear, order.keeps_sound, order.draws_at_once) == ("both", True, False)
    assert (order.options(SETTINGS).language, order.draw.wishes["count"]) == ("de", 2)
