"""A picture of a recording: its spectrogram, and under it which sounds were heard when."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio2img.errors import MachineError
from audio2img.installation import how_to_add
from audio2img.output.files import write_new_file
from audio2img.output.naming import numbered_names
from audio2img.types import SAMPLE_RATE_HZ, SoundEvents

ROWS = 8  # of sounds
COLUMNS = 1024  # more than a plot has pixels for; the loudest of each stretch is shown
RANGE_DB = 70.0  # from the loudest down
LONG_S = 600.0  # from here on the plot counts minutes


def check_plotting() -> None:
    """Raises MachineError where matplotlib is not installed, before hours of sound are judged."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise MachineError("drawing the plot needs the package matplotlib", how_to_add("sounds")) from None


def write_sound_plot(
    sounds: SoundEvents, decibels: NDArray[np.float32], column_s: float, title: str, path: Path
) -> Path:
    """Write the plot as PNG to `path`, or to the same name with a number where that is taken; its path.

    decibels: (frequencies, columns) float32 from 0 to half the sample rate, a column every `column_s`
    seconds. Raises MachineError without matplotlib, or when the disk refuses.
    """
    check_plotting()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [category.name for category in sounds.summary.categories[:ROWS]]
    figure = Figure(figsize=(10, 3.6 + 0.28 * len(names)), dpi=120, layout="constrained")
    above, below = FigureCanvasAgg(figure).figure.subplots(
        2, 1, sharex=True, height_ratios=(3.0, 0.3 * len(names) + 0.2)
    )
    unit_s, unit = (60.0, "minutes") if sounds.summary.duration_s > LONG_S else (1.0, "seconds")
    _draw_spectrogram(above, decibels, max(1, decibels.shape[1]) * column_s / unit_s)
    image = _draw_sounds(below, names, sounds, unit_s)
    below.set_xlabel(unit)
    below.set_xlim(0, sounds.summary.duration_s / unit_s)
    above.set_title(_plain(title), fontsize=10)
    figure.colorbar(image, ax=below, label="score", fraction=0.03, pad=0.01)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return write_new_file(path.parent, _names(path), buffer.getvalue())


def _names(path: Path) -> Iterator[str]:
    return numbered_names(path.name if path.suffix.lower() == ".png" else f"{path.name}.png")


def _draw_spectrogram(axes: Any, decibels: NDArray[np.float32], end: float) -> None:
    top = float(decibels.max()) if decibels.size else 0.0
    axes.imshow(
        decibels if decibels.size else np.full((1, 1), -RANGE_DB),
        origin="lower",
        aspect="auto",
        extent=(0, end, 0, SAMPLE_RATE_HZ / 2000),
        cmap="magma",
        vmin=top - RANGE_DB,
        vmax=top,
        interpolation="nearest",
    )
    axes.set_ylabel("kHz")


def _draw_sounds(axes: Any, names: list[str], sounds: SoundEvents, unit_s: float) -> Any:
    """A row for each name, darker where it scores higher."""
    duration_s = sounds.summary.duration_s
    grid = make_grid(sounds, names, min(COLUMNS, len(sounds.starts_s)))
    image = axes.imshow(
        grid, aspect="auto", extent=(0, duration_s / unit_s, len(names) - 0.5, -0.5), cmap="Blues",
        vmin=0, vmax=1, interpolation="nearest",
    )  # fmt: skip
    axes.set_yticks(range(len(names)), [_plain(name) for name in names], fontsize=8)
    return image


def make_grid(sounds: SoundEvents, names: list[str], n_columns: int) -> NDArray[np.float32]:
    """(len(names), n_columns) float32: the highest score of each name in each stretch of the recording.

    A score that is not among the kept ones of its window counts as zero.
    """
    rows = {sounds.names.index(name): row for row, name in enumerate(names)}
    grid = np.zeros((len(names), n_columns), np.float32)
    columns = np.minimum(np.arange(len(sounds.starts_s)) * n_columns // len(sounds.starts_s), n_columns - 1)
    for number, row in rows.items():
        window, place = np.nonzero(sounds.classes == number)
        np.maximum.at(grid[row], columns[window], sounds.scores[window, place])
    return grid


def _plain(text: str) -> str:
    """`text` so that matplotlib takes no part of it for a formula, and nothing for a control character."""
    return "".join(letter if letter.isprintable() else " " for letter in text).replace("$", r"\$")
