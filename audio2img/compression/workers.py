"""Work spread over processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

Work = TypeVar("Work")
Result = TypeVar("Result")


def spread(
    work: Callable[[Work], Result], tasks: Sequence[Work], n_workers: int
) -> Iterator[tuple[Work, Result]]:
    """Each task with its result, as they are finished, by `n_workers` processes (1: by this one).

    work: a function of a module, so that other processes find it. When the caller stops early or a
    task fails, tasks in work are waited for and the rest is dropped.
    """
    if n_workers == 1:
        for task in tasks:
            yield task, work(task)
        return
    # Started afresh, not forked: the parent may have threads, and on macOS forking is not safe.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_workers, context, _start_worker) as pool:
        futures = {pool.submit(work, task): task for task in tasks}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def leave_with_parent() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()
