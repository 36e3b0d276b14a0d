#!/usr/bin/env python3
"""Make the weights of a Core ML model smaller: `audio2img models compress` as a script.

    python scripts/quantize_model.py SOURCE DEST [--bits 6] [--mixed] ...

See `python scripts/quantize_model.py --help`, and models/README.md for what the ways mean.
"""

from __future__ import annotations

import sys

from audio2img.cli import main

if __name__ == "__main__":
    main(["models", "compress", *sys.argv[1:]])
