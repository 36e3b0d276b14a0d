"""Weights compressed by several processes, and taken up again where an earlier run stopped.

Each task fills its places in a weight file that is laid out already. Finished ones are noted in a
journal, a JSON object a line, with a checksum of what they wrote: a later run believes the
checksum, not the journal, so it does not matter how the earlier one ended.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from audio2img.compression.package import PackagePlan
from audio2img.compression.palettes import Fit, pack_bits, palettize
from audio2img.compression.program import Weight, find_weights, read_weights
from audio2img.mlprogram.mlpackage import Package

Work = TypeVar("Work")
Result = TypeVar("Result")

ELEMENTS_PER_WORKER = 1 << 23  # a process takes .3 s to start: below this one alone is faster


@dataclass(frozen=True)
class Task:
    """One weight of the package `source`, to be written into the file `target`.

    places: (start, size) in bytes of each part; part: the name of the part of the model.
    """

    part: str
    name: str
    source: Path
    target: Path
    bits: int
    places: tuple[tuple[int, int], ...]
    n_elements: int


@dataclass(frozen=True)
class Done:
    """A finished task: the CRC-32 of each part as written, and how near the result is."""

    part: str
    name: str
    checksums: tuple[int, ...]
    fit: Fit


def make_tasks(part: str, plan: PackagePlan, target: Path) -> list[Task]:
    """A task for each weight of `plan`, whose weight file is `target`."""
    return [
        Task(
            part,
            name,
            plan.source,
            target,
            planned.bits,
            tuple((blob.start, blob.size) for blob in planned.blobs),
            planned.weight.n_elements,
        )
        for name, planned in plan.weights.items()
    ]


def run_tasks(
    tasks: Sequence[Task], journal: Path, n_workers: int | None, on_done: Callable[[Task], None]
) -> dict[tuple[str, str], Fit]:
    """Do what the journal does not have yet; (part, name) -> how near each result is.

    n_workers: None chooses. Interrupted, it waits for the weights in work and keeps what is done.
    Raises ModelError for weights that cannot be read.
    """
    _open_package.cache_clear()  # what an earlier call read may have changed since
    fits: dict[tuple[str, str], Fit] = {}
    finished = {(done.part, done.name): done for done in read_journal(journal)}
    left = []
    for task in tasks:
        done = finished.get((task.part, task.name))
        if done is not None and _is_intact(task, done):
            fits[task.part, task.name] = done.fit
            on_done(task)
        else:
            left.append(task)
    left.sort(key=lambda task: task.n_elements, reverse=True)  # the longest first, so that all end together
    with journal.open("a", encoding="utf-8") as file:
        n_elements = sum(task.n_elements for task in left)
        for task, done in spread(run_task, left, n_workers or choose_workers(n_elements)):
            file.write(_to_line(done))
            file.flush()
            fits[task.part, task.name] = done.fit
            on_done(task)
    return fits


def choose_workers(n_elements: int) -> int:
    """As many processes as there are cores, fewer for little work."""
    return max(1, min(os.cpu_count() or 1, n_elements // ELEMENTS_PER_WORKER))


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


def run_task(task: Task) -> Done:
    """Compress one weight into its places."""
    package, weights = _open_package(task.source)
    weight = weights[task.name]
    done = palettize(read_weights(package, weight), task.bits)
    parts = pack_bits(done.numbers.reshape(-1), task.bits).tobytes(), done.palette.tobytes()
    with task.target.open("r+b") as file:
        for (start, size), data in zip(task.places, parts, strict=True):
            if len(data) != size:
                raise AssertionError(f"{task.name}: {len(data)} bytes for a place of {size}")
            file.seek(start)
            file.write(data)
    return Done(task.part, task.name, tuple(zlib.crc32(data) for data in parts), done.fit)


@lru_cache(maxsize=1)  # tasks of one part mostly follow each other
def _open_package(path: Path) -> tuple[Package, dict[str, Weight]]:
    package = Package(path)
    return package, find_weights(package.load_function(), 0)


def _is_intact(task: Task, done: Done) -> bool:
    """Whether the file has what `done` says was written."""
    if len(done.checksums) != len(task.places):
        return False
    with task.target.open("rb") as file:
        for (start, size), checksum in zip(task.places, done.checksums, strict=True):
            file.seek(start)
            if zlib.crc32(file.read(size)) != checksum:
                return False
    return True


def _to_line(done: Done) -> str:
    fit = done.fit
    row = [done.part, done.name, list(done.checksums), fit.signal, fit.error]
    return json.dumps(row) + "\n"


def read_journal(path: Path) -> Iterator[Done]:
    """The finished tasks that a journal names; a line that was cut off ends it."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            part, name, checksums, sum_signal, error = json.loads(line)
            yield Done(part, name, tuple(checksums), Fit(sum_signal, error))
        except (ValueError, TypeError):
            return
