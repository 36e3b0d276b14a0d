"""Weighted k-means in one dimension, on the few distinct values that a weight tensor has.

A float16 tensor has at most 65,536 distinct values, however many elements: counted once, the rest
of the work does not depend on the tensor's size. In one dimension clusters are intervals of the
sorted values, and prefix sums give the cost of any interval at once, so that a palette is a row of
borders. These are found in three steps:

1. Borders at equal parts of the integral of density^(1/3), which is best for fine palettes
   (Bennett 1948; Panter and Dite 1951).
2. Lloyd's iteration (1982).
3. Dynamic programming over windows around each border (Bruce 1965, restricted), first some
   clusters wide and coarse, then narrower and finer until every distinct value is a candidate.
   Lloyd's iteration alone ends in what is only locally best, above all for heavy tails.

There is no randomness, and no library that sums in an order of its own: the same values give the
same palette on every run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Indices = NDArray[np.intp]

POSITIVE_ZERO, NEGATIVE_ZERO = 0x0000, 0x8000  # the codes of one value in float16
LLOYD_ROUNDS = 30
WINDOW_CLUSTERS = 8  # how far a border may first move, in clusters, to either side
WINDOW_POINTS, MAX_WINDOW_POINTS = 32, 256  # candidates to either side of a border
WINDOW_ELEMENTS = 1 << 18  # candidates' pairs to compare at first, so that few clusters look closer
NARROWING = 8  # the next window reaches over so many candidates of the one before
MAX_WINDOW_ROUNDS = 40


@dataclass(frozen=True)
class Histogram:
    """Distinct values in ascending order with how often each occurs; values: (n,), counts: (n,) > 0."""

    values: Doubles
    counts: Doubles

    def __len__(self) -> int:
        return len(self.values)


def count_values(weights: NDArray[np.floating]) -> Histogram:
    """The distinct values of float16 or float32 `weights`, of any shape; all must be finite."""
    if weights.dtype == np.float16:
        codes = count_codes(weights)
        codes[POSITIVE_ZERO] += codes[NEGATIVE_ZERO]
        codes[NEGATIVE_ZERO] = 0
        present = np.flatnonzero(codes)
        values = present.astype(np.uint16).view(np.float16).astype(np.float64)
        order = np.argsort(values, kind="stable")
        return Histogram(values[order], codes[present][order].astype(np.float64))
    distinct, counts = np.unique(weights, return_counts=True)
    return Histogram(distinct.astype(np.float64), counts.astype(np.float64))


def count_codes(weights: NDArray[np.floating], chunk: int = 1 << 20) -> NDArray[np.int64]:
    """(65536,) how often each bit pattern occurs among float16 `weights`; works through small chunks."""
    codes = np.ascontiguousarray(weights).reshape(-1).view(np.uint16)
    counts = np.zeros(1 << 16, dtype=np.int64)
    for start in range(0, len(codes), chunk):
        counts += np.bincount(codes[start : start + chunk], minlength=1 << 16)
    return counts


def find_centers(histogram: Histogram, n_clusters: int) -> Doubles:
    """At most `n_clusters` ascending centers with nearly the least sum of squared distances."""
    if len(histogram) <= n_clusters:
        return histogram.values
    costs = _Costs(histogram)
    borders = _lloyd(costs, _spread_borders(histogram, n_clusters))
    return costs.centers(_refine(costs, borders))


class _Costs:
    """Prefix sums over a histogram: what any interval of its values costs as one cluster."""

    def __init__(self, histogram: Histogram) -> None:
        self.values = histogram.values
        # Around the mean the squares are small, so that their differences lose no digits.
        self._origin = float(np.dot(histogram.values, histogram.counts) / histogram.counts.sum())
        shifted = histogram.values - self._origin
        self._weight = _prefix_sum(histogram.counts)
        self._sum = _prefix_sum(histogram.counts * shifted)
        self._square = _prefix_sum(histogram.counts * shifted * shifted)

    def __len__(self) -> int:
        return len(self.values)

    def between(self, starts: Indices, ends: Indices) -> Doubles:
        """The cost of each interval [start, end); infinite for empty ones. Shapes broadcast."""
        weight = self._weight[ends] - self._weight[starts]
        total = self._sum[ends] - self._sum[starts]
        square = self._square[ends] - self._square[starts]
        with np.errstate(divide="ignore", invalid="ignore"):
            cost = square - total * total / weight
        result: Doubles = np.where(weight > 0, cost, np.inf)
        return result

    def centers(self, borders: Indices) -> Doubles:
        """The mean of each interval between neighbours of `borders`, (k + 1,) from 0 to n."""
        means = np.diff(self._sum[borders]) / np.diff(self._weight[borders]) + self._origin
        # Rounding may carry the mean of a narrow interval out of it, far from the origin.
        result: Doubles = np.clip(means, self.values[borders[:-1]], self.values[borders[1:] - 1])
        return result


def _prefix_sum(values: Doubles) -> Doubles:
    return np.concatenate([[0.0], np.cumsum(values)])


def _spread_borders(histogram: Histogram, n_clusters: int) -> Indices:
    """(k + 1,) borders at equal parts of the integral of density^(1/3)."""
    widths = np.gradient(histogram.values)
    mass = _prefix_sum(np.cbrt(histogram.counts * widths * widths))
    targets = np.linspace(0.0, mass[-1], n_clusters + 1)
    return _separate(np.searchsorted(mass, targets), len(histogram))


def _separate(borders: Indices, n_values: int) -> Indices:
    """`borders` with the ends in place and at least one value between any two."""
    k = len(borders) - 1
    steps = np.arange(k + 1)
    rising = np.maximum.accumulate(np.clip(borders, 0, n_values) - steps) + steps
    result = np.minimum(rising, n_values - k + steps)
    result[0], result[-1] = 0, n_values
    return result


def _lloyd(costs: _Costs, borders: Indices) -> Indices:
    """Borders half-way between the centers, centers in the middle of the borders, until nothing moves."""
    for _ in range(LLOYD_ROUNDS):
        centers = costs.centers(borders)
        inner = np.searchsorted(costs.values, (centers[1:] + centers[:-1]) / 2)
        moved = _separate(np.concatenate([[0], inner, [len(costs)]]), len(costs))
        if np.array_equal(moved, borders):
            break
        borders = moved
    return borders


def _refine(costs: _Costs, borders: Indices) -> Indices:
    """The best borders within windows that follow them and narrow down to single values."""
    n_clusters = len(borders) - 1
    if n_clusters == 2:
        return _best_path(costs, np.arange(1, len(costs))[None, :])
    clusters = float(min(WINDOW_CLUSTERS, n_clusters))
    points = int(np.clip(math.sqrt(WINDOW_ELEMENTS / n_clusters) / 2, WINDOW_POINTS, MAX_WINDOW_POINTS))
    for _ in range(MAX_WINDOW_ROUNDS):
        candidates, finest = _windows(borders, len(costs), clusters, points)
        best = _best_path(costs, candidates)
        if np.array_equal(best, borders):
            if finest:
                break
            clusters, points = clusters * NARROWING / points, WINDOW_POINTS
        borders = best
    return borders


def _windows(borders: Indices, n_values: int, clusters: float, points: int) -> tuple[Indices, bool]:
    """(k - 1, 2 * points + 1) candidates for each inner border, ascending, and whether none is left out.

    Each window reaches over `clusters` neighbours to either side, or less where the window is full.
    """
    k = len(borders) - 1
    inner = np.arange(1, k)
    reach = int(np.ceil(clusters))
    below = (borders[inner] - borders[np.maximum(inner - reach, 0)]) * (clusters / reach)
    above = (borders[np.minimum(inner + reach, k)] - borders[inner]) * (clusters / reach)
    parts = np.arange(1, points + 1)

    def offsets(width: NDArray[np.floating]) -> Indices:
        even = np.ceil(width[:, None] * parts / points).astype(np.intp)
        return np.maximum(even, parts)  # neighbouring values one by one before anything is left out

    down, up = offsets(below), offsets(above)
    centre = borders[inner][:, None]
    candidates = np.concatenate([centre - down[:, ::-1], centre, centre + up], axis=1)
    finest = bool(max(below.max(initial=0), above.max(initial=0)) <= points)
    return np.clip(candidates, 0, n_values), finest


def _best_path(costs: _Costs, candidates: Indices) -> Indices:
    """(k + 1,) the row of borders, one of each row of `candidates`, that costs least."""
    total = costs.between(np.zeros(1, dtype=np.intp), candidates[0])
    came_from = []
    for row, following in pairwise(candidates):
        through = total[:, None] + costs.between(row[:, None], following[None, :])
        choice = through.argmin(axis=0)
        came_from.append(choice)
        total = through[choice, np.arange(len(following))]
    last = int((total + costs.between(candidates[-1], np.array([len(costs)]))).argmin())
    path = [last]
    for choice in reversed(came_from):
        path.append(int(choice[path[-1]]))
    inner = [row[index] for row, index in zip(candidates, reversed(path), strict=True)]
    return np.array([0, *inner, len(costs)], dtype=np.intp)
