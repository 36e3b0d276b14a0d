"""Between latents and pixels: the autoencoder's two halves, the check of what came out, and previews."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from audio2img.backends.torch.folder import ModelFolder
from audio2img.diffusion import Pixels
from audio2img.diffusion.pictures import CLIP_MEAN, CLIP_STD, cover
from audio2img.diffusion.preview import (
    LATENT_RGB,
    SCALING_FACTORS,
    LatentPreview,
    fit_linear,
    make_pictures,
)

MAX_TILE_PX = 512  # what Stable Diffusion's autoencoders were trained at
N_FIT_PICTURES, FIT_SIDE_PX = 8, 128  # what an unknown autoencoder's preview is fitted on


class NotFiniteError(ArithmeticError):
    """An autoencoder's answer has numbers that are none: mostly too large ones for half precision."""


def set_tiles(vae: Any, size: tuple[int, int] | None, factor: int) -> None:
    """Have the autoencoder work in overlapping tiles, or on whole pictures (None).

    size: width and height in pixels that the model was trained for. diffusers' own tiles are as large
    as that, so that nothing is saved where it is needed; these are half of it, and never over MAX_TILE_PX.
    factor: pixels for each latent.
    """
    if size is None:
        vae.disable_tiling()
        return
    n_latents = max(1, min(MAX_TILE_PX, max(size) // 2) // factor)
    vae.tile_latent_min_size, vae.tile_sample_min_size = n_latents, n_latents * factor
    vae.enable_tiling()


def decode_latents(vae: Any, latents: Any) -> Pixels:
    """The picture of latents (1, channels, height, width), as the UNet leaves them.

    Raises NotFiniteError where the autoencoder's numbers overflow.
    """
    import torch

    image = vae.decode(unscale(vae.config, latents).to(vae.dtype), return_dict=False)[0][0]
    _check_finite(image)
    unit = (image * 0.5 + 0.5).clamp(0, 1).permute(1, 2, 0).float()
    return np.ascontiguousarray((unit * 255).round().to(torch.uint8).cpu().numpy())


def encode_pixels(vae: Any, pixels: Pixels, size: tuple[int, int], noise: Any) -> Any:
    """Latents (1, channels, height, width) of a picture of any size, as drawn from the encoder's
    distribution by unit `noise` of that shape. size: width and height to scale and crop it to.

    Raises NotFiniteError where the autoencoder's numbers overflow.
    """
    import torch

    unit = torch.from_numpy(cover(pixels, size).astype(np.float32) / 255).permute(2, 0, 1)[None]
    mean, deviation = _encode(vae, (2.0 * unit - 1.0).to(vae.device, vae.dtype))
    latents = mean if deviation is None else mean + deviation * noise.to(mean)
    _check_finite(latents)
    return scale(vae.config, latents)


def unscale(config: Mapping[str, Any], latents: Any) -> Any:
    """From the UNet's latents to the autoencoder's."""
    mean, std = _statistics(config, latents)
    if mean is None:
        return latents / config["scaling_factor"]
    return latents * std / config["scaling_factor"] + mean


def scale(config: Mapping[str, Any], latents: Any) -> Any:
    """From the autoencoder's latents to the UNet's."""
    mean, std = _statistics(config, latents)
    if mean is None:
        return config["scaling_factor"] * latents
    return (latents - mean) * config["scaling_factor"] / std


def is_refused(checker: Any, pixels: Pixels) -> bool:
    """What the safety checker says of a picture."""
    import torch

    side = int(checker.config.vision_config.image_size)
    seen = (cover(pixels, (side, side)).astype(np.float32) / 255 - CLIP_MEAN) / CLIP_STD
    shown = torch.from_numpy(seen.transpose(2, 0, 1)[None]).to(checker.device, checker.dtype)
    # What it would paint black; we leave the picture as it is and say no instead.
    _, found = checker(clip_input=shown, images=[np.zeros(1)])
    return bool(found[0])


class Preview:
    """Small pictures from latents, by the linear map that is known for the kind of autoencoder.

    For any other one `fit` finds the map; `is_ready` tells whether that is still to be done.
    """

    def __init__(self, model: ModelFolder) -> None:
        config = model.parts["vae"].config
        factor = config.get("scaling_factor", SCALING_FACTORS["sd"])
        mean, std = config.get("latents_mean"), config.get("latents_std")
        self._config = {"scaling_factor": factor, "latents_mean": mean, "latents_std": std}
        self._factor = model.factor
        kind = "sdxl" if mean is not None or factor == SCALING_FACTORS["sdxl"] else "sd"
        is_known = mean is not None or factor == SCALING_FACTORS[kind]
        self._map = _known_map(kind) if is_known and model.latent_channels == 4 else None

    @property
    def is_ready(self) -> bool:
        return self._map is not None

    def fit(self, vae: Any) -> None:
        self._map = fit_map(vae, self._factor)

    def draw(self, latents: Any) -> Pixels:
        """(height, width, 3) uint8 of latents (channels, height, width), as the UNet sees them."""
        assert self._map is not None
        return self._map.draw(unscale(self._config, latents[None].float())[0].cpu().numpy())


def _known_map(kind: str) -> LatentPreview:
    """The map from an autoencoder's own latents, of which the known one is given for scaled ones."""
    matrix = np.array(LATENT_RGB[kind], dtype=np.float32) / 2 * np.float32(SCALING_FACTORS[kind])
    return LatentPreview(matrix, np.full(3, 0.5, dtype=np.float32))


def fit_map(vae: Any, factor: int) -> LatentPreview:
    """The linear map from an autoencoder's own latents that comes closest to what it makes of them.

    factor: pixels for each latent. Raises NotFiniteError where the autoencoder's numbers overflow.
    """
    import torch

    side = max(1, FIT_SIDE_PX // factor) * factor
    latents, colours = [], []
    with torch.no_grad():
        for picture in make_pictures(N_FIT_PICTURES, side, side):
            x = torch.from_numpy(picture.transpose(2, 0, 1)[None] * 2 - 1).to(vae.device, vae.dtype)
            z, _ = _encode(vae, x)
            image = vae.decode(z, return_dict=False)[0] / 2 + 0.5
            _check_finite(image)
            small = torch.nn.functional.avg_pool2d(image, factor).clamp(0, 1)
            latents.append(z[0].flatten(1).T.float().cpu().numpy())
            colours.append(small[0].flatten(1).T.float().cpu().numpy())
    table = fit_linear(np.concatenate(latents), np.concatenate(colours))
    return LatentPreview(
        np.array(table["matrix"], dtype=np.float32), np.array(table["bias"], dtype=np.float32)
    )


def _encode(vae: Any, x: Any) -> tuple[Any, Any | None]:
    """Mean and deviation of the latents of pictures; the tiny autoencoder knows no deviation."""
    from diffusers import AutoencoderTiny

    result = vae.encode(x)
    if isinstance(vae, AutoencoderTiny):
        return result.latents, None
    return result.latent_dist.mean, result.latent_dist.std


def _check_finite(numbers: Any) -> None:
    if not bool(numbers.isfinite().all()):
        raise NotFiniteError


def _statistics(config: Mapping[str, Any], latents: Any) -> tuple[Any, Any]:
    """Mean and deviation of the latents by channel, of models that were trained on normalised ones."""
    import torch

    mean, std = config.get("latents_mean"), config.get("latents_std")
    if mean is None or std is None:
        return None, None
    shape = (1, -1, 1, 1)
    return torch.tensor(mean).view(shape).to(latents), torch.tensor(std).view(shape).to(latents)
