"""Work in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")


def in_background(work: Callable[[], Result]) -> Future[Result]:
    """What `work` will return. It runs in a thread that does not keep the program from ending."""
    future: Future[Result] = Future()
    future.set_running_or_notify_cancel()  # whoever waits may give up waiting, and not the work

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            _free_variables(error)
            future.set_exception(error)

    threading.Thread(target=run, name="audio2img", daemon=True).start()
    return future


def _free_variables(error: BaseException) -> None:
    """Those of the functions that it came through. They would keep half a model in memory for as long as the
    error is known to somebody, such as the future, which the error knows in turn."""
    import traceback

    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in seen:
        traceback.clear_frames(one.__traceback__)
        seen.append(one)
        one = one.__cause__ or one.__context__
