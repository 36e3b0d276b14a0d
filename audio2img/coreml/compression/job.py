"""A model compressed: from the folder of its packages to a new folder, which appears when it is whole."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from audio2img.coreml.compression import folders
from audio2img.coreml.compression.package import (
    PackagePlan,
    finish_package,
    plan_package,
    start_weight_file,
    weight_path,
)
from audio2img.coreml.compression.program import Weight, find_weights, has_infinity
from audio2img.coreml.compression.recipes import Plan, read_recipe, write_recipe
from audio2img.coreml.compression.schemes import Treatment, write_treatment
from audio2img.coreml.compression.tensors import Fit
from audio2img.coreml.compression.workers import Task, make_tasks, run_tasks
from audio2img.coreml.mlpackage import Package
from audio2img.errors import UsageError

Progress = Callable[[str, float], None]
"""Called with what is being done and how much of it is (0 to 1)."""

WORK_FORMAT = 1  # raise it when the same options give other bytes: older work is then left alone


@dataclass(frozen=True)
class Options:
    """How to compress. One of treatment and recipe is given.

    treatment: the same for every weight; recipe: a file that says what each becomes (recipe_name: which
    of several in it); parts: the parts to compress, None for all (a recipe: those it names);
    n_workers: processes, None chooses.
    """

    treatment: Treatment | None = None
    recipe: Path | None = None
    recipe_name: str | None = None
    parts: tuple[str, ...] | None = None
    n_workers: int | None = None


@dataclass(frozen=True)
class Source:
    """The model to compress: its parts, opened, with the weights that can be made smaller."""

    folder: Path
    hash: str
    packages: Mapping[str, Package]
    weights: Mapping[str, Mapping[str, Weight]]


@dataclass(frozen=True)
class LayerResult:
    """A weight before and after. treatment: "" where it stayed as it was; size_bytes: after."""

    name: str
    shape: tuple[int, ...]
    treatment: str
    bits_before: float
    size_bytes: int
    snr_db: float

    @property
    def n_elements(self) -> int:
        count = 1
        for length in self.shape:
            count *= length
        return count


@dataclass(frozen=True)
class PartResult:
    """A part before and after; sizes are those of the whole package."""

    name: str
    size_before: int
    size_after: int
    layers: tuple[LayerResult, ...]


def open_source(folder: Path, progress: Progress) -> Source:
    """Open and check every part of the model in `folder`. Raises ModelError if one is damaged."""
    packages = {part: Package(path) for part, path in folders.find_packages(folder).items()}
    weights: dict[str, dict[str, Weight]] = {}
    for index, (part, package) in enumerate(packages.items()):
        progress("reading the model", index / len(packages))
        found = find_weights(package.load_function())
        weights[part] = {name: weight for name, weight in found.items() if not has_infinity(package, weight)}
        plan_package(package, {})  # finds every other value that the program refers to
    return Source(folder, folders.hash_folder(folder), packages, weights)


def choose_treatments(source: Source, options: Options) -> dict[str, dict[str, Treatment]]:
    """Part -> weight -> what it becomes. Raises UsageError if the options do not fit the model."""
    unknown = set(options.parts or ()) - source.packages.keys()
    if unknown:
        raise UsageError(
            f"the model has no part {sorted(unknown)[0]!r}", f"choose from: {', '.join(source.packages)}"
        )
    if options.recipe is not None:
        plan = read_recipe(options.recipe, source.weights, options.recipe_name)
    else:
        assert options.treatment is not None
        plan = {part: dict.fromkeys(weights, options.treatment) for part, weights in source.weights.items()}
    chosen: dict[str, dict[str, Treatment]] = {}
    for part, treatments in plan.items():
        weights = source.weights[part]
        smaller = {name: one for name, one in treatments.items() if one.bits < weights[name].bits}
        if smaller and (options.parts is None or part in options.parts):
            chosen[part] = smaller
    if not chosen:
        raise UsageError(
            f"nothing in {source.folder} would get smaller", "ask for fewer bits, or start from the original"
        )
    return chosen


def compress(source_folder: Path, dest: Path, options: Options, progress: Progress) -> tuple[PartResult, ...]:
    """Compress the model in `source_folder` into the new folder `dest`; what became of each part.

    The source is only read. What is finished is kept in a hidden folder beside `dest` until all of it
    is, and the same call takes it up again after an interruption. Raises ModelError for a damaged
    source, UsageError for options that do not fit it or a `dest` that is taken, MachineError for a full disk.
    """
    root = folders.find_root(source_folder)
    folders.check_destination(source_folder, dest)
    source = open_source(root, progress)
    chosen = choose_treatments(source, options)
    plans = {part: plan_package(source.packages[part], one) for part, one in chosen.items()}
    folders.check_space(dest.parent, sum(plan.size_bytes for plan in plans.values()))
    work = dest.parent / f".{dest.name}.compress-{_key(source, chosen)}"
    bundle = work / "model"
    bundle.mkdir(parents=True, exist_ok=True)
    fits = _fill_packages(source, plans, work, options.n_workers, progress)
    for part, plan in plans.items():
        finish_package(plan, source.packages[part], bundle / source.packages[part].path.name)
    folders.copy_others(root, bundle, {source.packages[part].path.name for part in plans})
    results = tuple(_part_result(source, part, plans[part], bundle, fits) for part in plans)
    _describe(source, bundle, chosen, results)
    folders.sync_folder(bundle)
    os.replace(bundle, dest)
    shutil.rmtree(work, ignore_errors=True)
    return results


def _key(source: Source, chosen: Plan) -> str:
    """Names the work that gives the same result: a hash of the source and of what becomes of it."""
    rows = [WORK_FORMAT, source.hash, write_recipe(chosen)]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def _fill_packages(
    source: Source, plans: Mapping[str, PackagePlan], work: Path, n_workers: int | None, progress: Progress
) -> dict[tuple[str, str], Fit]:
    """Compress every weight into its package in `work`; (part, weight) -> how near it is."""
    tasks: list[Task] = []
    for part, plan in plans.items():
        package = source.packages[part]
        path = weight_path(work / "model" / package.path.name, package)
        if not path.is_file() or path.stat().st_size != plan.size_bytes:
            laid_out = path.with_name(path.name + ".new")
            start_weight_file(plan, package, laid_out)
            os.replace(laid_out, path)
        tasks += make_tasks(part, plan, path)
    total, done = sum(task.n_elements for task in tasks), 0

    def on_done(task: Task) -> None:
        nonlocal done
        done += task.n_elements
        progress("compressing", done / total)

    return run_tasks(tasks, work / "journal.jsonl", n_workers, on_done)


def _part_result(
    source: Source, part: str, plan: PackagePlan, bundle: Path, fits: Mapping[tuple[str, str], Fit]
) -> PartResult:
    package = source.packages[part]
    layers = []
    for name, weight in source.weights[part].items():
        planned = plan.weights.get(name)
        layers.append(
            LayerResult(
                name=name,
                shape=weight.tensor.shape,
                treatment="" if planned is None else write_treatment(planned.treatment),
                bits_before=weight.bits,
                size_bytes=weight.n_elements * weight.bits // 8 if planned is None else planned.size_bytes,
                snr_db=float("inf") if planned is None else fits[part, name].snr_db,
            )
        )
    sizes = folders.size_bytes(package.path), folders.size_bytes(bundle / package.path.name)
    return PartResult(part, *sizes, tuple(layers))


def average_bits(results: tuple[PartResult, ...]) -> float:
    """Bits that a weight of the compressed parts takes on average, palettes and scales included."""
    layers = [layer for result in results for layer in result.layers]
    return 8 * sum(layer.size_bytes for layer in layers) / sum(layer.n_elements for layer in layers)


def _describe(source: Source, bundle: Path, chosen: Plan, results: tuple[PartResult, ...]) -> None:
    """Write the recipe, and into the sidecar what was done."""
    report = bundle / folders.REPORT_FOLDER
    report.mkdir(exist_ok=True)
    (report / "recipe.json").write_text(write_recipe(chosen), encoding="utf-8")
    schemes = sorted({write_treatment(one) for treatments in chosen.values() for one in treatments.values()})
    entry: dict[str, object] = {
        "scheme": schemes[0] if len(schemes) == 1 else "mixed",
        "average_bits": round(average_bits(results), 3),
        "parts": sorted(chosen),
        "source_sha256": source.hash,
    }
    folders.add_to_sidecar(bundle, entry)
