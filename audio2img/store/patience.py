"""Trying again: how often, how long to wait, and when to give a mirror up."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from audio2img.background import in_background
from audio2img.store.report import Reporter

BUSY = (408, 425, 429, 500, 502, 503, 504)
"""HTTP answers that may be another one a little later."""

MAX_REASON_CHARACTERS = 300
MAX_NAME_CHARACTERS = 100
MAX_SAID = 10  # a long file may be cut off thousands of times, and each time go on
POLL_S = 0.2  # on Windows Ctrl-C waits for as long

Result = TypeVar("Result")


class MirrorError(Exception):
    """This mirror cannot give what was asked; another may. The text says why, in a few words."""

    def __init__(self, reason: str) -> None:
        super().__init__(in_short(reason))


class InterruptionError(Exception):
    """Something that may be over at the next try. wait_s: how long the server asks to wait."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(in_short(reason))
        self.wait_s = wait_s


def in_short(text: str, limit: int = MAX_REASON_CHARACTERS) -> str:
    """What a server said, on one line that can be printed: it may have said anything."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return f"{line[: limit - 1]}…" if len(line) > limit else line


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server, in seconds. n_tries: without progress in between."""

    n_tries: int = 5
    first_wait_s: float = 1.0
    longest_wait_s: float = 30.0
    longest_asked_wait_s: float = 120.0
    timeout_s: float = 30.0

    @classmethod
    def from_environment(cls) -> Patience:
        """With the time-out of HF_HUB_DOWNLOAD_TIMEOUT, where that is set."""
        seconds = os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT", "")
        return cls(timeout_s=float(seconds)) if seconds.isdigit() and int(seconds) else cls()

    def wait_s(self, n_failed: int, asked_s: float | None) -> float:
        """Doubled after every failure in a row, and never less than the server asks for."""
        doubled = min(self.longest_wait_s, self.first_wait_s * 2.0 ** (n_failed - 1))
        return float(max(doubled, asked_s or 0.0))


def insist(
    what: str,
    attempt: Callable[[], Result],
    reporter: Reporter,
    patience: Patience,
    progress: Callable[[], int] = lambda: 0,
) -> Result:
    """The result of `attempt`, which is called again after every InterruptionError.

    progress: a number that grows when an attempt was not in vain, and may not grow for ever. Raises
    MirrorError when patience ends.
    """
    n_failed = n_said = 0
    while True:
        before = progress()
        try:
            return attempt()
        except InterruptionError as interruption:
            n_failed = 1 if progress() > before else n_failed + 1
            if (interruption.wait_s or 0.0) > patience.longest_asked_wait_s:
                asked = f"{interruption}, and asks to wait {interruption.wait_s:.0f} s"
                raise MirrorError(f"{what}: {asked}") from None
            if n_failed >= patience.n_tries:
                raise MirrorError(f"{what}: {interruption}, {n_failed} times") from None
            wait_s = patience.wait_s(n_failed, interruption.wait_s)
            n_said += 1
            if n_said <= MAX_SAID:
                more = "; no more is said of it" if n_said == MAX_SAID else ""
                reporter.say(f"{what}: {interruption}; trying again in {wait_s:.0f} s{more}")
            time.sleep(wait_s)


def retry_after_s(headers: Any) -> float | None:
    """Retry-After in seconds; it may be a number of them or a date (RFC 9110, 10.2.3)."""
    text = (headers.get("Retry-After") or "").strip() if headers is not None else ""
    seconds = whole_number(text)
    if seconds is not None:
        return float(seconds)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def whole_number(text: str) -> int | None:
    """The number in a header: ASCII digits, and no more than 18; None for anything else."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def within(
    limit_s: float, call: Callable[[], Result], discard: Callable[[Result], object] = lambda result: None
) -> Result:
    """The result of `call`, unless it takes longer than this: a time-out of sockets alone never ends
    with a server that sends a byte now and then.

    discard: what to do with a result that comes too late. Raises InterruptionError.
    """
    future = in_background(call)
    deadline = time.monotonic() + limit_s
    while not future.done():
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            future.add_done_callback(lambda late: discard(late.result()) if not late.exception() else None)
            raise InterruptionError(f"no whole answer in {limit_s:.0f} s")
        futures.wait([future], min(POLL_S, left_s))
    return future.result()
