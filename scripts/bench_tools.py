"""Two things measured side by side on one machine, and the table of how they compare."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Work = Callable[[], None]
Probe = Callable[[], float]
Unit = Literal["s", "MB", "of them"]

ROW = "{:<20} {:>10} {:>10} {:>7}  {:<13} {:>5}  {}"


class SkippedError(Exception):
    """What cannot be compared on this machine, and why."""


@dataclass(frozen=True)
class Comparison:
    """Ours against a baseline; `aim` is the ratio that we promise not to exceed (None: just measured).

    The probes give what they measured, in `unit`; `timed` makes one of anything that can be called.
    """

    name: str
    ours: Probe
    baseline: Probe
    against: str
    aim: float | None = None
    unit: Unit = "s"


@dataclass(frozen=True)
class Measured:
    """Medians in `unit`, and the pairwise ratios ours / baseline."""

    name: str
    against: str
    unit: Unit
    ours: float
    baseline: float
    ratio: float
    ratio_min: float
    ratio_max: float
    aim: float | None
    rounds: int

    def row(self) -> str:
        """One line of the table."""
        digits = 3 if self.unit == "s" else 1
        figures = [f"{value:.{digits}f} {self.unit}" for value in (self.ours, self.baseline)]
        span = f"{self.ratio_min:.2f}-{self.ratio_max:.2f}"
        aim = "" if self.aim is None else f"{self.aim:g}"
        return ROW.format(self.name, *figures, f"{self.ratio:.2f}", span, aim, self.against)


def measure(comparison: Comparison, rounds: int) -> Measured:
    """Ours and the baseline in turn, after one round that is not counted."""
    pairs = [(comparison.ours(), comparison.baseline()) for _ in range(rounds + 1)][1:]
    ratios = [ours / baseline for ours, baseline in pairs]
    return Measured(
        comparison.name,
        comparison.against,
        comparison.unit,
        statistics.median(ours for ours, _ in pairs),
        statistics.median(baseline for _, baseline in pairs),
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        comparison.aim,
        rounds,
    )


def timed(work: Callable[[], object]) -> Probe:
    """Seconds that `work` takes."""

    def probe() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return probe


def command(*arguments: str | Path) -> Work:
    """Run a whole process, its output thrown away; fails loudly when the process does."""

    def work() -> None:
        subprocess.run(list(map(str, arguments)), check=True, capture_output=True)

    return work
