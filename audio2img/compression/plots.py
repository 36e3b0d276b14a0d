"""The pictures of a report: a sheet of drawings before and after, and size against signal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from audio2img.compression.results import Result, SceneResult
from audio2img.compression.source import LATENT_PARTS
from audio2img.diffusion import Pixels

TILE = 256  # pixels: pictures are shown no larger, small ones enlarged by whole numbers
GAP = 8
CAPTION = 18
INK, PAPER = (40, 40, 40), (255, 255, 255)
TOP_DB = 100.0  # where the plot puts what was not measurably lost


def save_contact_sheet(scenes: Sequence[SceneResult], path: Path) -> None:
    """A PNG with a row for each scene: before, after, and what the latents kept."""
    height = CAPTION + GAP + len(scenes) * (TILE + CAPTION + GAP)
    sheet = Image.new("RGB", (2 * TILE + 3 * GAP, height), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    pen.text((GAP, GAP // 2), "before", INK, font)
    pen.text((TILE + 2 * GAP, GAP // 2), "after", INK, font)
    for index, one in enumerate(scenes):
        top = CAPTION + GAP + index * (TILE + CAPTION + GAP)
        assert one.before.pixels is not None
        assert one.after.pixels is not None
        sheet.paste(_tile(one.before.pixels), (GAP, top))
        sheet.paste(_tile(one.after.pixels), (TILE + 2 * GAP, top))
        kept = "exact" if math.isinf(one.picture_db) else f"{one.picture_db:.1f} dB"
        caption = f"{_printable(one.scene.prompt)[:48]} (seed {one.scene.seed}): {kept}"
        pen.text((GAP, top + TILE + 2), caption, INK, font)
    sheet.save(path)


def _tile(pixels: Pixels) -> Image.Image:
    """The picture, TILE pixels high and wide at most; a small one keeps its pixels as blocks."""
    image = Image.fromarray(pixels)
    longest = max(image.size)
    if longest > TILE:
        image.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
        return image
    factor = TILE // longest
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _printable(text: str) -> str:
    """`text` in the letters that Pillow's own font has."""
    return text.encode("latin-1", "replace").decode("latin-1")


def plot_signal(result: Result, path: Path) -> bool:
    """Write the plot of size against signal; False without matplotlib (the `compress` extra)."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(6.4, 4.2), dpi=100, layout="constrained")
    axes = FigureCanvasAgg(figure).figure.add_subplot()
    if result.curve:
        _plot_plans(axes, result)
    else:
        _plot_weights(axes, result)
    axes.grid(alpha=0.3)
    figure.savefig(path)
    return True


def _plot_plans(axes: Any, result: Result) -> None:
    """Signal of the latents against the size of the weights, for uniform and mixed plans and this one."""
    uniform = [point for point in result.curve if point.label != "mixed"]
    mixed = sorted((point.size_bytes, point.psnr_db) for point in result.curve if point.label == "mixed")
    _line(axes, [(p.size_bytes, p.psnr_db) for p in uniform], "o-", "the same bits for every weight")
    for point in uniform:
        axes.annotate(
            point.label,
            (point.size_bytes / 1e6, min(point.psnr_db, TOP_DB)),
            textcoords="offset points",
            xytext=(6, -12),
        )
    _line(axes, mixed, "s", "mixed bits that were tried", markersize=4)
    if result.latents_db is not None:
        layers = [layer for part in result.parts if part.name in LATENT_PARTS for layer in part.layers]
        if layers:
            here = (sum(layer.size_bytes for layer in layers), result.latents_db)
            _line(axes, [here], "*", f"this one: {result.scheme}", markersize=14)
    if result.wished_db is not None:
        axes.axhline(result.wished_db, color="gray", linewidth=0.8)
    axes.set_xlabel("size of the weights, MB")
    axes.set_ylabel("signal of the denoised latents, dB (PSNR)")
    axes.legend()


def _plot_weights(axes: Any, result: Result) -> None:
    """What was not drawn: the signal of each weight's own values against the bits that it takes."""
    for part in result.parts:
        rows = [(layer.bits, layer.snr_db) for layer in part.layers if layer.treatment]
        axes.plot(
            [bits for bits, _ in rows], [min(snr, TOP_DB) for _, snr in rows], "o", alpha=0.5, label=part.name
        )
    axes.set_xlabel("bits a weight")
    axes.set_ylabel("signal of the weights' values, dB (SNR)")
    axes.legend()


def _line(axes: Any, points: Sequence[tuple[int, float]], style: str, label: str, **options: Any) -> None:
    if points:
        sizes = [size / 1e6 for size, _ in points]
        signals = [min(signal, TOP_DB) for _, signal in points]
        axes.plot(sizes, signals, style, label=label, **options)
