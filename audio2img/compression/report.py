"""The report beside a compressed model: Markdown to read, JSON to reckon with, and a picture."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audio2img import __version__
from audio2img.compression.contact_sheet import save_contact_sheet
from audio2img.compression.results import LayerResult, PartResult, Result

CONTACT_SHEET = "before_after.png"
EXACT = "exact"


def write_report(folder: Path, result: Result) -> None:
    """Write report.json, report.md and the picture of both into `folder`."""
    if result.probes:
        save_contact_sheet(result.probes, folder / CONTACT_SHEET)
    text = json.dumps(as_table(result), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    (folder / "report.md").write_text("\n".join(_markdown(result)) + "\n", encoding="utf-8")


def as_table(result: Result) -> dict[str, Any]:
    """The report as plain JSON values. Signals are in dB; null stands for no loss at all, or not measured
    (then "unmeasured" says why)."""
    return {
        "audio2img": __version__,
        "scheme": result.scheme,
        "wished_db": result.wished_db,
        "source_sha256": result.source_hash,
        "size_before": result.size_before,
        "size_after": result.size_after,
        "average_bits": round(result.average_bits, 4),
        "latents_db": _finite(result.latents_db),
        "picture_db": _finite(result.picture_db),
        "runtime": result.runtime,
        "unmeasured": result.unmeasured,
        "scenes": [
            {
                "prompt": one.probe.prompt,
                "seed": one.probe.seed,
                "latents_db": _finite(one.latents_db),
                "picture_db": _finite(one.picture_db),
            }
            for one in result.probes
        ],
        "parts": [_part_table(part) for part in result.parts],
    }


def _part_table(part: PartResult) -> dict[str, Any]:
    return {
        "name": part.name,
        "size_before": part.size_before,
        "size_after": part.size_after,
        "layers": [
            {
                "name": layer.name,
                "shape": list(layer.shape),
                "treatment": layer.treatment,
                "bits_before": layer.bits_before,
                "bits": round(layer.bits, 4),
                "size_bytes": layer.size_bytes,
                "snr_db": _finite(layer.snr_db),
            }
            for layer in part.layers
        ],
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else round(value, 3)


def _markdown(result: Result) -> Iterator[str]:
    yield "# What compression did"
    yield ""
    saved = 100 * (1 - result.size_after / result.size_before)
    yield (
        f"{_megabytes(result.size_before)} became {_megabytes(result.size_after)} ({saved:.0f} % less), "
        f"{result.average_bits:.2f} bits a weight. Scheme: {result.scheme}."
    )
    yield ""
    yield from _signal_lines(result)
    yield from ("| part | before | after | bits a weight |", "|---|---:|---:|---:|")
    for part in result.parts:
        sizes = f"{_megabytes(part.size_before)} | {_megabytes(part.size_after)}"
        yield f"| {part.name} | {sizes} | {part.average_bits:.2f} |"
    for part in result.parts:
        yield from ("", f"## {part.name}", "")
        yield "| weight | shape | becomes | bits | SNR of its values, dB |"
        yield "|---|---|---|---:|---:|"
        yield from map(_layer_row, part.layers)
    yield from ("", f"Made by audio2img {__version__} from the model with SHA-256 {result.source_hash}.")


def _signal_lines(result: Result) -> Iterator[str]:
    if result.wished_db is not None:
        yield f"Mixed bits, chosen to keep {result.wished_db:g} dB of signal of the denoised latents."
        yield ""
    if not result.probes:
        yield f"No picture was drawn: {result.unmeasured}. What is given below is about the weights alone."
        yield ""
        return
    yield (
        f"Drawn again with the same prompts and seeds ({result.runtime} runtime), the latents keep "
        f"{_db(result.latents_db)} dB and the pictures {_db(result.picture_db)} dB (PSNR, mean)."
    )
    yield from ("", "| prompt | seed | latents dB | picture dB |", "|---|---:|---:|---:|")
    for one in result.probes:
        prompt = one.probe.prompt.replace("|", "\\|")
        yield f"| {prompt} | {one.probe.seed} | {_db(one.latents_db)} | {_db(one.picture_db)} |"
    yield from ("", f"![before and after]({CONTACT_SHEET})", "")


def _layer_row(layer: LayerResult) -> str:
    shape = "x".join(map(str, layer.shape))
    becomes = layer.treatment or "as it was"
    return f"| {layer.name} | {shape} | {becomes} | {layer.bits:.2f} | {_db(layer.snr_db)} |"


def _db(value: float | None) -> str:
    if value is None:
        return ""
    return EXACT if math.isinf(value) else f"{value:.1f}"


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
