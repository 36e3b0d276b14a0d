"""How fast audio2img is, as ratios against baselines run side by side on the same machine in one go.

Usage: python scripts/benchmark.py [NAME...] [--rounds N] [--json FILE]

Every comparison alternates ours and the baseline (A B A B ...), after one uncounted round,
and reports the median of the pairwise ratios with their range: ratios survive a noisy machine,
single times do not.
"""

from __future__ import annotations

import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
MINI = ROOT / "models" / "mini"
BARE = ROOT / "scripts" / "bare_engines.py"

Work = Callable[[], None]


@dataclass(frozen=True)
class Comparison:
    """Ours against a baseline; `aim` is the ratio that we promise not to exceed (None: just measured)."""

    name: str
    ours: Work
    baseline: Work
    against: str
    aim: float | None = None


@dataclass(frozen=True)
class Measured:
    """Medians in seconds, and the pairwise ratios ours / baseline."""

    name: str
    against: str
    ours_s: float
    baseline_s: float
    ratio: float
    ratio_min: float
    ratio_max: float
    aim: float | None
    rounds: int


def measure(comparison: Comparison, rounds: int) -> Measured:
    def timed(work: Work) -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    pairs = [(timed(comparison.ours), timed(comparison.baseline)) for _ in range(rounds + 1)][1:]
    ratios = [ours / baseline for ours, baseline in pairs]
    return Measured(
        comparison.name,
        comparison.against,
        statistics.median(ours for ours, _ in pairs),
        statistics.median(baseline for _, baseline in pairs),
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        comparison.aim,
        rounds,
    )


def command(*arguments: str | Path) -> Work:
    """Run a whole process, its output thrown away; fails loudly when the process does."""

    def work() -> None:
        subprocess.run(list(map(str, arguments)), check=True, capture_output=True)

    return work


def start_up() -> Comparison:
    ours = command(sys.executable, "-m", "audio2img", "--version")
    return Comparison("start-up", ours, command(sys.executable, "-c", "import click"), "import click", 1.5)


def cold_run(folder: Path) -> Comparison:
    """The whole job in a fresh process, against the same engines called by hand one after the other."""
    sound = MINI / "demo.flac"
    ours = command(sys.executable, "-m", "audio2img", "run", sound, "--seed", "7", "-o", folder / "ours")
    bare = command(sys.executable, BARE, sound, "--seed", "7", "-o", folder / "bare.png")
    return Comparison("cold run", ours, bare, "the bare engines in one script")


def reference_picture() -> Comparison:
    """One whole picture of the mini model: NumPy evaluator against torch (diffusers), both loaded."""
    import torch
    from diffusers import StableDiffusionPipeline

    from audio2img.coreml.pipeline import CoreMLBackend
    from audio2img.types import ImageRequest

    backend = CoreMLBackend.load(MINI / "coreml", name="mini")
    pipe = StableDiffusionPipeline.from_pretrained(MINI / "diffusers", torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    defaults = backend.defaults
    request = ImageRequest(
        "a big red house at night", steps=defaults.steps, guidance_scale=defaults.guidance_scale
    )

    def torch_picture() -> None:
        pipe(request.prompt, num_inference_steps=request.steps, guidance_scale=request.guidance_scale)

    return Comparison("picture, NumPy", lambda: void(backend.generate(request)), torch_picture, "torch", 2.0)


def decoding(folder: Path, codec: str, suffix: str) -> Comparison:
    """Ten minutes of 44.1 kHz stereo to 16 kHz mono, against the ffmpeg program."""
    from audio2img.audio.decode import decode_audio

    program = shutil.which("ffmpeg")
    if program is None:
        raise click.ClickException("the decoding benchmark needs the ffmpeg program")
    path = folder / f"ten-minutes{suffix}"
    source = "anoisesrc=d=600:r=44100:a=0.3:seed=1,aformat=channel_layouts=stereo"
    command(program, "-v", "error", "-f", "lavfi", "-i", source, "-c:a", codec, path)()
    raw = folder / "ffmpeg.f32"
    ffmpeg = command(program, "-v", "error", "-y", "-i", path, "-ac", "1", "-ar", "16000", "-f", "f32le", raw)
    return Comparison(f"decode {suffix[1:]}", lambda: void(decode_audio(path)), ffmpeg, "the ffmpeg program")


def void(value: object) -> None:
    """Drop a result, so that a call fits where nothing is returned."""


def comparisons(folder: Path, names: tuple[str, ...]) -> Iterator[Comparison]:
    table: dict[str, Callable[[], Comparison]] = {
        "start-up": start_up,
        "run": lambda: cold_run(folder),
        "picture": reference_picture,
        "wav": lambda: decoding(folder, "pcm_s16le", ".wav"),
        "mp3": lambda: decoding(folder, "libmp3lame", ".mp3"),
        "m4a": lambda: decoding(folder, "aac", ".m4a"),
    }
    if unknown := set(names) - set(table):
        raise click.UsageError(f"no benchmark called {', '.join(unknown)}; there are: {', '.join(table)}")
    for name in names or table:
        yield table[name]()


@click.command()
@click.argument("names", nargs=-1)
@click.option("--rounds", type=click.IntRange(1), default=7, show_default=True, help="Counted rounds.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures here too.")
def main(names: tuple[str, ...], rounds: int, json_file: Path | None) -> None:
    """Measure audio2img against its baselines, side by side."""
    results = []
    row = "{:<16} {:>9} {:>9} {:>7}  {:<13} {:>5}  {}"
    click.echo(row.format("what", "ours s", "theirs s", "ratio", "range", "aim", "against"))
    with tempfile.TemporaryDirectory() as folder:
        for comparison in comparisons(Path(folder), names):
            result = measure(comparison, rounds)
            results.append(result)
            span = f"{result.ratio_min:.2f}-{result.ratio_max:.2f}"
            aim = "" if result.aim is None else f"{result.aim:g}"
            times = f"{result.ours_s:.3f}", f"{result.baseline_s:.3f}", f"{result.ratio:.2f}"
            click.echo(row.format(result.name, *times, span, aim, result.against))
    if json_file is not None:
        versions = {"python": platform.python_version(), "numpy": np.__version__}
        machine = {"platform": platform.platform(), **versions}
        table = {"machine": machine, "results": [asdict(result) for result in results]}
        json_file.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
