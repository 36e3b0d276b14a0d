"""Running a pipeline's work so that Ctrl-C ends it cleanly in every stage."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, wait

from audio2img.background import Result, in_background
from audio2img.errors import CancelledError
from audio2img.pipeline import Pipeline

GRACE_S = 10.0  # how long native code may take to notice that it should stop


def run_job(pipeline: Pipeline, job: Callable[[], Result]) -> Result:
    """The result of `job`, which runs in a thread of its own while this one waits for Ctrl-C.

    An exception thrown into whisper.cpp from a signal handler would abort the process; so the
    signal only reaches this thread, which asks the pipeline to stop and waits until it has.
    """
    future = in_background(job)
    try:
        while not wait([future], timeout=0.2).done:
            pass
    except KeyboardInterrupt:
        pipeline.cancel()
        _wait_until_stopped(future)
        raise CancelledError("stopped") from None
    return future.result()


def _wait_until_stopped(future: Future[Result]) -> None:
    try:
        stopped = wait([future], timeout=GRACE_S).done
    except KeyboardInterrupt:
        stopped = set()
    if not stopped:
        os._exit(CancelledError.exit_code)
