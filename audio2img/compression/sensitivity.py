"""How much each weight matters: one is compressed, and the part's answer compared with what it was.

The part runs in the reference runtime on inputs that real drawings gave it; only the one constant
changes, in memory. The error of an answer is its mean square over the square of the answer's peak,
so that errors of different parts and calls can be added up, and -10 log10 of it is a PSNR.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from audio2img.compression.drawing import Inputs
from audio2img.compression.palettes import palettize
from audio2img.compression.program import Weight, find_weights, read_weights
from audio2img.compression.progress import Count
from audio2img.compression.workers import spread
from audio2img.mlprogram.graph import Graph, build_graph, to_compute_type
from audio2img.mlprogram.mlpackage import Package
from audio2img.mlprogram.ops import Array
from audio2img.mlprogram.reference import ReferenceModel

WORST_ERROR = 1e3  # of answers that are no numbers any more
TRIALS_PER_WORKER = 24  # below this a second process is not worth its start


Key = tuple[str, str, int]
"""Part, weight and bits."""


@dataclass(frozen=True)
class Trial:
    """One weight of the package `source` to compress alone. calls: a file of inputs, see save_calls."""

    part: str
    name: str
    bits: int
    source: Path
    calls: Path

    @property
    def key(self) -> Key:
        return self.part, self.name, self.bits


def save_calls(path: Path, calls: Sequence[Inputs]) -> None:
    """Write inputs for a part into one file."""
    arrays = {f"{index}/{name}": value for index, call in enumerate(calls) for name, value in call.items()}
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # the names are ours


def load_calls(path: Path) -> list[Inputs]:
    """What save_calls wrote."""
    calls: dict[int, Inputs] = {}
    with np.load(path, allow_pickle=False) as file:
        for key in file.files:
            index, _, name = key.partition("/")
            calls.setdefault(int(index), {})[name] = file[key]
    return [calls[index] for index in sorted(calls)]


def run_trials(
    trials: Sequence[Trial], journal: Path, n_workers: int | None, count: Count
) -> dict[Key, float]:
    """The loss of every trial: what the part's answers are off, the mean of the calls.

    journal: a file where losses are kept; those that it has are not tried again.
    """
    _open_bench.cache_clear()  # what an earlier call read may have changed since
    known = _read_journal(journal)
    losses = {trial.key: known[trial.key] for trial in trials if trial.key in known}
    left = [trial for trial in trials if trial.key not in losses]
    count.add(len(losses))
    workers = n_workers or max(1, min(os.cpu_count() or 1, len(left) // TRIALS_PER_WORKER))
    with journal.open("a", encoding="utf-8") as file:
        for trial, loss in spread(run_trial, left, workers):
            file.write(json.dumps([*trial.key, loss]) + "\n")
            file.flush()
            losses[trial.key] = loss
            count.add()
    return losses


def _read_journal(path: Path) -> dict[Key, float]:
    """The losses in a journal, whose lines may be cut off."""
    losses: dict[Key, float] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, TypeError):
                part, name, bits, loss = json.loads(line)
                losses[part, name, bits] = float(loss)
    return losses


@dataclass(frozen=True, eq=False)
class _Bench:
    """A part ready for trials: its graph, the inputs, and its answers to them as it is."""

    package: Package
    weights: Mapping[str, Weight]
    graph: Graph
    calls: list[Inputs]
    answers: list[dict[str, Array]]


@lru_cache(maxsize=1)  # the trials of one part follow each other
def _open_bench(source: Path, calls_path: Path) -> _Bench:
    package = Package(source)
    graph = build_graph(package)
    model, calls = ReferenceModel(package, graph), load_calls(calls_path)
    answers = [model.predict(call) for call in calls]
    return _Bench(package, find_weights(package.load_function(), 0), graph, calls, answers)


def run_trial(trial: Trial) -> float:
    """Compress one weight and compare the part's answers."""
    bench = _open_bench(trial.source, trial.calls)
    weight = bench.weights[trial.name]
    palettized = palettize(read_weights(bench.package, weight), trial.bits)
    decoded = palettized.decode(weight.tensor.shape)
    constants = {**bench.graph.constants, trial.name: to_compute_type(decoded)}
    model = ReferenceModel(bench.package, replace(bench.graph, constants=constants))
    errors = [
        relative_error(answer, model.predict(call))
        for call, answer in zip(bench.calls, bench.answers, strict=True)
    ]
    return float(np.mean(errors))


def relative_error(reference: Mapping[str, Array], other: Mapping[str, Array]) -> float:
    """Mean square of the difference over the square of the peak; the mean of the outputs."""
    errors = []
    for name, exact in reference.items():
        wide = exact.astype(np.float64)
        peak = float(np.abs(wide).max())
        error = float(np.square(wide - other[name]).mean()) / (peak * peak) if peak else 0.0
        errors.append(min(error, WORST_ERROR) if math.isfinite(error) else WORST_ERROR)
    return float(np.mean(errors))
