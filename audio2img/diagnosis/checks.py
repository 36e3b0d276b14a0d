"""The answer to one question about this machine, and how a table of them reads."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

State = Literal["ok", "note", "fail", "skip"]


@dataclass(frozen=True)
class Check:
    """One line of a report.

    state: `note` is something odd or missing that only some commands need, `skip` what cannot be asked here.
    figures: what was measured, units in the names (`picture_db`, `load_cold_s`); for JSON.
    is_needed: every picture needs it, so that `fail` here is a failure of the whole.
    """

    name: str
    state: State
    detail: str
    remedy: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)
    is_needed: bool = False

    def as_table(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"figures": dict(self.figures)}


def failures(checks: Iterable[Check]) -> list[str]:
    """The names of those that every picture needs and that failed."""
    return [check.name for check in checks if check.state == "fail" and check.is_needed]


def as_markdown(checks: Iterable[Check]) -> str:
    """One table to paste into an issue; the home folder is written as ~."""
    rows = [("check", "result", "found"), ("---", "---", "---")]
    for check in checks:
        result = f"**{check.state}**" if check.state == "fail" else check.state
        remedy = f" — {check.remedy}" if check.remedy and check.state != "ok" else ""
        rows.append((check.name, result, check.detail + remedy))
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in rows)


def _cell(text: str) -> str:
    home = os.path.expanduser("~")  # stays as it is where no home is known
    shown = text.replace(home, "~") if len(home) > 1 else text
    return " ".join(shown.split()).replace("|", "\\|").replace("<", "&lt;")
