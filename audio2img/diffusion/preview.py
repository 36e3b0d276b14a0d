"""From latents to a small picture by a linear map, cheap enough for every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FIT_SEED = 7
N_DIGITS = 5  # of a fitted map; more would differ with the number of threads

Floats = NDArray[np.float32]

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


def fit_linear(latents: Floats, colours: Floats) -> dict[str, Any]:
    """Least squares from (n, channels) to (n, 3) with a constant.

    {"matrix": (channels, 3) nested list, "bias": [3], "psnr_db": of the map}.
    """
    n, channels = latents.shape
    design = np.concatenate([latents.astype(np.float64), np.ones((n, 1))], axis=1)
    solution, *_ = np.linalg.lstsq(design, colours.astype(np.float64), rcond=None)
    solution = solution.round(N_DIGITS)
    error = float(np.mean((np.clip(design @ solution, 0, 1) - colours) ** 2))
    return {
        "matrix": solution[:channels].tolist(),
        "bias": solution[channels].tolist(),
        "psnr_db": round(-10 * float(np.log10(max(error, 1e-12))), 1),
    }


def make_pictures(count: int, height: int, width: int) -> list[Floats]:
    """Pictures (height, width, 3) float32 in [0, 1]: squares and discs of random colours on a flat ground."""
    rng = np.random.default_rng(FIT_SEED)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / max(height, width)
    pictures = []
    for _ in range(count):
        picture = np.empty((height, width, 3), dtype=np.float32)
        picture[:] = rng.random(3)
        for _ in range(int(rng.integers(1, 5))):
            centre, radius = rng.random(2), rng.uniform(0.05, 0.4)
            distance = np.maximum(abs(y - centre[0]), abs(x - centre[1]))  # a square
            if rng.random() < 0.5:
                distance = np.hypot(y - centre[0], x - centre[1])  # a disc
            picture[distance < radius] = rng.random(3)
        pictures.append(picture)
    return pictures
