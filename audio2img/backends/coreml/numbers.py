"""The check between two models: numbers, or a plain error instead of a black picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio2img.backends.coreml.bundle import Bundle
from audio2img.errors import ModelError


def as_finite(values: NDArray[Any], part: str, bundle: Bundle) -> NDArray[np.float32]:
    """`values` as float32. Raises ModelError for NaN and infinity, which would give a black picture."""
    floats = np.asarray(values, dtype=np.float32)
    if not np.isfinite(floats).all():
        raise ModelError(
            f"the {part} of {bundle.settings.name} gave values that are no numbers",
            "the model may be damaged, or overflow float16 on this machine's compute units:"
            " get it again, or try `compute_units=CPU_ONLY`",
        )
    return floats
