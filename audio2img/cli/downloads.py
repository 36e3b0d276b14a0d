"""Downloading as a person sees it: one bar a file and one for all, on a terminal; lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import click

from audio2img.cli.text import shorten
from audio2img.errors import CancelledError
from audio2img.store.report import Reporter

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from audio2img.store.receipts import LicenceRecord, Receipt
    from audio2img.store.rows import Wanted


class Bars(Reporter):
    """A Reporter for people. On a terminal finished files leave; elsewhere only lines are printed."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._progress: Progress | None = None
        self._all: TaskID | None = None
        self._tasks: dict[str, TaskID] = {}
        self._done: dict[str, int] = {}

    def __enter__(self) -> Bars:
        if not self._quiet and sys.stderr.isatty():
            from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn

            from audio2img.cli.console import label_column, open_progress

            columns = (label_column(), BarColumn(), DownloadColumn(), TransferSpeedColumn())
            self._progress = open_progress(*columns, TimeRemainingColumn())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def say(self, text: str) -> None:
        if self._progress is not None:
            self._progress.console.print(shorten(text), markup=False, highlight=False, soft_wrap=True)
        elif not self._quiet:
            click.echo(shorten(text), err=True)

    def begin(self, files: Sequence[tuple[str, int | None]]) -> None:
        if self._progress is None:
            return
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        sizes = [size for _, size in files]
        total = None if None in sizes else sum(size or 0 for size in sizes)
        self._all = self._progress.add_task("all", total=total)
        self._tasks, self._done = {}, {}

    def advance(self, path: str, done_bytes: int, total_bytes: int | None) -> None:
        if self._progress is None or self._all is None:
            return
        if path not in self._tasks:
            self._tasks[path] = self._progress.add_task(path[-40:], total=total_bytes)
        self._done[path] = done_bytes
        is_done = done_bytes == total_bytes
        self._progress.update(self._tasks[path], completed=done_bytes, total=total_bytes, visible=not is_done)
        self._progress.update(self._all, completed=sum(self._done.values()))


def download(
    models: Sequence[Wanted], licences: dict[str, LicenceRecord], quiet: bool = False
) -> list[Receipt]:
    """Get every model, showing how far it is. Raises what get_model does, and CancelledError on Ctrl-C."""
    from audio2img.store.get import get_model

    with Bars(quiet) as bars:
        try:
            return [get_model(model, licences[model.key], bars) for model in models]
        except KeyboardInterrupt:
            raise CancelledError("stopped", "what has arrived is kept: the same command goes on") from None
