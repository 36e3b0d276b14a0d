"""Mixed bits for a model: every weight tried alone, then the smallest plan that is good enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from audio2img.compression.operation import palette_bytes
from audio2img.compression.package import Writer
from audio2img.compression.palettes import palette_errors
from audio2img.compression.program import Weight, read_weights
from audio2img.compression.progress import Count
from audio2img.compression.rig import Rig
from audio2img.compression.search import (
    BitStep,
    Choice,
    Name,
    find_smallest,
    find_steps,
    mean_db,
    plan_after,
)
from audio2img.compression.sensitivity import Key, Trial, run_trials, save_calls
from audio2img.errors import UsageError
from audio2img.files import temporary_folder

MIXED_BITS = (2, 4, 6, 8)
"""The palettes that are tried; a weight may also stay as it is."""

ESTIMATED_BITS, ESTIMATED_FROM = 8, 6
"""The error at 8 bits is small beside that of arithmetic: it is reckoned from that at 6, which the
squared error of the weights carries over."""

Weights = Mapping[str, Mapping[str, Weight]]


def find_mixed_plan(
    writer: Writer, weights: Weights, rig: Rig, wished_db: float, work: Path
) -> dict[str, dict[str, int]]:
    """The smallest plan for `weights` whose latents keep `wished_db`: part -> weight -> bits.

    work: a folder where trials are kept. Raises UsageError if nothing can be compressed so.
    """
    if rig.runtime == "reference":
        losses = _try_weights(writer, weights, rig, work)
    else:  # a trial would be compiled by Core ML, which takes long
        losses = _compare_weights(writer, weights)
    measured: list[float] = []

    def measure(taken: Sequence[BitStep]) -> float:
        label, plan = f"looking for {wished_db:g} dB, plan {len(measured) + 1}", plan_after(taken)
        with temporary_folder(work) as folder:
            writer.write(plan, folder, label)
            count = Count(writer.progress, label, len(rig.probes))
            measured.append(mean_db(rig.try_latents(writer.paths(plan, folder), count)))
        return measured[-1]

    kept = find_smallest(find_steps(make_choices(weights, losses)), measure, wished_db)
    if not kept:
        best = max(measured, default=float("-inf"))
        raise UsageError(
            f"no compression keeps {wished_db:g} dB (the best that was tried keeps {best:.1f})",
            f"ask for less: --min-psnr {max(1, int(best)):d}",
        )
    return plan_after(kept)


def make_choices(weights: Weights, losses: Mapping[Key, float]) -> dict[Name, list[Choice]]:
    """What each weight may become, with its size and the error that it adds."""
    choices: dict[Name, list[Choice]] = {}
    for part, rows in weights.items():
        for name, weight in rows.items():
            row = [Choice(None, weight.size_bytes, 0.0)]
            for bits in _choices(weight):
                row.append(Choice(bits, palette_bytes(weight.tensor, bits), losses[part, name, bits]))
            choices[part, name] = row
    return choices


def _choices(weight: Weight) -> tuple[int, ...]:
    return tuple(bits for bits in MIXED_BITS if bits < weight.bits)


def _try_weights(writer: Writer, weights: Weights, rig: Rig, work: Path) -> dict[Key, float]:
    """What every weight loses at every number of bits, by trying it alone."""
    calls = {part: work / f"{part}.calls.npz" for part in weights}
    for part, path in calls.items():
        save_calls(path, rig.calls[part])
    trials = [
        Trial(part, name, bits, writer.packages[part].path, calls[part])
        for part, rows in weights.items()
        for name, weight in rows.items()
        for bits in _choices(weight)
        if bits != ESTIMATED_BITS
    ]
    count = Count(writer.progress, "trying every weight alone", len(trials))
    losses = run_trials(trials, work / "trials.jsonl", writer.n_workers, count)
    for part, rows in weights.items():
        for name, weight in rows.items():
            if weight.bits > ESTIMATED_BITS:
                values = read_weights(writer.packages[part], weight)
                known, wanted = palette_errors(values, (ESTIMATED_FROM, ESTIMATED_BITS))
                ratio = wanted / known if known else 0.0
                losses[part, name, ESTIMATED_BITS] = ratio * losses[part, name, ESTIMATED_FROM]
    return losses


def _compare_weights(writer: Writer, weights: Weights) -> dict[Key, float]:
    """The same from the weights themselves: one that is off by so much is taken to carry so much into
    the part's answer, whichever it is."""
    losses: dict[Key, float] = {}
    n_elements = sum(weight.n_elements for rows in weights.values() for weight in rows.values())
    count = Count(writer.progress, "measuring every weight", n_elements)
    for part, rows in weights.items():
        for name, weight in rows.items():
            choices = _choices(weight)
            errors = palette_errors(read_weights(writer.packages[part], weight), choices)
            losses |= {(part, name, bits): error for bits, error in zip(choices, errors, strict=True)}
            count.add(weight.n_elements)
    return losses
