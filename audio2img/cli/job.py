"""Running a pipeline's work so that Ctrl-C ends it cleanly in every stage."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING

from audio2img.errors import CancelledError

if TYPE_CHECKING:
    from audio2img.background import Result
    from audio2img.pipeline.session import Session


logger = logging.getLogger(__name__)

SOON_S = 1.0  # most steps have noticed by then that they should stop
GRACE_S = 10.0  # how long native code may take


class AbandonedError(CancelledError):
    """The person has stopped it, but a step that cannot be interrupted is still running."""

    leaves_work = True


def run_job(session: Session, job: Callable[[], Result]) -> Result:
    """The result of `job`, which runs in a thread of its own while this one waits for Ctrl-C.

    An exception thrown into whisper.cpp from a signal handler would abort the process; so the
    signal only reaches this thread, which asks the session to stop and waits until it has. Where that
    takes too long, or at a second Ctrl-C, AbandonedError ends the command all the same.
    """
    from audio2img.background import in_background

    with session.cancellable():
        future = in_background(job)
        try:
            while not wait([future], timeout=0.2).done:
                pass
        except KeyboardInterrupt:
            session.cancel()
            if not _has_stopped(future):
                raise AbandonedError("stopped") from None
            raise CancelledError("stopped") from None
        return future.result()


def _has_stopped(future: Future[Result]) -> bool:
    try:
        if wait([future], timeout=SOON_S).done:
            return True
        logger.warning("stopping; this step cannot be interrupted: Ctrl-C again leaves at once")
        return bool(wait([future], timeout=GRACE_S).done)
    except KeyboardInterrupt:
        return False
