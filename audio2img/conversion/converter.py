"""The whole conversion: check the source, convert each part in a process of its own, publish the folder."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from audio2img import errors
from audio2img.backends.coreml.settings import SIDECAR_NAME
from audio2img.config import expand_path
from audio2img.conversion.hub import fetch_model, is_hub_id
from audio2img.conversion.plan import (
    ConversionOptions,
    ConversionReport,
    PartJob,
    PartReport,
    package_name,
)
from audio2img.conversion.sidecar import copy_tokenizers, make_sidecar, scheduler_settings
from audio2img.conversion.source import Source, open_source, read_json
from audio2img.diffusion.schedulers import SchedulerConfig, refuse_unsupported
from audio2img.errors import MachineError, ModelError, UsageError
from audio2img.files import replace_folder, size_on_disk
from audio2img.installation import how_to_add
from audio2img.output.files import explain

Progress = Callable[[str, int, int, PartReport | None], None]
"""Called with (what is next or was done, done so far, of how many, the report of what was done)."""

REQUIRED_PACKAGES = ("torch", "diffusers", "transformers", "coremltools", "safetensors")


def convert_model(
    source: str | Path,
    folder: Path,
    options: ConversionOptions | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> ConversionReport:
    """Convert the diffusers folder or hub model `source` into the bundle `folder`.

    The folder appears when every part was converted and agrees with torch; until then, and when
    anything fails or it is interrupted, there is nothing at its place, or what was there before.
    replace: whether a folder that is there is replaced. Raises UsageError for what cannot be asked,
    ModelError for a source that cannot be converted or a part that comes out wrong, MachineError
    for missing packages, network, disk space or permission.
    """
    options = options or ConversionOptions()
    started = time.perf_counter()
    check_destination(folder, replace)
    opened = find_source(str(source), options)
    latent_size = opened.latent_size_of(options.size)
    check_packages()
    check_weights(opened)
    with new_folder(folder) as work:
        report = _convert_into(work, opened, options, latent_size, progress)
    return ConversionReport(folder, duration_s=time.perf_counter() - started, **report)


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder beside `folder` that takes its place if the block ends well, and goes if it does not.

    Raises MachineError when the disk or its permissions refuse.
    """
    folder, size_bytes = folder.resolve(), 0
    try:
        with replace_folder(folder) as work:
            try:
                yield work
            finally:
                size_bytes = size_on_disk(work)
    except OSError as error:
        raise explain(error, folder.parent, size_bytes) from error


def find_source(source: str, options: ConversionOptions) -> Source:
    """The source as a checked folder; a hub model is fetched first."""
    folder, name = expand_path(source), options.name
    if not folder.is_dir():
        if folder.is_file():
            raise ModelError(
                f"{source} is a file, not a diffusers folder",
                "single-file checkpoints are split with diffusers: StableDiffusionPipeline.from_single_file",
            )
        if not is_hub_id(source):
            raise ModelError(f"there is no folder {source}", "give a diffusers folder or a hub id OWNER/NAME")
        folder, name = fetch_model(source, options.parts), name or source.partition("@")[0]
    opened = open_source(folder, name, options.parts)
    # What our schedulers would refuse is refused before an hour of converting, not after.
    settings = scheduler_settings(read_json(folder / "scheduler" / "scheduler_config.json"))
    refuse_unsupported(settings)
    SchedulerConfig.from_dict(settings)
    return opened


