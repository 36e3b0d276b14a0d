"""Weights compressed by several processes, each kept in a file of its own until all are there.

A piece takes its name when it is written, and holds checksums (it is a zip of arrays): what an earlier
run left is taken up where it is whole, however that run ended.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from audio2img.compression.palettes import Fit, Palettized, palettize
from audio2img.compression.program import Weight, find_weights, read_weights
from audio2img.compression.progress import Count
from audio2img.compression.workers import spread
from audio2img.files import move_over, temporary_path
from audio2img.mlprogram.mlpackage import Package

ELEMENTS_PER_WORKER = 1 << 23  # a process takes .3 s to start: below this one alone is faster


@dataclass(frozen=True)
class Piece:
    """A weight of the package `source` with a palette of `bits`, kept in the file `path`."""

    name: str
    bits: int
    n_elements: int
    source: Path
    path: Path


def plan_piece(folder: Path, source: Path, weight: Weight, bits: int) -> Piece:
    """The piece in `folder` for a weight of the package `source`."""
    # The weight's name comes from the model: it is no name for a file.
    key = hashlib.sha256(f"{source.name}/{weight.name}/{bits}".encode()).hexdigest()[:32]
    return Piece(weight.name, bits, weight.n_elements, source, folder / f"{key}.npz")


def make_pieces(pieces: Iterable[Piece], n_workers: int | None, count: Count) -> dict[Piece, Fit]:
    """Make what is not there yet; how near each piece is. count: of elements.

    n_workers: None chooses. Interrupted, it waits for the weights in work and keeps what is done.
    Raises ModelError for weights that cannot be read.
    """
    _open_package.cache_clear()  # what an earlier call read may have changed since
    fits: dict[Piece, Fit] = {}
    left = []
    for piece in pieces:
        known = read_piece(piece)
        if known is None:
            left.append(piece)
        else:
            fits[piece] = known.fit
            count.add(piece.n_elements)
    left.sort(key=lambda piece: piece.n_elements, reverse=True)  # the longest first: all end together
    n_elements = sum(piece.n_elements for piece in left)
    workers = n_workers or max(1, min(os.cpu_count() or 1, n_elements // ELEMENTS_PER_WORKER))
    for piece, fit in spread(make_piece, left, workers):
        fits[piece] = fit
        count.add(piece.n_elements)
    return fits


def make_piece(piece: Piece) -> Fit:
    """Compress one weight into its file, in a folder that is there."""
    package, weights = _open_package(piece.source)
    done = palettize(read_weights(package, weights[piece.name]), piece.bits)
    temporary = temporary_path(piece.path.parent)
    with temporary.open("wb") as file:
        fit = np.array([done.fit.signal, done.fit.error])
        np.savez(file, indices=done.indices, palette=done.palette, fit=fit)
    move_over(temporary, piece.path)
    return done.fit


def read_piece(piece: Piece) -> Palettized | None:
    """What was made of a piece; None where it is not there, or not whole."""
    try:
        with piece.path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            signal, error = map(float, arrays["fit"])
            return Palettized(arrays["indices"], arrays["palette"], Fit(signal, error))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


@lru_cache(maxsize=1)  # pieces of one part mostly follow each other
def _open_package(path: Path) -> tuple[Package, dict[str, Weight]]:
    package = Package(path)
    return package, find_weights(package.load_function(), 0)
