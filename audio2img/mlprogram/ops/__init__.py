"""The operations of ML programs that the reference runtime knows, each planned by its builder."""

from __future__ import annotations

from audio2img.mlprogram.ops import convolution, elementwise, layout, linear, normalization
from audio2img.mlprogram.ops.site import OPERATIONS, Array, Node, Scratch, Shape, Site, Step

__all__ = [
    "OPERATIONS",
    "Array",
    "Node",
    "Scratch",
    "Shape",
    "Site",
    "Step",
    "convolution",
    "elementwise",
    "layout",
    "linear",
    "normalization",
]
