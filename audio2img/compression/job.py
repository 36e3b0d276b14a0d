"""A model compressed: from the folder of its packages to a new folder, which appears when it is whole."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path

from audio2img.compression import folders
from audio2img.compression.drawing import make_probes
from audio2img.compression.mixed import find_mixed_plan
from audio2img.compression.operation import palette_bytes
from audio2img.compression.package import Writer
from audio2img.compression.palettes import Fit
from audio2img.compression.progress import Count, Progress
from audio2img.compression.recipes import Plan, palette_name, write_recipe
from audio2img.compression.report import write_report
from audio2img.compression.results import (
    LayerResult,
    PartResult,
    ProbeResult,
    Result,
)
from audio2img.compression.rig import Rig, open_rig
from audio2img.compression.search import Name
from audio2img.compression.source import (
    CompressionWishes,
    SourceModel,
    choose_bits,
    open_source,
    select_parts,
)
from audio2img.errors import MachineError, ModelError
from audio2img.files import move_over, size_on_disk

WORK_FORMAT = 2  # raise it when the same options give other bytes: older work is then left alone


def compress(source_folder: Path, dest: Path, options: CompressionWishes, progress: Progress) -> Result:
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
    rig = _open_rig(source, options, progress)
    work = _work_folder(source, dest, options)
    work.mkdir(exist_ok=True)
    writer = Writer(source.packages, source.weights, work / "weights", options.n_workers, progress)
    if chosen is None:
        assert options.min_psnr_db is not None
        assert not isinstance(rig, str)
        chosen = find_mixed_plan(writer, selected, rig, options.min_psnr_db, work)
    bundle = work / "model"
    _check_space(source, chosen, dest.parent)
    fits = _write_model(source, writer, chosen, bundle)
    probes, unmeasured = _draw_again(rig, writer.paths(chosen, bundle), progress)
    result = Result(
        folder=dest,
        scheme=_name_scheme(chosen),
        wished_db=options.min_psnr_db,
        parts=tuple(_part_result(source, part, rows, bundle, fits) for part, rows in chosen.items()),
        probes=probes,
        unmeasured=unmeasured,
        source_hash=source.hash,
        runtime="" if isinstance(rig, str) else rig.runtime,
    )
    _describe(bundle, chosen, result)
    folders.sync_all(bundle)
    move_over(bundle, dest)
    for left in folders.find_work(dest):  # also what other sources or prompts left for this name
        shutil.rmtree(left, ignore_errors=True)
    return result


def _work_folder(source: SourceModel, dest: Path, options: CompressionWishes) -> Path:
    """The same for the same source and drawings, so that what was measured serves other plans too."""
    rows = json.dumps([WORK_FORMAT, source.hash, options.prompts])
    return folders.work_folder(dest, hashlib.sha256(rows.encode()).hexdigest()[:16])


def _open_rig(source: SourceModel, options: CompressionWishes, progress: Progress) -> Rig | str:
    """The original, drawn; or why not. Raises MachineError where mixed bits need it."""
    mixed = options.min_psnr_db is not None
    if not options.measure and not mixed:
        return "it was not asked for"
    rig = open_rig(source.folder, source.packages, make_probes(options.prompts), progress)
    if mixed and isinstance(rig, str):
        raise MachineError(
            f"mixed bits go by pictures, and this model cannot be drawn with here: {rig}",
            "use one number of bits for all: --bits 6, or a --recipe that was made elsewhere",
        )
    return rig


def _check_space(source: SourceModel, chosen: Plan, folder: Path) -> None:
    """Raises MachineError without room for the result, and for its weights while they are collected."""
    needed = sum(path.stat().st_size for path in folders.iter_files(source.folder))
    for part, rows in chosen.items():
        for name, bits in rows.items():
            weight = source.weights[part][name]
            needed += 2 * palette_bytes(weight.tensor, bits) - weight.size_bytes
    folders.check_space(folder, needed)


def _write_model(source: SourceModel, writer: Writer, chosen: Plan, bundle: Path) -> dict[Name, Fit]:
    """The compressed model in the folder `bundle`, all but the report; how near every weight is."""
    shutil.rmtree(bundle, ignore_errors=True)
    bundle.mkdir()
    fits = writer.write(chosen, bundle, "compressing")
    folders.copy_others(source.folder, bundle, {source.packages[part].path.name for part in chosen})
    return fits


def _draw_again(
    rig: Rig | str, packages: Mapping[str, Path], progress: Progress
) -> tuple[tuple[ProbeResult, ...], str]:
    """(the probes before and after, "") or ((), why they are not drawn with the compressed packages)."""
    if isinstance(rig, str):
        return (), rig
    try:
        after = rig.draw(packages, Count(progress, "drawing with the result", len(rig.probes)))
    except ModelError as error:  # weights so coarse that the answers are no numbers any more
        return (), error.message
    return tuple(ProbeResult(*three) for three in zip(rig.probes, rig.before, after, strict=True)), ""


def _part_result(
    source: SourceModel, part: str, rows: Mapping[str, int], bundle: Path, fits: Mapping[Name, Fit]
) -> PartResult:
    path, layers = source.packages[part].path, []
    for name, weight in source.weights[part].items():
        treatment, size, snr_db = "", weight.size_bytes, math.inf
        if name in rows:
            size, snr_db = palette_bytes(weight.tensor, rows[name]), fits[part, name].snr_db
            treatment = palette_name(rows[name])
        layers.append(LayerResult(name, weight.tensor.shape, treatment, weight.bits, size, snr_db))
    sizes = size_on_disk(path), size_on_disk(bundle / path.name)
    return PartResult(part, *sizes, tuple(layers))


def _name_scheme(chosen: Plan) -> str:
    bits = {one for rows in chosen.values() for one in rows.values()}
    return palette_name(bits.pop()) if len(bits) == 1 else "mixed"


def _describe(bundle: Path, chosen: Plan, result: Result) -> None:
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
