"""How fast audio2img is, as ratios against baselines run side by side on the same machine in one go.

Usage: python scripts/benchmark.py [NAME...] [--rounds N] [--json FILE]

Every comparison alternates ours and the baseline (A B A B ...), after one uncounted round,
and reports the median of the pairwise ratios with their range: ratios survive a noisy machine,
single times do not. Peaks of memory are compared in the same way. What this machine cannot
compare is said, and skipped.
"""

from __future__ import annotations

import json
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import bench_diffusers
import bench_listening
import bench_models
import bench_server
import bench_sounds
import click
import numpy as np
from bench_tools import ROW, Comparison, SkippedError, command, measure, timed

ROOT = Path(__file__).resolve().parent.parent
MINI = ROOT / "models" / "mini"
BARE = ROOT / "scripts" / "bare_engines.py"


def start_up() -> Comparison:
    ours = command(sys.executable, "-m", "audio2img", "--version")
    bare = command(sys.executable, "-c", "import click")
    return Comparison("start-up", timed(ours), timed(bare), "import click", 1.5)


def cold_run(folder: Path) -> Comparison:
    """The whole job in a fresh process, against the same engines called by hand one after the other."""
    sound = MINI / "demo.flac"
    models = ("--model", "mini", "--speech-model", "mini-whisper")
    run = (sys.executable, "-m", "audio2img", "run", sound, *models)
    ours = command(*run, "--seed", "7", "-o", folder / "ours")
    bare = command(sys.executable, BARE, sound, "--seed", "7", "-o", folder / "bare.png")
    return Comparison("cold run", timed(ours), timed(bare), "the bare engines in one script")


def reference_picture() -> Comparison:
    """One whole picture of the mini model: NumPy evaluator against torch (diffusers), both loaded."""
    import torch
    from diffusers import StableDiffusionPipeline

    from audio2img.backends.coreml.backend import CoreMLBackend
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

    ours = timed(lambda: backend.generate(request))
    return Comparison("picture, NumPy", ours, timed(torch_picture), "torch", 2.0)


def unet_in_a_process() -> Comparison:
    """A call of the mini UNet in a process of its own, against the same call within this process."""
    from audio2img.backends.coreml.bundle import load_bundle
    from audio2img.backends.coreml.parts import Parts
    from audio2img.backends.coreml.process import ModelProcess

    bundle = load_bundle(MINI / "coreml")
    noise = np.random.default_rng(0)
    inputs = {
        name: noise.standard_normal(spec.shape).astype(spec.dtype)
        for name, spec in bundle.parts["unet"].inputs.items()
    }

    def calls(parts: Parts) -> Callable[[], None]:
        def work() -> None:
            with parts.use("unet") as (unet,):
                for _ in range(20):
                    unet.predict(inputs)

        return work

    own, here = Parts(bundle, process=ModelProcess()), Parts(bundle)
    return Comparison("UNet call, process", timed(calls(own)), timed(calls(here)), "in this process", 1.03)


def decoding(folder: Path, codec: str, suffix: str) -> Comparison:
    """Ten minutes of 44.1 kHz stereo to 16 kHz mono, against the ffmpeg program."""
    from audio2img.audio.decode import decode_audio

    program = shutil.which("ffmpeg")
    if program is None:
        raise SkippedError("it needs the ffmpeg program")
    path = folder / f"ten-minutes{suffix}"
    source = "anoisesrc=d=600:r=44100:a=0.3:seed=1,aformat=channel_layouts=stereo"
    command(program, "-v", "error", "-f", "lavfi", "-i", source, "-c:a", codec, path)()
    raw = folder / "ffmpeg.f32"
    ffmpeg = command(program, "-v", "error", "-y", "-i", path, "-ac", "1", "-ar", "16000", "-f", "f32le", raw)
    ours = timed(lambda: decode_audio(path))
    return Comparison(f"decode {suffix[1:]}", ours, timed(ffmpeg), "the ffmpeg program")


def choose(folder: Path, names: tuple[str, ...]) -> Iterator[tuple[str, Callable[[], Comparison]]]:
    """The comparisons of these names, all of them for none; made when they are called."""
    table: dict[str, Callable[[], Comparison]] = {
        "start-up": start_up,
        "run": lambda: cold_run(folder),
        "picture": reference_picture,
        "unet-process": unet_in_a_process,
        "picture-torch": bench_diffusers.overhead,
        "words": lambda: bench_listening.words("silence"),
        "words-enter": lambda: bench_listening.words("Enter"),
        "wav": lambda: decoding(folder, "pcm_s16le", ".wav"),
        "mp3": lambda: decoding(folder, "libmp3lame", ".mp3"),
        "m4a": lambda: decoding(folder, "aac", ".m4a"),
        "sounds": lambda: bench_sounds.naming(folder),
        "memory-mini": lambda: bench_models.mini_memory(folder),
        "memory-wide": lambda: bench_models.wide_memory(folder),
        "memory-apple": lambda: bench_models.apple_memory(folder),
        "first-step-cold": lambda: bench_models.first_step(folder, is_first_run=True),
        "first-step": lambda: bench_models.first_step(folder, is_first_run=False),
        "server-import": bench_server.importing,
        "server-words": lambda: bench_server.speaking(folder, "words"),
        "server-picture": lambda: bench_server.speaking(folder, "picture"),
        "server-tabs": lambda: bench_server.memory_of_tabs(folder),
        "server-handles": lambda: bench_server.leftovers(folder, "handles"),
        "server-memory": lambda: bench_server.leftovers(folder, "memory"),
    }
    if unknown := set(names) - set(table):
        raise click.UsageError(f"no benchmark called {', '.join(unknown)}; there are: {', '.join(table)}")
    for name in names or table:
        yield name, table[name]


@click.command()
@click.argument("names", nargs=-1)
@click.option("--rounds", type=click.IntRange(1), default=7, show_default=True, help="Counted rounds.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures here too.")
def main(names: tuple[str, ...], rounds: int, json_file: Path | None) -> None:
    """Measure audio2img against its baselines, side by side."""
    results, skipped = [], {}
    click.echo(ROW.format("what", "ours", "theirs", "ratio", "range", "aim", "against"))
    with tempfile.TemporaryDirectory() as folder:
        for name, make in choose(Path(folder), names):
            try:
                results.append(measure(make(), rounds))
                click.echo(results[-1].row())
            except SkippedError as reason:
                skipped[name] = str(reason)
                click.echo(f"{name}: skipped, {reason}")
    if json_file is not None:
        versions = {"python": platform.python_version(), "numpy": np.__version__}
        machine = {"platform": platform.platform(), **versions}
        table = {"machine": machine, "results": [asdict(result) for result in results], "skipped": skipped}
        json_file.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