def check_packages() -> None:
    """Raise MachineError if the `convert` extra is not installed."""
    missing = [name for name in REQUIRED_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise MachineError(f"converting needs {', '.join(missing)}", how_to_add("convert"))


def check_weights(source: Source) -> None:
    """Raise ModelError if a weight file is cut short or no safetensors file at all."""
    from safetensors import SafetensorError, safe_open

    for component in source.variants:
        for path in sorted((source.folder / component).glob("*.safetensors")):
            try:
                with safe_open(path, framework="np") as file:
                    file.keys()
            except (SafetensorError, OSError) as error:
                raise ModelError(f"{path} is damaged: {error}", "get the model again") from error


def check_destination(folder: Path, replace: bool) -> None:
    """Raise UsageError where `folder` cannot be made."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", "name a folder that is to be made")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not replace:
        raise UsageError(f"{folder} is there already", "name another folder, or replace it with --replace")
    if not (folder / SIDECAR_NAME).is_file() and not any(folder.glob("*.mlpackage")):
        raise UsageError(f"{folder} is no model, and is not replaced by one", "name another folder")


def _convert_into(
    work: Path,
    source: Source,
    options: ConversionOptions,
    latent_size: tuple[int, int],
    progress: Progress | None,
) -> dict[str, Any]:
    """Make everything in `work`; the fields of a ConversionReport but folder and duration."""
    name = options.name or source.name
    reports: list[PartReport] = []
    for part in source.parts:
        if progress is not None:
            progress(part, len(reports), len(source.parts), None)
        fields = run_worker(work, {"part": asdict(make_job(source, part, options, work))})
        reports.append(PartReport(**{**fields, "packages": tuple(fields["packages"])}))
        if progress is not None:
            progress(part, len(reports), len(source.parts), reports[-1])
    rgb = fit_colours(work, source, latent_size)
    finish_folder(work, source, name, rgb)
    return {
        "model": name,
        "kind": source.kind,
        "bits": options.bits,
        "size_bytes": size_on_disk(work),
        "latent_rgb_db": None if rgb is None else rgb["psnr_db"],
        "parts": tuple(reports),
    }


def fit_colours(work: Path, source: Source, latent_size: tuple[int, int]) -> dict[str, Any] | None:
    """The map for previews (see latent_rgb) of a source whose autoencoder is converted."""
    if "vae" not in source.variants:
        return None
    size = tuple(side * source.factor for side in latent_size)
    vae = {"folder": str(source.folder), "variant": source.variants["vae"], "size": size}
    return run_worker(work, {"latent_rgb": vae})


def finish_folder(work: Path, source: Source, name: str, rgb: dict[str, Any] | None) -> None:
    """Put the tokenizer's files and the sidecar beside the packages."""
    copy_tokenizers(source, work)
    text = json.dumps(make_sidecar(source, name, rgb), indent=2, ensure_ascii=False) + "\n"
    (work / SIDECAR_NAME).write_text(text, encoding="utf-8")


def make_job(source: Source, part: str, options: ConversionOptions, work: Path) -> PartJob:
    """How `part` is converted into the folder `work`."""
    name = options.name or source.name
    return PartJob(
        folder=str(source.folder.resolve()),
        part=part,
        kind=source.kind,
        variants=dict(source.variants),
        latent_size=source.latent_size_of(options.size),
        factor=source.factor,
        package=str(work / package_name(options.version or name, part)),
        model=name,
        license_name=options.license_name,
        bits=options.bits,
        batch=options.batch,
        chunked=options.chunk_unet and part == "unet",
    )


def run_worker(work: Path, task: dict[str, Any]) -> dict[str, Any]:
    """The result of a task of `worker`, done in a process of its own that ends with this one.

    Raises what the task raised; ModelError with the process' last words if it died.
    """
    with tempfile.TemporaryDirectory(prefix=".task-", dir=work) as scratch:
        job, report, log = (Path(scratch) / name for name in ("job.json", "report.json", "log.txt"))
        job.write_text(json.dumps(task), encoding="utf-8")
        command = [sys.executable, "-m", "audio2img.conversion.worker", str(job), str(report)]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", **_worker_environment()}
        with log.open("wb") as output:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
            )
        if not report.is_file():
            words = log.read_text(encoding="utf-8", errors="replace")
            raise _died(task, done.returncode, words) from RuntimeError(words)
        answer = json.loads(report.read_text(encoding="utf-8"))
    if "error" in answer:
        kind, message, remedy = answer["error"]
        raise getattr(errors, kind)(message, remedy)
    result: dict[str, Any] = answer["result"]
    return result


def _worker_environment() -> dict[str, str]:
    """So that a process finds this package, and nothing that lies in the folder it is started in.

    The hash seed is fixed because coremltools cuts a model in two by walking through sets of names.
    """
    root = str(Path(__file__).resolve().parents[2])
    ours = os.environ.get("PYTHONPATH")
    return {
        "PYTHONHASHSEED": "0",
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": f"{root}{os.pathsep}{ours}" if ours else root,
    }


def _died(task: dict[str, Any], code: int, log: str) -> Exception:
    fields = task.get("part") or task.get("check") or {"part": "map from latents to colours"}
    what = fields["part"]
    if code in (-9, 137):
        return MachineError(
            f"the system stopped converting the {what}, most likely for want of memory",
            "close other programs, or convert it part by part: --parts NAME",
        )
    words = log.strip().splitlines()[-1:] or [f"exit code {code}"]
    return ModelError(f"converting the {what} failed: {words[0]}", "see all that it said: --verbose")
