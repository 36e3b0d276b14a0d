"""Mixed bits: for every weight its own number, so that a wished-for signal is kept at the smallest size.

The errors that weights make alone are taken to add up. Then the best plans for every size are those
that minimize error + penalty * size, weight by weight; going through all penalties gives a row of
plans, each smaller than the one before by one step of one weight. How much signal a plan really
keeps is measured, and a small plan that keeps enough is found by bisection on that row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

MAX_BLOCKED = 8  # how often the search goes on after a step that loses too much

Name = tuple[str, str]
"""Part and weight."""


@dataclass(frozen=True)
class Choice:
    """One way to store a weight. bits: of its palette, None leaves it as it is; error: what it adds."""

    bits: int | None
    size_bytes: int
    error: float


@dataclass(frozen=True)
class BitStep:
    """From one choice of a weight to a smaller one. price: error per byte saved."""

    price: float
    name: Name
    choice: Choice


def find_steps(choices: Mapping[Name, Sequence[Choice]]) -> list[BitStep]:
    """Every step from the largest plan to the smallest, the cheapest first.

    choices: for each weight at least the one that leaves it as it is.
    """
    steps = []
    for name, row in choices.items():
        hull = lower_hull(row)
        for larger, smaller in pairwise(hull):
            price = (smaller.error - larger.error) / (larger.size_bytes - smaller.size_bytes)
            steps.append(BitStep(price, name, smaller))
    # Of one weight the prices rise, so that sorting keeps its steps in order.
    return sorted(steps, key=lambda step: (step.price, step.name, -step.choice.size_bytes))


def lower_hull(choices: Sequence[Choice]) -> list[Choice]:
    """The largest choice, and those that are best for some penalty, down to the smallest."""
    hull: list[Choice] = []
    for choice in sorted(choices, key=lambda one: (-one.size_bytes, one.error)):
        if hull and choice.size_bytes == hull[-1].size_bytes:
            continue
        while len(hull) > 1 and choice.error <= hull[-1].error:
            hull.pop()  # smaller and nearer: nothing speaks for the larger one
        while len(hull) > 1 and _price(hull[-2], choice) <= _price(hull[-2], hull[-1]):
            hull.pop()
        hull.append(choice)
    return hull


def _price(larger: Choice, smaller: Choice) -> float:
    return (smaller.error - larger.error) / (larger.size_bytes - smaller.size_bytes)


def plan_after(steps: Sequence[BitStep]) -> dict[str, dict[str, int]]:
    """Part -> weight -> bits, after `steps`."""
    plan: dict[str, dict[str, int]] = {}
    for step in steps:
        part, weight = step.name
        if step.choice.bits is not None:
            plan.setdefault(part, {})[weight] = step.choice.bits
    return plan


def find_smallest(
    steps: Sequence[BitStep], measure: Callable[[Sequence[BitStep]], float], wished_db: float
) -> list[BitStep]:
    """Steps to take, as many as keep `wished_db`; none if the first already loses too much.

    measure: the signal in dB after some steps. It need not fall with every step, but what is given
    back was measured and keeps enough. Where a step loses too much, its weight goes no further, and
    the search goes on with the others: one weight that matters more than it did alone does not hold
    up the rest.
    """
    left = list(steps)
    kept = _bisect(left, 0, len(left) + 1, measure, wished_db)
    for _ in range(MAX_BLOCKED):
        if kept == len(left):
            break
        blocked = left[kept].name
        left = left[:kept] + [step for step in left[kept:] if step.name != blocked]
        # What is left is mostly little: look near by first, and ever farther while it holds.
        stride = 1
        while kept + stride <= len(left) and measure(left[: kept + stride]) >= wished_db:
            kept, stride = kept + stride, 2 * stride
        kept = _bisect(left, kept, min(kept + stride, len(left) + 1), measure, wished_db)
    return left[:kept]


def _bisect(
    steps: Sequence[BitStep],
    kept: int,
    lost: int,
    measure: Callable[[Sequence[BitStep]], float],
    wished_db: float,
) -> int:
    """How many steps keep `wished_db`, between `kept`, which do, and `lost`, which do not."""
    while lost - kept > 1:
        middle = (kept + lost) // 2
        if measure(steps[:middle]) >= wished_db:
            kept = middle
        else:
            lost = middle
    return kept


def mean_db(values: Sequence[float]) -> float:
    """The mean of signals in dB; infinite ones count as PERFECT_DB unless all are."""
    if all(math.isinf(value) for value in values):
        return math.inf
    return sum(min(value, PERFECT_DB) for value in values) / len(values)


PERFECT_DB = 120.0
"""What an unchanged picture counts as in a mean."""
