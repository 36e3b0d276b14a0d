"""From a diffusers folder to Core ML packages in Apple's layout, checked part by part.

Needs the `convert` extra; runs on Linux and macOS. What the parts take and give is what
apple/ml-stable-diffusion's converter makes them take and give, so that either's packages serve.
"""

from __future__ import annotations

from audio2img.conversion.converter import Progress, convert_model
from audio2img.conversion.plan import BITS, PARTS, ConversionOptions, ConversionReport, PartReport
from audio2img.conversion.source import Source, open_source

__all__ = [
    "BITS",
    "PARTS",
    "ConversionOptions",
    "ConversionReport",
    "PartReport",
    "Progress",
    "Source",
    "convert_model",
    "open_source",
]
