"""Options check themselves as soon as they are made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from audio2img import Options, UsageError

NAN, INF = float("nan"), float("inf")


class Odd:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"count": 0}, "0 pictures"),
        ({"count": 1001}, "1001 pictures"),
        ({"count": 10**12}, "pictures cannot be drawn"),
        ({"count": True}, "True pictures"),
        ({"count": 2.0}, "2.0 pictures"),
        ({"seed": -1}, "-1 is not a seed"),
        ({"seed": 2**32}, "4294967296 is not a seed"),
        ({"seed": 10**6000}, "is not a seed"),
        ({"seed": "7"}, "'7' is not a seed"),
        ({"steps": 0}, "0 steps"),
        ({"steps": 1001}, "1001 steps"),
        ({"steps": 2.5}, "2.5 steps"),
        ({"guidance": NAN}, "the guidance nan"),
        ({"guidance": INF}, "the guidance inf"),
        ({"guidance": -0.1}, "the guidance -0.1"),
        ({"guidance": "7"}, "the guidance '7'"),
        ({"scheduler": "nonesuch"}, "no scheduler called 'nonesuch'"),
        ({"scheduler": 7}, "`scheduler` is a text, not 7"),
        ({"size": (0, 512)}, "is no size"),
        ({"size": (512, 10**9)}, "is no size"),
        ({"size": 512}, "512 is no size"),
        ({"size": (512,)}, "is no size"),
        ({"size": "512x512"}, "is no size"),
        ({"init_image": 3}, "3 is no path"),
        ({"strength": 0.5}, "needs a picture"),
        ({"strength": 0, "init_image": "a.png"}, "the strength 0"),
        ({"strength": NAN, "init_image": "a.png"}, "the strength nan"),
        ({"strength": "0.5", "init_image": "a.png"}, "the strength '0.5'"),
        ({"style": ["ink"]}, "`style` is a text"),
        ({"style": Odd()}, "`style` is a text, not a Odd"),
        ({"negative": None}, "`negative` is a text, not None"),
        ({"initial_prompt": b"x"}, "`initial_prompt` is a text"),
        ({"language": 3}, "`language` is a text"),
        ({"task": "sing"}, "`task` cannot be 'sing'"),
        ({"hear": "all"}, "`hear` cannot be 'all'"),
        ({"long_prompt": "fold"}, "`long_prompt` cannot be 'fold'"),
        ({"hear": "x" * 100_000}, "`hear` cannot be"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else ",".join(value),
)
def test_what_no_model_could_do_is_refused_by_name(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        Options(**given)
    assert words in caught.value.message
    assert len(caught.value.message) < 150
    assert caught.value.remedy
    assert "--" not in caught.value.message + caught.value.remedy, "Python has no options"


def test_what_can_be_done_is_taken() -> None:
    Options(
        "en", "translate", "castle", "ink", "older", "a boat", 2**32 - 1, 1000, 0, "euler-a", (768, 512),
        1000, Path("a.png"), 1, "chunk", "both",
    )  # fmt: skip


def test_every_scheduler_that_some_backend_has_is_taken() -> None:
    for name in ("dpmpp-2m", "euler", "euler-a", "ddim", "pndm", "lcm"):
        assert Options(scheduler=name).scheduler == name
