"""Between latents and pixels: the autoencoder's two halves, and the check of what came out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audio2img.backends.coreml.bundle import Bundle
from audio2img.backends.coreml.numbers import as_finite
from audio2img.backends.coreml.runtime import Model
from audio2img.diffusion import Pixels
from audio2img.diffusion.pictures import CLIP_MEAN, CLIP_STD, cover

Floats = NDArray[np.float32]

LOG_VARIANCE_RANGE = (-30.0, 20.0)  # as diffusers' DiagonalGaussianDistribution


def decode_latents(bundle: Bundle, decoder: Model, latents: Floats) -> Pixels:
    """The picture of latents (1, channels, height, width), as the UNet leaves them."""
    dtype = bundle.parts["vae_decoder"].inputs["z"].dtype
    z = (latents / np.float32(bundle.settings.facts.scaling_factor)).astype(dtype)
    image = as_finite(decoder.predict({"z": z})["image"], "VAE decoder", bundle)
    unit = np.clip(image[0].transpose(1, 2, 0) * 0.5 + 0.5, 0.0, 1.0)
    return np.ascontiguousarray((unit * 255).round().astype(np.uint8))


def encode_pixels(bundle: Bundle, encoder: Model, pixels: Pixels, noise: Floats) -> Floats:
    """Latents (1, channels, height, width) of a picture of any size, as drawn from the encoder's distribution
    by unit `noise` of that shape.

    The picture is scaled until it covers the model's size, and cropped at its middle.
    """
    spec = bundle.parts["vae_encoder"].inputs["x"]
    x = cover(pixels, bundle.contract.size).astype(np.float32) / 127.5 - 1
    picture = x.transpose(2, 0, 1)[None].astype(spec.dtype)
    moments = as_finite(encoder.predict({"x": picture})["latent"], "VAE encoder", bundle)
    mean, log_variance = np.split(moments, 2, axis=1)
    deviation = np.exp(0.5 * np.clip(log_variance, *LOG_VARIANCE_RANGE))
    latents: Floats = (mean + deviation * noise) * np.float32(bundle.settings.facts.scaling_factor)
    return latents


def is_refused(bundle: Bundle, checker: Model, pixels: Pixels) -> bool:
    """What the safety checker says of a picture."""
    inputs = bundle.parts["safety_checker"].inputs
    clip, images = inputs["clip_input"], inputs["images"]
    side = clip.shape[2]
    seen = (cover(pixels, (side, side)).astype(np.float32) / 255 - CLIP_MEAN) / CLIP_STD
    answer = checker.predict(
        {
            "clip_input": seen.transpose(2, 0, 1)[None].astype(clip.dtype),
            # What it would paint black; we leave the picture as it is and say no instead.
            "images": np.zeros(images.shape, images.dtype),
            "adjustment": np.zeros(inputs["adjustment"].shape, inputs["adjustment"].dtype),
        }
    )
    return bool(np.any(answer["has_nsfw_concepts"] > 0.5))
