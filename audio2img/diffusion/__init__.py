"""From words to a picture: what all image models share, and the mathematics of it; nothing here loads one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ModelDefaults", "Pixels"]

Pixels = NDArray[np.uint8]
"""(height, width, 3) uint8 RGB."""


@dataclass(frozen=True)
class ModelDefaults:
    """What a model draws best with, for the settings that a request leaves open.

    scheduler: a name of `schedulers.SCHEDULER_NAMES`; width, height in pixels.
    """

    steps: int
    guidance_scale: float
    scheduler: str
    width: int
    height: int
