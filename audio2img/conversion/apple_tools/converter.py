"""Apple's own converter, for what our tracer has not: split-einsum attention for the Neural Engine.

Its parts are compared with torch as our own are, where torch is installed beside it. The tests have
no Apple environment (GitHub is not reached there): they test what is asked of the converter and
what is made of its answer. It was run once by hand on Linux, in an environment of environment.py's
pins made from a local clone of that commit: every part of the mini model and of the tiny SDXL came
out with SPLIT_EINSUM_V2 and agreed with torch.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from audio2img.conversion.apple_tools.environment import CONVERTER, environment_python, run_module
from audio2img.conversion.apple_tools.legacy import view_folder
from audio2img.conversion.converter import (
    Progress,
    check_destination,
    check_packages,
    find_source,
    finish_folder,
    fit_colours,
    make_job,
    new_folder,
    run_worker,
)
from audio2img.conversion.plan import ConversionOptions, ConversionReport, PartReport
from audio2img.conversion.source import Source
from audio2img.errors import MachineError, ModelError, UsageError
from audio2img.files import size_on_disk

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
    source: Source, folder: Path, options: ConversionOptions, attention: Attention
) -> list[str]:
    """What torch2coreml is called with to convert `source` into `folder`.

    Raises UsageError for what Apple's converter cannot do.
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
    return arguments


def convert_with_apple(
    source: str | Path,
    folder: Path,
    options: ConversionOptions,
    attention: Attention = "SPLIT_EINSUM_V2",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ConversionReport:
    """As converter.convert_model, by Apple's converter.

    Raises MachineError without its environment, ModelError if it fails or a part comes out wrong.
    """
    started = time.perf_counter()
    environment_python()
    check_destination(folder, overwrite)
    opened = find_source(str(source), options)
    name = options.name or opened.name
    with new_folder(folder) as work:
        if progress is not None:
            progress("model with Apple's converter", 0, 1, None)
        with tempfile.TemporaryDirectory(prefix=".source-", dir=work) as scratch:
            view = replace(opened, folder=Path(scratch) / "model")
            view_folder(opened.folder, view.folder)
            run_module(CONVERTER, apple_arguments(view, work, options, attention))
        has_torch = _has_torch()
        reports = []
        for part in opened.parts:
            reports.append(_collect(work, opened, part, options, has_torch))
            if progress is not None:
                progress(part, len(reports), len(opened.parts), reports[-1])
        latent_size = opened.latent_size_of(options.size)
        rgb = fit_colours(work, opened, latent_size) if has_torch else None
        finish_folder(work, opened, name, rgb)
        size_bytes = size_on_disk(work)
    return ConversionReport(
        folder=folder,
        model=name,
        kind=opened.kind,
        bits=options.bits,
        size_bytes=size_bytes,
        duration_s=time.perf_counter() - started,
        latent_rgb_db=None if rgb is None else rgb["psnr_db"],
        parts=tuple(reports),
    )


def _collect(
    work: Path, source: Source, part: str, options: ConversionOptions, has_torch: bool
) -> PartReport:
    """Find what Apple's converter made of a part, name it as our own does, and compare it with torch."""
    started = time.perf_counter()
    job = make_job(source, part, options, work)
    names = [f"{part}_chunk1", f"{part}_chunk2"] if job.chunked else [part]
    if job.chunked:  # the whole UNet stays beside its halves, the same weights again
        for whole in work.glob(f"*_{part}.mlpackage"):
            shutil.rmtree(whole)
    for name, package in zip(names, job.packages(), strict=True):
        found = sorted(work.glob(f"*_{name}.mlpackage"))
        if len(found) != 1:
            raise ModelError(f"Apple's converter made no {name.replace('_', ' ')}", "its words above say why")
        found[0].rename(package)
    check: dict[str, Any] = {
        "decibels": {},
        "unchecked": "not checked: needs the extra convert",
    }
    if has_torch:
        check = run_worker(work, {"check": asdict(job)})
    return PartReport(
        part,
        tuple(package.name for package in job.packages()),
        sum(size_on_disk(package) for package in job.packages()),
        time.perf_counter() - started,
        **check,
    )


def _has_torch() -> bool:
    """Whether our own extra is here too, for the comparison and for the map of the previews."""
    try:
        check_packages()
    except MachineError:
        return False
    return True
