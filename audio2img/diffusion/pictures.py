"""Pictures on their way into a model: brought to its size, and seen with CLIP's eyes."""

from __future__ import annotations

import numpy as np

from audio2img.diffusion import Pixels

# Of CLIP's image encoder (github.com/openai/CLIP), which the safety checker is built on
CLIP_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
CLIP_STD = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)


def cover(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """The middle of a picture, scaled (bicubic, as CLIP's own) until it covers (width, height)."""
    from PIL import Image, ImageOps

    if pixels.shape[:2] == size[::-1]:
        return pixels
    image = ImageOps.fit(Image.fromarray(pixels), size, Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.uint8)
