#!/usr/bin/env python3
"""Convert a Stable Diffusion from diffusers to Core ML packages: `audio2img models convert` as a script.

    python scripts/convert_model.py SOURCE DEST [--bits 16|8|6] [--batch 1|2] [--chunk-unet] ...
    python scripts/convert_model.py --help

Needs the `convert` extra (torch, diffusers, transformers, coremltools); runs on Linux and macOS.
"""

from __future__ import annotations

import sys

from audio2img.cli import main

if __name__ == "__main__":
    main(["models", "convert", *sys.argv[1:]])
