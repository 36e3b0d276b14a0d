"""Apple's own converter, for what our tracer has not: split-einsum attention for the Neural Engine.

None of its running was tried on the machines this was written on, where GitHub cannot be reached;
what is asked of it is built by `apple_arguments`, which is tested.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Any, Literal

from audio2img.coreml.apple_tools.environment import CONVERTER, environment_python, run_module
from audio2img.coreml.conversion.converter import (
    Progress,
    check_destination,
    check_packages,
    find_source,
    finish_folder,
    fit_colours,
    folder_size,
    new_folder,
)
from audio2img.coreml.conversion.plan import ConversionOptions, ConversionReport, PartReport, package_name
from audio2img.coreml.conversion.source import Source
from audio2img.errors import MachineError, ModelError, UsageError

Attention = Literal["ORIGINAL", "SPLIT_EINSUM", "SPLIT_EINSUM_V2"]
FLAGS = {
    "text_encoder": "--convert-text-encoder",
    "text_encoder_2": "--convert-text-encoder",
    "unet": "--convert-unet",
    "vae_decoder": "--convert-vae-decoder",
    "vae_encoder": "--convert-vae-encoder",
    "safety_checker": "--convert-safety-checker",
}


def apple_arguments(
    source: Source, folder: Path, options: ConversionOptions, attention: Attention, check: bool
) -> list[str]:
    """What torch2coreml is called with to convert `source` into `folder`.

    check: compare each part with torch, which needs a Mac. Raises UsageError for what Apple's cannot do.
    """
    if options.chunk_unet and options.bits < 16:
        raise UsageError(
            "Apple's converter palettizes only a whole UNet, not its halves",
            "leave out --bits, then run: audio2img models compress",
        )
    height, width = source.latent_size_of(options.size)
    arguments = ["--model-version", str(source.folder.resolve()), "-o", str(folder)]
    arguments += dict.fromkeys(FLAGS[part] for part in source.parts)
    arguments += ["--attention-implementation", attention]
    arguments += ["--latent-h", str(height), "--latent-w", str(width)]
    arguments += ["--compute-unit", "CPU_AND_GPU" if attention == "ORIGINAL" else "CPU_AND_NE"]
    arguments += ["--xl-version"] if source.kind == "sdxl" else []
    arguments += ["--unet-batch-one"] if options.batch == 1 else []
    arguments += ["--chunk-unet"] if options.chunk_unet else []
    arguments += ["--quantize-nbits", str(options.bits)] if options.bits < 16 else []
    arguments += ["--check-output-correctness"] if check else []
    return arguments


def convert_with_apple(
    source: str | Path,
    folder: Path,
    options: ConversionOptions,
    attention: Attention = "SPLIT_EINSUM_V2",
    replace: bool = False,
    progress: Progress | None = None,
) -> ConversionReport:
    """As converter.convert_model, by Apple's converter, which checks its own parts on a Mac.

    Raises MachineError without its environment, ModelError if it fails.
    """
    started = time.perf_counter()
    environment_python()
    check_destination(folder, replace)
    opened = find_source(str(source), options)
    name = options.name or opened.name
    with new_folder(folder) as work:
        arguments = apple_arguments(opened, work, options, attention, sys.platform == "darwin")
        if progress is not None:
            progress("model with Apple's converter", 0, 1, None)
        run_module(CONVERTER, arguments)
        reports = tuple(
            _collect(work, part, options, options.version or name, started) for part in opened.parts
        )
        rgb = _fit_colours(work, opened, options)
        finish_folder(work, opened, name, rgb)
        size_bytes = folder_size(work)
    return ConversionReport(
        folder=folder,
        model=name,
        kind=opened.kind,
        bits=options.bits,
        size_bytes=size_bytes,
        duration_s=time.perf_counter() - started,
        latent_rgb_db=None if rgb is None else rgb["psnr_db"],
        parts=reports,
    )


def _collect(work: Path, part: str, options: ConversionOptions, version: str, started: float) -> PartReport:
    """Find what Apple's converter made of a part and name it as our own does."""
    is_chunked = part == "unet" and options.chunk_unet
    wanted = [f"{part}_chunk1", f"{part}_chunk2"] if is_chunked else [part]
    if is_chunked:  # the whole UNet stays beside its halves, the same weights again
        for whole in work.glob(f"*_{part}.mlpackage"):
            shutil.rmtree(whole)
    packages = []
    for one in wanted:
        found = sorted(work.glob(f"*_{one}.mlpackage"))
        if len(found) != 1:
            raise ModelError(f"Apple's converter made no {one.replace('_', ' ')}", "see what it says above")
        packages.append(found[0].rename(work / package_name(version, one)))
    size_bytes = sum(folder_size(package) for package in packages)
    names = tuple(package.name for package in packages)
    duration_s = time.perf_counter() - started
    return PartReport(part, names, size_bytes, duration_s, unchecked="checked by Apple's converter")


def _fit_colours(work: Path, source: Source, options: ConversionOptions) -> dict[str, Any] | None:
    """The map for previews, where torch is here as well; without it a known one serves."""
    try:
        check_packages()
    except MachineError:
        return None
    return fit_colours(work, source, source.latent_size_of(options.size))
