"""From latents to a small picture by a linear map, cheap enough for every step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SCALING_FACTORS = {"sd": 0.18215, "sdxl": 0.13025}  # of the published autoencoders

# Least-squares maps from latents to RGB in [-1, 1], known from the ComfyUI project (latent_formats.py)
LATENT_RGB = {
    "sd": (
        (0.3512, 0.2297, 0.3227), (0.3250, 0.4974, 0.2350),
        (-0.2829, 0.1762, 0.2721), (-0.2120, -0.2616, -0.7177),
    ),
    "sdxl": (
        (0.3651, 0.4232, 0.4341), (-0.2533, -0.0042, 0.1068),
        (0.1076, 0.1111, -0.0362), (-0.3165, -0.2492, -0.2188),
    ),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class LatentPreview:
    """A linear map from latents, as the UNet sees them, to RGB in [0, 1].

    matrix: (channels, 3) float32; bias: (3,) float32.
    """

    matrix: NDArray[np.float32]
    bias: NDArray[np.float32]

    def draw(self, latents: NDArray[np.float32]) -> NDArray[np.uint8]:
        """(height, width, 3) uint8 of latents (channels, height, width)."""
        unit = np.tensordot(latents, self.matrix, (0, 0)) + self.bias
        return np.asarray(np.clip(unit * 255, 0, 255), dtype=np.uint8)
