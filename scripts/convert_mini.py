#!/usr/bin/env python3
"""Convert the mini Stable Diffusion from its diffusers folder to the Core ML packages that are embedded.

    python scripts/convert_mini.py [--source models/mini/diffusers] [--dest models/mini/coreml] [--bits 8]

Needs the `convert` extra (torch, diffusers, transformers, coremltools); runs on Linux and macOS.
The destination is replaced as a whole, and only when every part was converted. Two runs with the
same versions give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from audio2img.conversion import BITS, ConversionOptions, PartReport, convert_model
from audio2img.errors import Audio2ImgError

REPOSITORY = Path(__file__).resolve().parent.parent
OPTIONS = {"name": "audio2img-mini", "version": "audio2img_mini", "license_name": "Apache-2.0"}


def report_part(part: str, done: int, total: int, report: PartReport | None) -> None:
    if report is not None:
        print(
            f"{part:13} {report.size_bytes:>10,} bytes, {report.duration_s:.0f} s, {report.least_db} dB",
            flush=True,
        )


def main() -> None:
    """Read the command line and convert."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, default=REPOSITORY / "models" / "mini" / "diffusers")
    parser.add_argument("--dest", type=Path, default=REPOSITORY / "models" / "mini" / "coreml")
    parser.add_argument("--bits", type=int, choices=BITS, default=8, help="16: float16, no palettes")
    options = parser.parse_args()
    wishes = ConversionOptions(bits=options.bits, **OPTIONS)
    try:
        report = convert_model(options.source, options.dest, wishes, replace=True, progress=report_part)
    except Audio2ImgError as error:
        sys.exit(f"{error.message}\n{error.remedy}")
    print(f"{report.folder}: {report.size_bytes:,} bytes at {report.bits} bits")


if __name__ == "__main__":
    main()
