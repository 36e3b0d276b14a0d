"""Memory and starting time of drawing: all parts loaded against one at a time, ours against Apple's.

Everything is measured in processes of its own, by what `audio2img doctor --deep` measures with.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench_tools import Comparison, SkippedError

from audio2img.diagnosis.child import Measurement, Workshop
from audio2img.diagnosis.draws import Subject

MINI = Path(__file__).resolve().parent.parent / "models" / "mini"
STEPS = 2
BYTES_PER_MB = 1e6

# A twentieth of Stable Diffusion 2.1 in each part, and so in the same proportion: text encoder 340,
# UNet 866 and decoder 50 million parameters there.
WIDE_UNET = {
    "block_out_channels": [224, 320, 320],
    "attention_head_dim": [7, 10, 10],
    "cross_attention_dim": 384,
}
WIDE_TEXT = {"hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 6, "num_hidden_layers": 9}
WIDE_VAE = {"block_out_channels": [32, 64, 128, 128], "layers_per_block": 2, "norm_num_groups": 32}
WIDE_SEED = 0

APPLE_PROBE = """
import json, resource, sys, time
from pathlib import Path
from audio2img.conversion.apple_tools.oracle import draw_with_apple
from audio2img.backends.coreml.bundle import load_bundle
from audio2img.types import ImageRequest

folder, prompt, seed, steps, units = sys.argv[1:]
bundle = load_bundle(Path(folder))
defaults = bundle.defaults
request = ImageRequest(prompt, seed=int(seed), steps=int(steps),
                       guidance_scale=defaults.guidance_scale, scheduler=defaults.scheduler)
started = time.perf_counter()
times = draw_with_apple(bundle, request, units).timings_s
whole = time.perf_counter() - started
after_first_step = times["total"] - times["load"] - times["first_step"]
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
peak *= 1 if sys.platform == "darwin" else 1024
print(json.dumps({"start_s": whole - after_first_step, "peak_bytes": peak}))
"""


def mini_memory(folder: Path) -> Comparison:
    """The peak of drawing with the mini model, one part at a time against all at once."""
    return _compare_memory("memory, mini", folder, Subject("mini", MINI / "coreml", STEPS, is_mini=True))


def wide_memory(folder: Path) -> Comparison:
    """The same with random weights, a twentieth of Stable Diffusion 2.1."""
    try:
        bundle = make_wide_bundle(folder / "wide")
    except ImportError as error:
        raise SkippedError(f"making the model needs torch, diffusers and coremltools: {error}") from error
    return _compare_memory("memory, SD 2.1 / 20", folder, Subject("wide", bundle, STEPS, is_mini=False))


def _compare_memory(name: str, folder: Path, subject: Subject) -> Comparison:
    shop = _workshop(folder)

    def peak(low_memory: bool) -> Callable[[], float]:
        job = subject.job(low_memory=low_memory)
        return lambda: _figure(shop.run(job, subject.name), "peak_bytes") / BYTES_PER_MB

    return Comparison(name, peak(True), peak(False), "all parts loaded", unit="MB")


def make_wide_bundle(folder: Path) -> Path:
    """A bundle with float16 random weights, converted by our own tracer. Raises ImportError without torch."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from audio2img.conversion import ConversionOptions, convert_model

    torch.manual_seed(WIDE_SEED)
    source = folder / "diffusers"
    shutil.copytree(MINI / "diffusers", source)
    settings = {part: _settings(source / part) for part in ("unet", "text_encoder", "vae")}
    for part in settings:
        shutil.rmtree(source / part)
    UNet2DConditionModel.from_config(settings["unet"] | WIDE_UNET).half().save_pretrained(source / "unet")
    AutoencoderKL.from_config(settings["vae"] | WIDE_VAE).half().save_pretrained(source / "vae")
    text = CLIPTextConfig(**(settings["text_encoder"] | WIDE_TEXT))
    CLIPTextModel(text).half().save_pretrained(source / "text_encoder")
    bundle = folder / "coreml"
    convert_model(source, bundle, ConversionOptions(parts=("text_encoder", "unet", "vae_decoder")))
    return bundle


def _settings(folder: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return content


def first_step(folder: Path, is_first_run: bool) -> Comparison:
    """From the start of the process to the end of the first step; of a first run nothing is compiled yet.

    Both by Core ML on a Mac, elsewhere both by the reference runtime, which compiles nothing.
    """
    subject, units, theirs = _apple_side()
    shop = _workshop(folder)
    runs = iter(range(sys.maxsize))

    def ours() -> float:
        cache = f"first-{next(runs)}" if is_first_run else "again"
        return _figure(shop.run(subject.job(units=units), cache), "start_s")

    name = "first step, 1st run" if is_first_run else "first step, again"
    return Comparison(name, ours, lambda: theirs()["start_s"], "Apple's pipeline")


def apple_memory(folder: Path) -> Comparison:
    """The peak of drawing, against Apple's pipeline."""
    subject, units, theirs = _apple_side()
    shop = _workshop(folder)
    job = subject.job(units=units)
    return Comparison(
        "memory, ours",
        lambda: _figure(shop.run(job, "again"), "peak_bytes") / BYTES_PER_MB,
        lambda: theirs()["peak_bytes"] / BYTES_PER_MB,
        "Apple's pipeline",
        unit="MB",
    )


def _apple_side() -> tuple[Subject, str, Callable[[], dict[str, float]]]:
    """(what is drawn, on which units, Apple's figures for it). Raises SkippedError where it cannot run."""
    from audio2img.backends.coreml.units import choose_compute
    from audio2img.conversion.apple_tools.environment import environment_python
    from audio2img.errors import MachineError

    try:
        environment_python()
    except MachineError as error:
        raise SkippedError(f"{error.message}; {error.remedy}") from error
    subject = Subject("mini", MINI / "coreml", STEPS, is_mini=True)
    units = choose_compute().units
    job = subject.job()
    given = [str(subject.folder), job.prompt, str(job.seed), str(job.steps), units]

    def theirs() -> dict[str, float]:
        done = subprocess.run(
            [sys.executable, "-c", APPLE_PROBE, *given], check=True, stdout=subprocess.PIPE, text=True
        )
        figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return figures

    return subject, units, theirs


def _workshop(folder: Path) -> Workshop:
    place = folder / "jobs"
    place.mkdir(exist_ok=True)
    return Workshop(place)


def _figure(outcome: Measurement, name: str) -> float:
    value = outcome.number(name)
    if outcome.error or value is None:
        raise SkippedError(outcome.error or f"this system does not tell {name}")
    return value
