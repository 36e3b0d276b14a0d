"""A linear map from latents to colours, so that a picture can be previewed while it is drawn.

The decoder answers mostly by the colour of each latent, so four channels, weighted and summed,
give a small picture of what is coming. The map is fitted on the model's own autoencoder, from
pictures of flat shapes: of these, and of shaded and busier ones, they served the mini model best.
There it reaches 23.5 dB on its own pictures and 19.2 on the mini world's, where no linear map can
do better than 21 and the mean colour of each picture has 16.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SEED = 7
N_PICTURES = 16
SIDE_PX = 256  # pictures for fitting are no larger; an autoencoder is a stack of convolutions
N_DIGITS = 5  # more would differ with the number of threads

Floats = NDArray[np.float32]


def fit_latent_rgb(folder: str, variant: str | None, size: tuple[int, int]) -> dict[str, Any]:
    """The map of the autoencoder in a diffusers folder, for pictures of `size` (height, width) pixels.

    {"matrix": (channels, 3) nested list, "bias": [3], "psnr_db": of the map}: latents as the UNet
    sees them (scaled), times matrix, plus bias, is RGB in [0, 1] at the latents' resolution.
    """
    import torch

    from audio2img.coreml.conversion.modules import load_component

    vae = load_component(folder, "vae", variant)
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    height, width = (min(side, SIDE_PX) // factor * factor for side in size)
    shift = getattr(vae.config, "shift_factor", None) or 0.0
    latents, colours = [], []
    with torch.no_grad():
        for picture in make_pictures(N_PICTURES, height, width):
            x = torch.from_numpy(picture.transpose(2, 0, 1)[None] * 2 - 1)
            z = vae.encode(x).latent_dist.mean
            decoded = torch.nn.functional.avg_pool2d(vae.decode(z).sample / 2 + 0.5, factor)
            latents.append(((z - shift) * vae.config.scaling_factor)[0].flatten(1).T.numpy())
            colours.append(decoded.clamp(0, 1)[0].flatten(1).T.numpy())
    return fit_linear(np.concatenate(latents), np.concatenate(colours))


def fit_linear(latents: Floats, colours: Floats) -> dict[str, Any]:
    """Least squares from (n, channels) to (n, 3) with a constant; see fit_latent_rgb."""
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
    rng = np.random.default_rng(SEED)
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
