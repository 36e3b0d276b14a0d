"""What a person sees while it works: one line of progress on stderr, and the words as they are heard."""

from __future__ import annotations

import logging
import os
import sys
from types import TracebackType
from typing import TYPE_CHECKING

import click

from audio2img.cli.text import shorten
from audio2img.wording import as_options

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from audio2img.cli.preview import PreviewScreen
    from audio2img.pipeline.events import Event, Listening

LABELS = {
    "record": "listening",
    "fetch": "downloading",
    "decode": "reading the sound",
    "load": "loading",
    "classify": "naming the sounds",
    "transcribe": "understanding",
    "prompt": "thinking",
    "draw": "drawing",
    "save": "saving",
}

QUIETEST_DBFS = -60.0  # an empty level meter
ALMOST = 0.999
_LOGGER = logging.getLogger("audio2img")


class Display(logging.Handler):
    """Shows a Pipeline's events: with rich on a terminal, warnings only elsewhere, nothing when quiet.

    previews: show the picture as it grows, where the terminal can.

    While it is open it also takes what the package logs as a warning, such as damage in a file; with
    verbose all that it logs, such as what whisper.cpp says of a model.
    """

    def __init__(self, quiet: bool = False, verbose: bool = False, previews: bool = True) -> None:
        super().__init__(logging.DEBUG if verbose else logging.WARNING)
        self._previews = previews
        self._screen: PreviewScreen | None = None
        self._quiet = quiet
        self._verbose = verbose
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._stage: str = ""
        self._about = ""

    def __enter__(self) -> Display:
        if self._verbose:
            _LOGGER.setLevel(logging.DEBUG)
        _LOGGER.addHandler(self)
        if not self._quiet and sys.stderr.isatty():
            from audio2img.cli.console import open_progress

            self._progress = open_progress()
            self._task = self._progress.add_task("starting", total=None)
            if self._previews:
                self._screen = self._open_screen(self._progress.console)
        return self

    @staticmethod
    def _open_screen(console: Console) -> PreviewScreen | None:
        from audio2img.cli.preview import PreviewScreen, find_encoder

        encode = find_encoder()
        if encode is None:
            return None
        return PreviewScreen(console.file, lambda rows: console.print("\n" * (rows - 1)), encode)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _LOGGER.removeHandler(self)
        self.restore()

    def restore(self) -> None:
        """Give the terminal back as it was, cursor and all, at once; what is said later is plain lines.

        For those who cannot wait for the work to end. Doing it again is no error.
        """
        progress, self._progress, self._screen = self._progress, None, None
        if progress is not None:
            progress.stop()

    def __call__(self, event: Event) -> None:
        is_on_terminal = self._progress is not None
        if event.warning or (self._verbose and event.stage == "load"):
            self.say(as_options(event.text))
        elif event.stage == "prompt" and is_on_terminal:
            self.say(f"drawing: {event.text}")
        elif event.stage == "transcribe" and event.done == 1.0 and event.segment is None and is_on_terminal:
            self.say(f"heard: {event.text}")
        elif event.stage == "classify" and event.text and is_on_terminal:
            self.say(f"sounds: {event.text}")
        if event.stage != "load":
            self._show_progress(event)
        if (screen := self._screen) is not None and event.preview is not None:
            screen.show(event.preview)

    def _show_progress(self, event: Event) -> None:
        progress = self._progress
        if progress is None or self._task is None:
            return
        label = LABELS[event.stage] if event.listening is None else _listening_label(event.listening)
        if event.stage in ("record", "transcribe") and event.text:
            label = f"{label}: {event.text[-60:]}"
        if event.steps is not None:
            label = f"{label}, step {event.steps[0]} of {event.steps[1]}"
        label = f"{self._about}{label}"
        is_meter = event.listening is not None
        done = _meter(event.listening.level_dbfs) if event.listening is not None else event.done
        if event.stage != self._stage:
            self._begin_task(progress, self._task, label, event.stage)
        progress.update(
            self._task,
            description=label,
            total=None if done is None else 1.0,
            completed=min(done or 0.0, ALMOST),
            has_end=not is_meter,
        )

    def _begin_task(self, progress: Progress, last: TaskID, label: str, stage: str) -> None:
        """A new task for each stage, never complete: rich stops the clock of one that is, for good."""
        progress.remove_task(last)
        self._task = progress.add_task(label, total=None)
        self._stage = stage

    def begin(self, about: str) -> None:
        """From here on the progress is that of one thing of several, called `about`."""
        self._about, self._stage = f"{about}: ", ""

    def wait(self, label: str) -> None:
        """Nothing is done but wait for something, as the label says."""
        if self._progress is not None and self._task is not None and self._stage != "wait":
            self._begin_task(self._progress, self._task, label, "wait")

    def emit(self, record: logging.LogRecord) -> None:
        self.say(record.getMessage())

    def say(self, text: str) -> None:
        """A line that stays, on stderr."""
        if self._quiet:
            return
        if (progress := self._progress) is not None:
            self._print_above(progress, shorten(text), soft_wrap=False)
        else:
            click.echo(shorten(text), err=True)

    def complain(self, line: str) -> None:
        """A line of what went wrong, on stderr, also when quiet."""
        if (progress := self._progress) is not None:
            self._print_above(progress, line, soft_wrap=True)
        else:
            click.echo(line, err=True)

    def show_result(self, text: str) -> None:
        """A result, on stdout; where that is the terminal of the progress bar, it stands above the bar."""
        progress = self._progress
        if progress is not None and sys.stdout.isatty() and os.path.sameopenfile(1, 2):
            self._print_above(progress, text, soft_wrap=True)
        else:
            click.echo(text)

    def _print_above(self, progress: Progress, text: str, soft_wrap: bool) -> None:
        if self._screen is not None:
            self._screen.leave()
        progress.console.print(text, markup=False, highlight=False, soft_wrap=soft_wrap)


def _listening_label(listening: Listening) -> str:
    label = "hearing you" if listening.is_speech else "waiting for you to speak"
    return f"{label} (Enter: done)" if sys.stdin.isatty() else label


def _meter(level_dbfs: float) -> float:
    """How much of the level meter is full, in [0, 1]."""
    return min(max(1 - level_dbfs / QUIETEST_DBFS, 0.0), 1.0)
