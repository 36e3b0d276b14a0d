"""Mixed bits for a model: every weight tried alone, then the smallest plan that is good enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from audio2img.compression.evaluate import (
    Evaluator,
    MemoryEvaluator,
    WrittenEvaluator,
)
from audio2img.compression.palettes import palette_bytes, palette_errors
from audio2img.compression.program import Weight, read_weights
from audio2img.compression.rig import Rig
from audio2img.compression.search import (
    Choice,
    Name,
    Step,
    find_smallest,
    find_steps,
    mean_db,
    plan_after,
)
from audio2img.compression.sensitivity import Key, Loss, Trial, run_trials
from audio2img.errors import UsageError
from audio2img.mlprogram.mlpackage import Package

MIXED_BITS = (2, 4, 6, 8)
"""The palettes that are tried; a weight may also stay as it is."""

ESTIMATED_BITS, ESTIMATED_FROM = 8, 6
"""The error at 8 bits is small beside that of arithmetic: it is reckoned from that at 6, which the
squared error of the weights carries over."""

Weights = Mapping[str, Mapping[str, Weight]]


def find_mixed_plan(
    packages: Mapping[str, Package],
    weights: Weights,
    rig: Rig,
    wished_db: float,
    work: Path,
    n_workers: int | None,
    progress: Callable[[str, float], None],
) -> dict[str, dict[str, int]]:
    """The smallest plan for `weights` whose latents keep `wished_db`: part -> weight -> bits.

    work: a folder where trials are kept. Raises UsageError if nothing can be compressed so.
    """
    losses = _measure_losses(packages, weights, rig, work, n_workers, progress)
    evaluator = _make_evaluator(packages, weights, rig, work)
    measured: list[float] = []

    def measure(taken: Sequence[Step]) -> float:
        label = f"looking for {wished_db:g} dB, plan {len(measured) + 1}"
        drawn = 0

        def on_probe() -> None:
            nonlocal drawn
            drawn += 1
            progress(label, drawn / len(rig.probes))

        progress(label, 0.0)
        measured.append(mean_db(evaluator.measure(plan_after(taken), on_probe)))
        return measured[-1]

    kept = find_smallest(find_steps(make_choices(weights, losses)), measure, wished_db)
    if not kept:
        best = max(measured, default=float("-inf"))
        raise UsageError(
            f"no compression keeps {wished_db:g} dB (the best that was tried keeps {best:.1f})",
            f"ask for less: --min-psnr {max(1, int(best)):d}",
        )
    return plan_after(kept)


def make_choices(weights: Weights, losses: Mapping[Key, Loss]) -> dict[Name, list[Choice]]:
    """What each weight may become, with its size and the error that it adds."""
    choices: dict[Name, list[Choice]] = {}
    for part, rows in weights.items():
        for name, weight in rows.items():
            row = [Choice(None, weight.n_elements * weight.bits // 8, 0.0)]
            for bits in _choices(weight):
                size = palette_bytes(weight.tensor, bits)
                row.append(Choice(bits, size, losses[part, name, bits].error))
            choices[part, name] = row
    return choices


def _choices(weight: Weight) -> tuple[int, ...]:
    return tuple(bits for bits in MIXED_BITS if bits < weight.bits)


def _measure_losses(
    packages: Mapping[str, Package],
    weights: Weights,
    rig: Rig,
    work: Path,
    n_workers: int | None,
    progress: Callable[[str, float], None],
) -> dict[Key, Loss]:
    """The loss of every weight at every number of bits."""
    if rig.runtime != "reference":
        return _weight_losses(packages, weights, progress)
    trials = [
        Trial(part, name, bits, packages[part].path, rig.calls[part])
        for part, rows in weights.items()
        for name, weight in rows.items()
        for bits in _choices(weight)
        if bits != ESTIMATED_BITS
    ]

    def on_done(done: int, total: int) -> None:
        progress("trying every weight alone", done / max(1, total))

    losses = run_trials(trials, work / "trials.jsonl", n_workers, on_done)
    for part, rows in weights.items():
        for name, weight in rows.items():
            if weight.bits > ESTIMATED_BITS:
                known = losses[part, name, ESTIMATED_FROM]
                (weight_error,) = palette_errors(read_weights(packages[part], weight), (ESTIMATED_BITS,))
                ratio = weight_error / known.weight_error if known.weight_error else 0.0
                losses[part, name, ESTIMATED_BITS] = Loss(known.error * ratio, weight_error)
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
            choices = _choices(weight)
            errors = palette_errors(read_weights(packages[part], weight), choices)
            for bits, error in zip(choices, errors, strict=True):
                losses[part, name, bits] = Loss(error, error)
            done += weight.n_elements
            progress("measuring every weight", done / total)
    return losses


def _make_evaluator(packages: Mapping[str, Package], weights: Weights, rig: Rig, work: Path) -> Evaluator:
    if rig.runtime == "reference":
        return MemoryEvaluator(rig.bundle, packages, weights, rig.models, rig.probes, rig.before)
    return WrittenEvaluator(rig.bundle, packages, rig.models, rig.probes, rig.before, work / "trial")
