"""Trains the mini Stable Diffusion, stage by stage; every stage goes on where an earlier run left it.

python -m scripts.train_mini_diffusion                  all stages, about 2.5 hours on two cores
python -m scripts.train_mini_diffusion unet --minutes 120   more training of one stage
"""

from __future__ import annotations

import signal
from pathlib import Path

import click
import torch

STAGES = ("tokenizer", "judge", "vae", "latents", "text", "unet", "export")
MINUTES = {"judge": 9.0, "vae": 38.0, "text": 2.0, "unet": 90.0}


@click.command()
@click.argument("stages", nargs=-1, type=click.Choice(STAGES))
@click.option(
    "--work-dir", type=click.Path(path_type=Path), default=Path("training/pictures"), show_default=True
)
@click.option("--model-dir", type=click.Path(path_type=Path), default=Path("models/mini"), show_default=True)
@click.option(
    "--minutes", type=float, help="Time of each stage named, all runs together. Default: see the source."
)
@click.option("--latents", type=int, default=14336, show_default=True, help="Drawings the UNet learns from.")
@click.option("--p-two", type=float, default=0.15, show_default=True, help="Share of scenes with two things.")
@click.option("--batch", type=int, default=32, show_default=True, help="Pictures in one step of the UNet.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--threads", type=int, default=2, show_default=True, help="Threads of torch on the processor.")
@click.option("--seed", type=int, default=0, show_default=True, help="Added to the seed of every stage.")
def main(
    stages: tuple[str, ...],
    work_dir: Path,
    model_dir: Path,
    minutes: float | None,
    latents: int,
    p_two: float,
    batch: int,
    device: str,
    threads: int,
    seed: int,
) -> None:
    """Runs STAGES (default: all), in their order."""
    from scripts.mini import pictures_stages
    from scripts.mini.pictures_common import pick_device

    torch.set_num_threads(threads)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stopping saves a checkpoint, like Ctrl-C
    plan = pictures_stages.Plan(work_dir, model_dir, pick_device(device), latents, p_two, batch, seed)
    for stage in STAGES:
        if not stages or stage in stages:
            pictures_stages.run_stage(stage, plan, minutes or MINUTES.get(stage, 0.0))


if __name__ == "__main__":
    main()
