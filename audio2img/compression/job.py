"""A model compressed: from the folder of its packages to a new folder, which appears when it is whole."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from audio2img.compression import folders
from audio2img.compression.drawing import make_probes
from audio2img.compression.mixed import find_mixed_plan
from audio2img.compression.package import (
    PackagePlan,
    finish_package,
    plan_package,
    start_weight_file,
    weight_path,
)
from audio2img.compression.palettes import Fit
from audio2img.compression.program import Weight
from audio2img.compression.recipes import Plan, palette_name, write_recipe
from audio2img.compression.report import write_report
from audio2img.compression.results import (
    LayerResult,
    PartResult,
    ProbeResult,
    Result,
)
from audio2img.compression.rig import Rig, draw_compressed, open_rig
from audio2img.compression.source import (
    Options,
    Progress,
    Source,
    choose_bits,
    open_source,
    select_parts,
)
from audio2img.compression.workers import Task, make_tasks, run_tasks
from audio2img.errors import MachineError, ModelError
from audio2img.files import move_over

WORK_FORMAT = 1  # raise it when the same options give other bytes: older work is then left alone


@dataclass(frozen=True)
class _Job:
    """Where everything is while it is made. work: kept until all is done."""

    source: Source
    options: Options
    dest: Path
    work: Path
    progress: Progress


def compress(source_folder: Path, dest: Path, options: Options, progress: Progress) -> Result:
    """Compress the model in `source_folder` into the new folder `dest`; what was done and lost.

    The source is only read. What is finished is kept in a hidden folder beside `dest` until all of it
    is, and the same call takes it up again after an interruption. Raises ModelError for a damaged
    source, UsageError for options that do not fit it or a `dest` that is taken, MachineError for a full disk.
    """
    root = folders.find_root(source_folder)
    folders.check_destination(source_folder, dest)
    source = open_source(root, progress)
    # Refused before anything is written: parts that are not there, a recipe for another model.
    chosen: Plan | None = choose_bits(source, options) if options.min_psnr_db is None else None
    selected = select_parts(source, options)
    job = _Job(source, options, dest, _work_folder(source, dest, options), progress)
    job.work.mkdir(parents=True, exist_ok=True)
    rig = _open_rig(job)
    if chosen is None:
        chosen = _find_mixed(job, rig, selected)
    bundle, plans, fits = _write_model(job, chosen)
    result = _measure(job, rig, chosen, bundle, plans, fits)
    _describe(job, bundle, chosen, result)
    folders.sync_folder(bundle)
    move_over(bundle, dest)
    for work in folders.find_work(dest):  # also what other sources or prompts left for this name
        shutil.rmtree(work, ignore_errors=True)
    return result


def _work_folder(source: Source, dest: Path, options: Options) -> Path:
    """The same for the same source and drawings, so that what was measured serves other plans too."""
    rows = json.dumps([WORK_FORMAT, source.hash, options.prompts])
    return folders.work_folder(dest, hashlib.sha256(rows.encode()).hexdigest()[:16])


def _open_rig(job: _Job) -> Rig | str:
    if not job.options.measure and job.options.min_psnr_db is None:
        return "it was not asked for"
    probes = make_probes(job.options.prompts)
    return open_rig(
        job.source.folder,
        job.source.packages,
        probes,
        job.work,
        lambda done, total: job.progress("drawing with the original", done / total),
    )


def _find_mixed(job: _Job, rig: Rig | str, selected: Mapping[str, Mapping[str, Weight]]) -> Plan:
    if isinstance(rig, str):
        with contextlib.suppress(OSError):
            job.work.rmdir()  # unless it holds unfinished work
        raise MachineError(
            f"mixed bits go by pictures, and this model cannot be drawn with here: {rig}",
            "use one number of bits for all: --bits 6, or a --recipe that was made elsewhere",
        )
    assert job.options.min_psnr_db is not None
    return find_mixed_plan(
        job.source.packages,
        selected,
        rig,
        job.options.min_psnr_db,
        job.work,
        job.options.n_workers,
        job.progress,
    )


def _write_model(job: _Job, chosen: Plan) -> tuple[Path, dict[str, PackagePlan], dict[tuple[str, str], Fit]]:
    """The compressed model in a folder of its own, all but the report."""
    source = job.source
    plans = {part: plan_package(source.packages[part], one) for part, one in chosen.items()}
    folders.check_space(job.dest.parent, sum(plan.size_bytes for plan in plans.values()))
    key = hashlib.sha256(write_recipe(chosen).encode()).hexdigest()[:16]
    bundle = job.work / key / "model"
    bundle.mkdir(parents=True, exist_ok=True)
    fits = _fill_packages(job, plans, bundle)
    rewritten = set()
    for part, plan in plans.items():
        package = source.packages[part]
        rewritten.add(package.path.name)
        finish_package(plan, package, bundle / package.path.name)
    folders.copy_others(source.folder, bundle, rewritten)
    return bundle, plans, fits


def _fill_packages(job: _Job, plans: Mapping[str, PackagePlan], bundle: Path) -> dict[tuple[str, str], Fit]:
    """Compress every weight into its package in `bundle`; (part, weight) -> how near it is."""
    tasks: list[Task] = []
    for part, plan in plans.items():
        package = job.source.packages[part]
        path = weight_path(bundle / package.path.name, package)
        if not path.is_file() or path.stat().st_size != plan.size_bytes:
            laid_out = path.with_name(path.name + ".new")
            start_weight_file(plan, package, laid_out)
            move_over(laid_out, path)
        tasks += make_tasks(part, plan, path)
    total, done = sum(task.n_elements for task in tasks), 0

    def on_done(task: Task) -> None:
        nonlocal done
        done += task.n_elements
        job.progress("compressing", done / total)

    job.progress("compressing", 0.0)
    return run_tasks(tasks, bundle.parent / "journal.jsonl", job.options.n_workers, on_done)


def _measure(
    job: _Job,
    rig: Rig | str,
    chosen: Plan,
    bundle: Path,
    plans: Mapping[str, PackagePlan],
    fits: Mapping[tuple[str, str], Fit],
) -> Result:
    """What was lost: of every weight, and of the pictures."""
    probes, unmeasured = ((), rig) if isinstance(rig, str) else _draw_again(job, rig, bundle)
    return Result(
        folder=job.dest,
        scheme=_name_scheme(chosen),
        wished_db=job.options.min_psnr_db,
        parts=tuple(_part_result(job.source, part, plans[part], bundle, fits) for part in plans),
        probes=probes,
        unmeasured=unmeasured,
        source_hash=job.source.hash,
        runtime="" if isinstance(rig, str) else rig.runtime,
    )


def _draw_again(job: _Job, rig: Rig, bundle: Path) -> tuple[tuple[ProbeResult, ...], str]:
    """(the probes before and after, "") or ((), why the compressed model cannot draw them)."""
    try:
        after = draw_compressed(
            rig, bundle, lambda done, total: job.progress("drawing with the result", done / total)
        )
    except ModelError as error:  # weights so coarse that the answers are no numbers any more
        return (), error.message
    return tuple(ProbeResult(*three) for three in zip(rig.probes, rig.before, after, strict=True)), ""


def _part_result(
    source: Source,
    part: str,
    plan: PackagePlan,
    bundle: Path,
    fits: Mapping[tuple[str, str], Fit],
) -> PartResult:
    package = source.packages[part]
    layers = []
    for name, weight in source.weights[part].items():
        planned = plan.weights.get(name)
        if planned is None:
            size = weight.n_elements * weight.bits // 8
            layers.append(LayerResult(name, weight.tensor.shape, "", weight.bits, size, float("inf")))
            continue
        layers.append(
            LayerResult(
                name=name,
                shape=weight.tensor.shape,
                treatment=palette_name(planned.bits),
                bits_before=weight.bits,
                size_bytes=planned.size_bytes,
                snr_db=fits[part, name].snr_db,
            )
        )
    sizes = folders.size_bytes(package.path), folders.size_bytes(bundle / package.path.name)
    return PartResult(part, *sizes, tuple(layers))


def _name_scheme(chosen: Plan) -> str:
    bits = {one for rows in chosen.values() for one in rows.values()}
    return palette_name(bits.pop()) if len(bits) == 1 else "mixed"


def _describe(job: _Job, bundle: Path, chosen: Plan, result: Result) -> None:
    """Write the report and the recipe, and into the sidecar what was done."""
    folder = bundle / folders.REPORT_FOLDER
    folder.mkdir(exist_ok=True)
    (folder / "recipe.json").write_text(write_recipe(chosen), encoding="utf-8")
    write_report(folder, result)
    entry: dict[str, object] = {
        "scheme": result.scheme,
        "average_bits": round(result.average_bits, 3),
        "parts": sorted(chosen),
        "source_sha256": result.source_hash,
    }
    folders.add_to_sidecar(bundle, entry)
