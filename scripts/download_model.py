#!/usr/bin/env python3
"""Download models, or go on with a download: `audio2img models get` as a script.

    python scripts/download_model.py NAME...|default [--accept-license] [--offline] [--json]

`audio2img models list` has the names.
"""

from __future__ import annotations

import sys

from audio2img.cli import main

if __name__ == "__main__":
    main(["models", "get", *sys.argv[1:]])
