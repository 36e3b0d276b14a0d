"""How near one answer is to another: the peak signal to noise ratio, in decibels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_DB = 150.0  # given for equal arrays; float32's own rounding is about this far down
PIXEL_PEAK = 255.0


def psnr_db(found: NDArray[Any], expected: NDArray[Any], peak: float | None = None) -> float:
    """20 log10(peak / RMS difference), from -MOST_DB (no numbers, or another shape) to MOST_DB.

    peak: None takes the range of what is expected; of a constant its magnitude, or 1 where that is 0.
    Infinities, which masks hold, must be the same ones.
    """
    if found.shape != expected.shape or not expected.size:
        return -MOST_DB
    exact, given = expected.astype(np.float64), found.astype(np.float64)
    finite = exact[np.isfinite(exact)]
    if peak is None:
        peak = float(np.ptp(finite) or np.abs(finite).max() or 1.0) if finite.size else 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        noise = float(np.mean(np.where(given == exact, 0.0, given - exact) ** 2))
    if not np.isfinite(noise):
        return -MOST_DB
    return min(MOST_DB, 10 * float(np.log10(peak**2 / max(noise, 1e-300))))
