"""How fast the diffusers backend draws, as ratios to a plain diffusers script on the same machine.

Usage: python scripts/bench_diffusers.py [sd21] [sdxl] [mini] [--batch N]... [--compile] [--rounds N]
       python scripts/bench_diffusers.py overhead

The models have the size of Stable Diffusion 2.1 and XL and random weights, so nothing is
downloaded; they are written to a temporary folder first (2.6 and 7 GB). Each measurement is a
process of its own, ours and the plain one in turn (A B A B ...): from its start to the first
picture, pictures per second after that, and the peak of memory. Ratios are ours to theirs; of
pictures per second more is better, of the others less.

`overhead` compares with the bare pipeline in one process, with the mini model, on the processor.

On a machine without CUDA, sd21 and sdxl take hours: there the mini model shows that this works.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from bench_tools import Comparison, measure

MINI = Path(__file__).resolve().parent.parent / "models" / "mini" / "diffusers"
PROMPT = "a big red house at night"
STEPS = {"sd21": 20, "sdxl": 20, "mini": 20}
N_TIMED = 3  # calls, after the first picture and one more that is not counted
SEED = 0

SD21: dict[str, Any] = {
    "unet": {
        "sample_size": 64, "block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 1024,
        "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True,
    },
    "text_encoder": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23,
                     "num_attention_heads": 16, "hidden_act": "gelu"},
    "vae": {"scaling_factor": 0.18215, "sample_size": 768},
}  # fmt: skip
SDXL: dict[str, Any] = {
    "unet": {
        "sample_size": 128, "block_out_channels": (320, 640, 1280), "cross_attention_dim": 2048,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": (5, 10, 20), "transformer_layers_per_block": (1, 2, 10),
        "use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
    "text_encoder": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
                     "num_attention_heads": 12, "hidden_act": "quick_gelu"},
    "text_encoder_2": {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32,
                       "num_attention_heads": 20, "hidden_act": "gelu", "projection_dim": 1280},
    "vae": {"scaling_factor": 0.13025, "sample_size": 1024},
}  # fmt: skip
SIZES = {"sd21": SD21, "sdxl": SDXL}


def build_model(kind: str, folder: Path) -> Path:
    """A diffusers folder of a model of that size with random weights in half precision."""
    import shutil

    import diffusers
    import torch
    import transformers

    parts = SIZES[kind]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    words = json.loads((MINI / "text_encoder" / "config.json").read_text(encoding="utf-8"))
    marks = {key: words[key] for key in ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id")}
    four = {
        "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 4,
        "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
    }  # fmt: skip
    kinds = {"text_encoder": "CLIPTextModel", "text_encoder_2": "CLIPTextModelWithProjection"}
    for name, settings in parts.items():
        with torch.device("meta"):
            if name in kinds:
                config = transformers.CLIPTextConfig(**marks, **settings)
                network = getattr(transformers, kinds[name])(config)
            elif name == "unet":
                network = diffusers.UNet2DConditionModel(**settings)
            else:
                network = diffusers.AutoencoderKL(**four, **settings)
        fill(network.to(torch.float16).to_empty(device=device)).save_pretrained(folder / name)
        del network
    is_xl = kind == "sdxl"
    for name in ("tokenizer", "tokenizer_2")[: 1 + is_xl]:
        shutil.copytree(MINI / "tokenizer", folder / name)
    shutil.copytree(MINI / "scheduler", folder / "scheduler")
    index: dict[str, Any] = {
        "_class_name": "StableDiffusionXLPipeline" if is_xl else "StableDiffusionPipeline",
        "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        **{name: ["transformers", kinds[name]] for name in kinds if name in parts},
        "tokenizer": ["transformers", "CLIPTokenizer"],
    }
    if is_xl:
        index["tokenizer_2"] = ["transformers", "CLIPTokenizer"]
    else:
        index |= {"safety_checker": [None, None], "feature_extractor": [None, None]}
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def fill(network: Any) -> Any:
    """Random weights that keep the size of what goes through them, so that half precision holds it."""
    import torch

    torch.manual_seed(SEED)
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        with torch.no_grad():
            if tensor.dtype == torch.long:
                tensor.copy_(torch.arange(tensor.shape[-1], device=tensor.device).expand_as(tensor))
            elif tensor.ndim > 1:
                tensor.normal_(0.0, (tensor[0].numel()) ** -0.5)
            else:
                tensor.fill_(1.0 if name.endswith("weight") else 0.0)
    return network


def draw_with_ours(folder: Path, steps: int, batch: int, compile_unet: bool) -> Callable[[], None]:
    from audio2img.backends.torch.backend import DiffusersBackend
    from audio2img.backends.torch.plan import PlanWishes
    from audio2img.types import ImageRequest

    backend = DiffusersBackend.load(folder, wishes=PlanWishes(compile=compile_unet))
    click.echo(f"plan: {backend.plan.describe()}", err=True)
    request = ImageRequest(PROMPT, seed=SEED, steps=steps, guidance_scale=7.5, count=batch)

    def draw() -> None:
        backend.generate_all(request)

    return draw


def draw_with_theirs(folder: Path, steps: int, batch: int) -> Callable[[], None]:
    """What one writes after reading diffusers' front page."""
    import torch
    from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler

    is_cuda = torch.cuda.is_available()
    dtype = torch.float16 if is_cuda else torch.float32
    pipe = DiffusionPipeline.from_pretrained(folder, torch_dtype=dtype)
    pipe = pipe.to("cuda" if is_cuda else "cpu")
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)

    def draw() -> None:
        generator = torch.Generator("cpu").manual_seed(SEED)
        pipe(
            PROMPT, num_inference_steps=steps, guidance_scale=7.5, num_images_per_prompt=batch,
            generator=generator,
        )  # fmt: skip

    return draw


