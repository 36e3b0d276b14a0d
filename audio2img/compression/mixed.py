"""Mixed bits for a model: every weight tried alone, then the smallest plan that is good enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from audio2img.compression.evaluate import (
    Evaluator,
    MemoryEvaluator,
    WeightEvaluator,
    WrittenEvaluator,
)
from audio2img.compression.program import Weight, read_weights
from audio2img.compression.rig import Rig
from audio2img.compression.schemes import Palette, Treatment
from audio2img.compression.search import (
    Choice,
    Name,
    Point,
    Step,
    find_smallest,
    find_steps,
    mean_db,
    plan_after,
    size_after,
)
from audio2img.compression.sensitivity import Key, Loss, Trial, run_trials
from audio2img.compression.tensors import palette_errors, plan_form
from audio2img.errors import UsageError
from audio2img.mlprogram.mlpackage import Package

MIXED_BITS = (2, 4, 6, 8)
"""The palettes that are tried; a weight may also stay as it is."""

ESTIMATED_BITS, ESTIMATED_FROM = 8, 6
"""The error at 8 bits is small beside that of arithmetic: it is reckoned from that at 6, which the
squared error of the weights carries over."""

Basis = Literal["latents", "weights"]
Weights = Mapping[str, Mapping[str, Weight]]


@dataclass(frozen=True)
class MixedPlan:
    """What was found. basis: what psnr_db measures; points: every plan that was measured, for the plot."""

    treatments: dict[str, dict[str, Treatment]]
    psnr_db: float
    basis: Basis
    points: tuple[Point, ...]


def find_mixed_plan(
    packages: Mapping[str, Package],
    weights: Weights,
    rig: Rig | str,
    wished_db: float,
    work: Path,
    n_workers: int | None,
    progress: Callable[[str, float], None],
) -> MixedPlan:
    """The smallest plan for `weights` that keeps `wished_db`.

    rig: without one (a text), the signal of the weights is kept instead of that of the latents.
    work: a folder where trials are kept. Raises UsageError if nothing can be compressed so.
    """
    losses = _measure_losses(packages, weights, rig, work, n_workers, progress)
    choices = make_choices(weights, losses)
    evaluator = _make_evaluator(packages, weights, rig, losses, work)
    points: dict[tuple[Step, ...], Point] = {}

    def measure(taken: Sequence[Step]) -> float:
        label = f"looking for {wished_db:g} dB, plan {len(points) + 1}"
        n_scenes = 1 if isinstance(rig, str) else len(rig.scenes)
        drawn = 0

        def on_scene() -> None:
            nonlocal drawn
            drawn += 1
            progress(label, drawn / n_scenes)

        progress(label, 0.0)
        psnr_db = mean_db(evaluator.measure(plan_after(taken), on_scene))
        points[tuple(taken)] = Point(size_after(choices, taken), psnr_db)
        return psnr_db

    kept = find_smallest(find_steps(choices), measure, wished_db)
    if not kept:
        best = max((point.psnr_db for point in points.values()), default=float("-inf"))
        raise UsageError(
            f"no compression keeps {wished_db:g} dB (the best that was tried keeps {best:.1f})",
            f"ask for less: --min-psnr {max(1, int(best)):d}",
        )
    basis: Basis = "weights" if isinstance(rig, str) else "latents"
    return MixedPlan(plan_after(kept), points[tuple(kept)].psnr_db, basis, tuple(points.values()))


def make_choices(weights: Weights, losses: Mapping[Key, Loss]) -> dict[Name, list[Choice]]:
    """What each weight may become, with its size and the error that it adds."""
    choices: dict[Name, list[Choice]] = {}
    for part, rows in weights.items():
        for name, weight in rows.items():
            row = [Choice(None, weight.n_elements * weight.bits // 8, 0.0)]
            for treatment in _treatments(weight):
                form = plan_form(weight.tensor, weight.axis, treatment, modern=False)
                row.append(Choice(treatment, form.size_bytes, losses[part, name, treatment].error))
            choices[part, name] = row
    return choices


def _treatments(weight: Weight) -> list[Palette]:
    return [Palette(bits) for bits in MIXED_BITS if bits < weight.bits]


def _measure_losses(
    packages: Mapping[str, Package],
    weights: Weights,
    rig: Rig | str,
    work: Path,
    n_workers: int | None,
    progress: Callable[[str, float], None],
) -> dict[Key, Loss]:
    """The loss of every weight at every treatment."""
    if isinstance(rig, str) or rig.runtime != "reference":
        return _weight_losses(packages, weights, progress)
    trials = [
        Trial(part, name, treatment, packages[part].path, rig.calls[part])
        for part, rows in weights.items()
        for name, weight in rows.items()
        for treatment in _treatments(weight)
        if treatment.bits != ESTIMATED_BITS
    ]

    def on_done(done: int, total: int) -> None:
        progress("trying every weight alone", done / max(1, total))

    losses = run_trials(trials, work / "trials.jsonl", n_workers, on_done)
    for part, rows in weights.items():
        for name, weight in rows.items():
            if weight.bits > ESTIMATED_BITS:
                known = losses[part, name, Palette(ESTIMATED_FROM)]
                (weight_error,) = palette_errors(read_weights(packages[part], weight), (ESTIMATED_BITS,))
                ratio = weight_error / known.weight_error if known.weight_error else 0.0
                losses[part, name, Palette(ESTIMATED_BITS)] = Loss(known.error * ratio, weight_error)
    return losses


def _weight_losses(
    packages: Mapping[str, Package], weights: Weights, progress: Callable[[str, float], None]
) -> dict[Key, Loss]:
    """The same from the weights alone: a weight that is off by so much is taken to carry so much into
    the part's answer, whichever it is."""
    losses: dict[Key, Loss] = {}
    total, done = sum(weight.n_elements for rows in weights.values() for weight in rows.values()), 0
    for part, rows in weights.items():
        for name, weight in rows.items():
            treatments = _treatments(weight)
            errors = palette_errors(
                read_weights(packages[part], weight), tuple(treatment.bits for treatment in treatments)
            )
            for treatment, error in zip(treatments, errors, strict=True):
                losses[part, name, treatment] = Loss(error, error)
            done += weight.n_elements
            progress("measuring every weight", done / total)
    return losses


def _make_evaluator(
    packages: Mapping[str, Package],
    weights: Weights,
    rig: Rig | str,
    losses: Mapping[Key, Loss],
    work: Path,
) -> Evaluator:
    if isinstance(rig, str):
        return WeightEvaluator(losses, sum(map(len, weights.values())))
    if rig.runtime == "reference":
        return MemoryEvaluator(rig.bundle, packages, weights, rig.models, rig.scenes, rig.before)
    return WrittenEvaluator(rig.bundle, packages, rig.models, rig.scenes, rig.before, work / "trial")
