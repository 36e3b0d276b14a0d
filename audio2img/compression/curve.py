"""How much signal palettes of one size keep, at each number of bits: what other plans are compared with."""

from __future__ import annotations

from audio2img.compression.evaluate import MemoryEvaluator
from audio2img.compression.results import CurvePoint
from audio2img.compression.rig import Rig
from audio2img.compression.schemes import Palette
from audio2img.compression.search import mean_db
from audio2img.compression.source import LATENT_PARTS, Progress, Source
from audio2img.compression.tensors import plan_form

UNIFORM_BITS = (8, 6, 4, 2)


def measure_uniform(rig: Rig, source: Source, parts: list[str], progress: Progress) -> list[CurvePoint]:
    """One point for each number of bits, with every weight of `parts` as one palette of that many bits.

    Only for models that the reference runtime draws with, and parts that change the latents.
    """
    measured = [part for part in parts if part in rig.calls and part in LATENT_PARTS]
    if rig.runtime != "reference" or not measured:
        return []
    evaluator = MemoryEvaluator(
        rig.bundle, source.packages, source.weights, rig.models, rig.scenes, rig.before
    )
    points = []
    for index, bits in enumerate(UNIFORM_BITS):
        progress("comparing with other palettes", index / len(UNIFORM_BITS))
        rows = {
            part: {name: weight for name, weight in source.weights[part].items() if bits < weight.bits}
            for part in measured
        }
        if not all(rows.values()):
            continue
        plan = {part: dict.fromkeys(weights, Palette(bits)) for part, weights in rows.items()}
        size = sum(
            plan_form(weight.tensor, weight.axis, Palette(bits), modern=False).size_bytes
            for weights in rows.values()
            for weight in weights.values()
        )
        psnr_db = mean_db(evaluator.measure(plan, lambda: None))
        points.append(CurvePoint(f"{bits} bits", size, psnr_db))
    return points
