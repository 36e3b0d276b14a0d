"""Work in a thread of its own: what it gives, and what it leaves behind."""

from __future__ import annotations

import asyncio
import gc
import threading
import traceback
import weakref
from concurrent.futures import wait

import numpy as np
import pytest

from audio2img.background import in_background
from audio2img.errors import ModelError


def test_what_the_work_gives() -> None:
    assert in_background(lambda: 3).result(60) == 3


def test_what_failed_is_not_kept_in_memory_by_its_error() -> None:
    """Which its caller may still be telling of when half a model has to make room for the next one."""
    kept: list[weakref.ref[object]] = []

    def read() -> None:
        weights = np.ones(1000)
        kept.append(weakref.ref(weights))
        raise OSError("no more of it")

    def load() -> None:
        first_part = np.ones(1000)
        kept.append(weakref.ref(first_part))
        try:
            read()
        except OSError as error:
            raise ModelError("half a model", "get it again") from error

    gc.disable()  # nothing is freed by chance
    try:
        future = in_background(load)
        wait([future], 60)
        assert [one() is None for one in kept] == [True, True]
    finally:
        gc.enable()
    with pytest.raises(ModelError) as caught:
        future.result()
    told = "".join(traceback.format_exception(caught.value))
    assert "in load" in told
    assert "in read" in told


def test_who_gives_up_waiting_does_not_end_the_work() -> None:
    may_go_on = threading.Event()

    def work() -> int:
        may_go_on.wait()
        return 7

    future = in_background(work)

    async def give_up() -> None:
        waiting = asyncio.ensure_future(asyncio.wrap_future(future))
        await asyncio.sleep(0)
        waiting.cancel()

    asyncio.run(give_up())
    may_go_on.set()
    assert future.result() == 7
