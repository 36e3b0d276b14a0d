"""The terminal as rich draws on it: bars that stay in one place, and lines above them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.segment import Segment
from rich.text import Text

from audio2img.cli.streams import bare_stderr
from audio2img.cli.text import clean


class CleanConsole(Console):
    """Standard error, where only rich itself steers the terminal: what is shown is cleaned.

    Lines are written whole: Ctrl-C in the middle of one would leave a buffer in rich that nobody writes
    any more, the sequence that brings the cursor back included.
    """

    def __init__(self) -> None:
        super().__init__(file=bare_stderr())

    def print(self, *objects: Any, **options: Any) -> None:
        with uninterrupted():
            super().print(*objects, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(clean(segment.text), segment.style)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C inside strikes when the block has ended: bars that have half begun or ended cannot be undone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    strikes: list[int] = []
    usual = signal.signal(signal.SIGINT, lambda number, frame: strikes.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if strikes:
        signal.raise_signal(signal.SIGINT)


class WholeProgress(Progress):
    """Bars that are written whole, and end, whenever Ctrl-C strikes."""

    def start(self) -> None:
        with uninterrupted():
            super().start()

    def stop(self) -> None:
        with uninterrupted():
            if self.live.is_started:
                super().stop()

    def refresh(self) -> None:
        with uninterrupted():
            super().refresh()


class Clock(ProgressColumn):
    """How long it has taken, and about how long it will still take, where that can be told."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        shown = _clock(task.elapsed or 0.0)
        if task.fields.get("has_end") and (left_s := task.time_remaining) is not None:
            shown += f", {_clock(left_s)} left"
        return Text(shown, style="progress.elapsed")


def open_progress(*columns: ProgressColumn) -> Progress:
    """Bars on stderr that vanish when they end; with no columns given, the line of one job.

    stdout is left alone: results that go into a pipe must not be shown here instead. Whoever opens them
    closes them; where Ctrl-C strikes before that can be seen to, they end with the command.
    """
    chosen = columns or (SpinnerColumn(), label_column(), BarColumn(), Clock())
    progress = WholeProgress(*chosen, console=CleanConsole(), transient=True, redirect_stdout=False)
    context = click.get_current_context(silent=True)
    if context is not None:
        context.call_on_close(progress.stop)
    progress.start()
    return progress


def label_column() -> TextColumn:
    """What a task does. A name in square brackets is a name, and no markup."""
    return TextColumn("{task.description}", markup=False)


def _clock(seconds: float) -> str:
    """ "0:00:07"."""
    return str(timedelta(seconds=max(int(seconds), 0)))