def run_child(role: str, folder: Path, steps: int, batch: int, compile_unet: bool, started: float) -> None:
    """One measurement, printed as JSON. started: when the process was asked for, seconds since 1970."""
    draw = (
        draw_with_ours(folder, steps, batch, compile_unet)
        if role == "ours"
        else draw_with_theirs(folder, steps, batch)
    )
    import torch

    draw()
    first_s = time.time() - started
    draw()
    times = []
    for _ in range(N_TIMED):
        begun = time.perf_counter()
        draw()
        times.append(time.perf_counter() - begun)
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated()
    else:
        import resource  # not on Windows

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    rate = batch / statistics.median(times)
    click.echo(json.dumps({"first_s": first_s, "rate": rate, "peak_bytes": peak}))


def compare(name: str, folder: Path, batch: int, compile_unet: bool, rounds: int) -> dict[str, Any]:
    """Medians and ratios of both, in turn."""
    found: dict[str, list[dict[str, float]]] = {"ours": [], "theirs": []}
    for _ in range(rounds):
        for role, results in found.items():
            command = [sys.executable, __file__, "child", role, str(folder), str(STEPS[name]), str(batch)]
            command += [str(int(compile_unet)), str(time.time())]
            environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            if done.returncode:
                raise click.ClickException(f"{role}, {name}, batch {batch}:\n{done.stderr[-2000:]}")
            results.append(json.loads(done.stdout.strip().splitlines()[-1]))
    figures: dict[str, Any] = {"model": name, "batch": batch, "compiled": compile_unet, "rounds": rounds}
    for key in ("rate", "first_s", "peak_bytes"):
        ours, theirs = ([one[key] for one in found[role]] for role in ("ours", "theirs"))
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        figures[key] = {
            "ours": statistics.median(ours),
            "theirs": statistics.median(theirs),
            "ratio": statistics.median(ratios),
            "range": [min(ratios), max(ratios)],
        }
    return figures


def show(figures: dict[str, Any]) -> None:
    rate, first, peak = (figures[key] for key in ("rate", "first_s", "peak_bytes"))
    how = ", compiled" if figures["compiled"] else ""
    click.echo(
        f"{figures['model']}, batch {figures['batch']}{how}: "
        f"{rate['ours']:.3f} pictures/s against {rate['theirs']:.3f} (x {rate['ratio']:.2f}), "
        f"first picture {first['ours']:.1f} s against {first['theirs']:.1f} (x {first['ratio']:.2f}), "
        f"peak {peak['ours'] / 1e9:.2f} GB against {peak['theirs'] / 1e9:.2f} (x {peak['ratio']:.2f})"
    )


def overhead() -> Comparison:
    """What the backend takes beside its networks: against the bare pipeline, mini model, one process.

    In seconds of the processor, which other programs on the machine do not lengthen much.
    """
    ours = draw_with_ours(MINI, STEPS["mini"], 1, False)
    theirs = draw_with_theirs(MINI, STEPS["mini"], 1)

    def probe(draw: Callable[[], None]) -> Callable[[], float]:
        def spend() -> float:
            begun = time.process_time()
            draw()
            return time.process_time() - begun

        return spend

    return Comparison("picture, torch", probe(ours), probe(theirs), "the bare pipeline", 1.02)


def describe_machine() -> dict[str, str]:
    import diffusers
    import torch

    card = torch.cuda.get_device_name() if torch.cuda.is_available() else f"no CUDA, {os.cpu_count()} cores"
    versions = {"torch": torch.__version__, "diffusers": diffusers.__version__}
    return {"device": card, "platform": platform.platform(), **versions}


@click.command()
@click.argument("models", nargs=-1, type=click.Choice(["sd21", "sdxl", "mini", "overhead"]))
@click.option("--batch", "batches", type=click.IntRange(1), multiple=True, help="1, 4 and 8 unless given.")
@click.option("--compile", "compile_unet", is_flag=True, help="Ours with --compile; theirs stays plain.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures here too.")
def main(
    models: tuple[str, ...], batches: tuple[int, ...], compile_unet: bool, rounds: int, json_file: Path | None
) -> None:
    """Measure the diffusers backend against plain diffusers."""
    machine = describe_machine()
    click.echo(", ".join(f"{key} {value}" for key, value in machine.items()))
    results = []
    for name in models or ("sd21", "sdxl"):
        if name == "overhead":
            click.echo(measure(overhead(), rounds).row())
            continue
        with tempfile.TemporaryDirectory(prefix="audio2img-bench-") as home:
            folder = MINI if name == "mini" else build_model(name, Path(home) / name)
            for batch in batches or (1, 4, 8):
                results.append(compare(name, folder, batch, compile_unet, rounds))
                show(results[-1])
    if json_file is not None:
        json_file.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        role, folder, *numbers = sys.argv[2:]
        run_child(role, Path(folder), int(numbers[0]), int(numbers[1]), numbers[2] == "1", float(numbers[3]))
    else:
        main()
