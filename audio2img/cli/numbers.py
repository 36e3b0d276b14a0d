"""Numbers as options take them, with their bounds in words."""

from __future__ import annotations

from typing import Any

import click


class NumberRange(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """A number from `least` to `most`, of the type of `least`; None leaves it open upwards.

    click's own ranges read "[0.1<=x<=3600]" in help.
    """

    def __init__(self, least: float, most: float | None = None) -> None:
        self.least = least
        self.most = most
        self._plain = click.INT if isinstance(least, int) else click.FLOAT
        self.name = self._plain.name

    def __str__(self) -> str:
        return f"{self.least:g} or more" if self.most is None else f"{self.least:g} to {self.most:g}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = self._plain.convert(value, param, ctx)
        if not (self.least <= number and (self.most is None or number <= self.most)):  # nan is neither
            self.fail(f"it must be {self}, not {value}", param, ctx)
        return number
