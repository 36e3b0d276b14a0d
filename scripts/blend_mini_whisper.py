"""Blend two checkpoints of the mini Whisper into one ggml file.

python -m scripts.blend_mini_whisper A.pt B.pt --share 0.5 -o models/mini/mini-whisper.bin

The weights are mixed linearly (Wortsman et al. 2022, "Model soups", arXiv 2203.05482): a model and its own
refinement lie in one basin, and between them there is one that keeps most of what each does better.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch

from scripts.train_mini_whisper import Plan, Trainer


@click.command(context_settings={"show_default": True})
@click.argument("first", type=click.Path(path_type=Path, exists=True))
@click.argument("second", type=click.Path(path_type=Path, exists=True))
@click.option("--share", type=click.FloatRange(0, 1), default=0.5, help="Of the second.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
def main(first: Path, second: Path, share: float, output: Path) -> None:
    """Write the model that lies `share` of the way from FIRST to SECOND, quantized to q5_1."""
    checkpoint = torch.load(first, map_location="cpu", weights_only=True)
    other = torch.load(second, map_location="cpu", weights_only=True)["average"]
    n_phonemes = checkpoint["average"]["phoneme_head.weight"].shape[0] - 1
    trainer = Trainer(Plan(**checkpoint["plan"]), n_phonemes, torch.device("cpu"))
    trainer.average = {
        name: torch.lerp(value, other[name], share) for name, value in checkpoint["average"].items()
    }
    trainer.export(output, "q5_1")


if __name__ == "__main__":
    main()
