"""One command on several sources: recordings that were named, or that arrive one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TYPE_CHECKING

from audio2img.cli.outcome import Outcome
from audio2img.errors import CancelledError

if TYPE_CHECKING:
    from pathlib import Path

    from audio2img.cli.display import Display

LOOK_S = 1.0  # between two looks into a folder


def go_through(sources: Iterable[str], work: Callable[[str], None], display: Display) -> None:
    """Do the work on each; what is wrong with one of them does not keep the others from it.

    Raises CancelledError at Ctrl-C, also between two of them.
    """
    from audio2img.pipeline.hearing import name_of

    outcome = Outcome.of_this_command()
    try:
        for number, source in enumerate(sources, 1):
            place = f"{number} of {len(sources)}, " if isinstance(sources, Sized) else ""
            display.begin(f"{place}{name_of(source)}")
            with outcome.survives(source, display.complain, is_patient=not place):
                work(source)
    except KeyboardInterrupt:
        raise CancelledError("stopped") from None


def watch(folder: Path, display: Display, check: Callable[[], None]) -> Iterator[str]:
    """Each recording that arrives in `folder`, until Ctrl-C. check: is called while none does."""
    import time

    from audio2img.audio.arrivals import arrivals, list_recordings

    there = list_recordings(folder)
    files = "recording is" if len(there) == 1 else "recordings are"
    display.say(f"watching {folder}: {len(there)} {files} there already and left alone; Ctrl-C ends it")

    def wait() -> None:
        check()
        display.wait(f"watching {folder}")
        time.sleep(LOOK_S)

    yield from map(str, arrivals(folder, there, wait))
