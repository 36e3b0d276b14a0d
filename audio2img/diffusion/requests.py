"""What every backend refuses, whatever its model."""

from __future__ import annotations

import math

from audio2img.diffusion import Pixels
from audio2img.diffusion.noise import check_seed
from audio2img.errors import UsageError
from audio2img.types import ImageRequest


def check_request(request: ImageRequest, init_image: Pixels | None) -> None:
    """Raise UsageError for a request that no model could draw. init_image: the picture it starts from."""
    if not math.isfinite(request.guidance_scale) or request.guidance_scale < 0:
        raise UsageError(f"the guidance scale {request.guidance_scale} cannot be used", "try: `guidance=7.5`")
    if not 0 <= request.index < request.count:
        raise UsageError(f"there is no picture {request.index} of {request.count}", "count from 0")
    if (init_image is None) != (request.init_image is None):
        raise UsageError("the picture to start from is not the one of the request", "give both or none")
    if request.strength is not None and not 0 < request.strength <= 1:
        raise UsageError(f"the strength {request.strength} is not between 0 and 1", "try: `strength=0.6`")
    check_seed(request.seed)
