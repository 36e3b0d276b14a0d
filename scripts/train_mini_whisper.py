"""Train the embedded mini Whisper from nothing: speak a corpus, learn it, write the ggml file.

    python -m scripts.train_mini_whisper --minutes 60

Needs the `train` extra and Debian's espeak-ng, flite, festival, festvox-kallpc16k,
festvox-kdlpc16k and festvox-us-slt-hts. Everything is kept in the work folder: run it again
after an interruption and it goes on from the last checkpoint.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from scripts.mini.ggml_writer import Format, write_ggml
from scripts.mini.mel_filters import mel_filterbank
from scripts.mini.speech_batches import (
    IGNORED,
    PART_WEIGHTS,
    REFINING_WEIGHTS,
    Batch,
    ClipStore,
    SpeechBatches,
)
from scripts.mini.speech_corpus import build_corpus, training_recipes
from scripts.mini.synthesizers import missing_programs
from scripts.mini.whisper_model import MiniWhisper, Vocabulary, default_sizes

WARM_UP_STEPS = 200
LOG_EVERY_S = 30.0
CHECKPOINT_EVERY_S = 240.0
GRADIENT_CLIP = 1.0
EMA_DECAY = 0.998
# Harder augmentation wants a longer training: at 1.0, an hour of one core is not enough.
FIRST_AUGMENTATION, FULL_AUGMENTATION = 0.15, 0.6


@dataclass(frozen=True)
class Plan:
    """What a training run is; a checkpoint belongs to one plan."""

    steps: int | None
    minutes: float | None
    batch_size: int
    learning_rate: float
    width: int
    n_audio_layers: int
    n_text_layers: int
    seed: int
    refines: bool = False  # starts from trained weights

    def progress(self, step: int, elapsed_s: float) -> float:
        """How far the run is, 0 to 1."""
        return step / self.steps if self.steps else elapsed_s / 60 / (self.minutes or 60.0)

    def rate(self, step: int, progress: float) -> float:
        """The learning rate: warm-up, a plateau, a cosine over the last half, or all of a refinement."""
        warm = min(1.0, (step + 1) / WARM_UP_STEPS)
        fall = progress if self.refines else max(0.0, (progress - 0.5) / 0.5)
        return self.learning_rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, fall))))

    def augmentation_level(self, progress: float) -> float:
        """Clean speech first: without it the alignment is not found."""
        if self.refines:
            return FULL_AUGMENTATION
        ramp = min(1.0, max(0.0, (progress - 0.08) / 0.20))
        return FIRST_AUGMENTATION + (FULL_AUGMENTATION - FIRST_AUGMENTATION) * ramp

    def phoneme_weight(self, progress: float) -> float:
        """The phoneme loss leads at first."""
        return 0.3 if self.refines or progress >= 0.5 else 1.0


class Trainer:
    """Model, optimizer and running average; one `step` a batch."""

    def __init__(self, plan: Plan, n_phonemes: int, device: torch.device) -> None:
        torch.manual_seed(plan.seed)
        sizes = default_sizes(plan.width, plan.n_audio_layers, plan.n_text_layers)
        self.plan = plan
        self.device = device
        self.model = MiniWhisper(sizes, Vocabulary(), n_phonemes).to(device)
        self.average = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=0.02, fused=True
        )
        self.n_steps = 0
        self.elapsed_s = 0.0
        self.is_mixed_precision = has_fast_bfloat16(device)

    @property
    def progress(self) -> float:
        return self.plan.progress(self.n_steps, self.elapsed_s)

    def step(self, batch: Batch) -> dict[str, float]:
        """Learn from one batch; gives its losses and the share of tokens that were right."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.rate(self.n_steps, self.progress)
        batch = Batch(*(tensor.to(self.device, non_blocking=True) for tensor in batch))
        log_mel = mask_spectrogram(batch.log_mel) if self.progress > 0.2 else batch.log_mel
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.is_mixed_precision):
            memory = self.model.encoder(log_mel)
            logits = self.model.decoder(batch.inputs, memory).float()
            sounds = self.model.phoneme_head(memory).float()
        words = functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED)
        phonemes = phoneme_loss(sounds, batch)
        self.optimizer.zero_grad(set_to_none=True)
        (words + self.plan.phoneme_weight(self.progress) * phonemes).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_CLIP)
        self.optimizer.step()
        self.n_steps += 1
        self._follow()
        counted = batch.targets != IGNORED
        right = (logits.argmax(-1) == batch.targets)[counted].float().mean()
        return {"words": words.item(), "phonemes": phonemes.item(), "right": right.item()}

    @torch.no_grad()
    def _follow(self) -> None:
        decay = min(EMA_DECAY, (1 + self.n_steps) / (10 + self.n_steps))
        current = self.model.state_dict()
        names = list(self.average)
        torch._foreach_lerp_([self.average[n] for n in names], [current[n] for n in names], 1 - decay)

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        content = {
            "plan": asdict(self.plan), "model": self.model.state_dict(), "average": self.average,
            "optimizer": self.optimizer.state_dict(), "n_steps": self.n_steps, "elapsed_s": self.elapsed_s,
        }  # fmt: skip
        partial = path.with_suffix(".part")
        torch.save(content, partial)
        os.replace(partial, path)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint of the same plan."""
        content = torch.load(path, map_location=self.device, weights_only=True)
        if content["plan"] != asdict(self.plan):
            raise click.ClickException(f"{path} is of another run: use --fresh, or the same options")
        self.model.load_state_dict(content["model"])
        self.average = content["average"]
        self.optimizer.load_state_dict(content["optimizer"])
        self.n_steps, self.elapsed_s = content["n_steps"], content["elapsed_s"]

    def start_from(self, path: Path) -> None:
        """Take the averaged weights of another run's checkpoint and nothing else."""
        content = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(content["average"])
        self.average = {name: value.clone() for name, value in self.model.state_dict().items()}

    def export(self, path: Path, fmt: Format) -> None:
        """Write the averaged weights as a ggml file."""
        sizes = self.model.sizes
        model = MiniWhisper(sizes, self.model.vocabulary, self.model.phoneme_head.out_features - 1)
        model.load_state_dict(self.average)
        write_ggml(path, sizes, mel_filterbank(), model.vocabulary.entries, model.export_tensors(), fmt)


def has_fast_bfloat16(device: torch.device) -> bool:
    """True on a GPU and on processors with bfloat16 instructions, where it saves time."""
    return device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()


def phoneme_loss(sounds: Tensor, batch: Batch) -> Tensor:
    """CTC of the encoder's phonemes (batch, positions, phonemes + 1), per phoneme heard."""
    log_probs = sounds.log_softmax(-1).transpose(0, 1)
    n_positions = torch.full((log_probs.shape[1],), log_probs.shape[0])
    losses = functional.ctc_loss(
        log_probs,
        batch.phonemes,
        n_positions,
        batch.n_phonemes.cpu(),
        blank=sounds.shape[-1] - 1,
        reduction="none",
        zero_infinity=True,
    )
    return (losses / batch.n_phonemes.clamp(min=1)).mean()


def mask_spectrogram(log_mel: Tensor) -> Tensor:
    """SpecAugment (Park et al. 2019), one band and one stretch of time, on half of the batches."""
    if torch.rand(()) < 0.5:
        return log_mel
    log_mel = log_mel.clone()
    filler = log_mel.mean()
    band, width = (int(torch.randint(limit, ())) for limit in (70, 12))
    log_mel[:, band : band + width] = filler
    moment, length = (int(torch.randint(limit, ())) for limit in (log_mel.shape[2], 16))
    log_mel[:, :, moment : moment + length] = filler
    return log_mel


def train(
    trainer: Trainer, batches: Iterator[Batch], level: Tensor, work_dir: Path, out: Path, fmt: Format
) -> None:
    """Run to the end of the plan, with a line of progress twice a minute."""
    sums: dict[str, float] = {}
    n_summed = 0
    clock = time.monotonic()
    logged_at = saved_at = trainer.elapsed_s
    trainer.model.train()
    while trainer.progress < 1:
        level.fill_(trainer.plan.augmentation_level(trainer.progress))
        losses = trainer.step(next(batches))
        now = time.monotonic()
        trainer.elapsed_s, clock = trainer.elapsed_s + now - clock, now
        sums = {name: sums.get(name, 0.0) + value for name, value in losses.items()}
        n_summed += 1
        if trainer.elapsed_s - logged_at >= LOG_EVERY_S:
            means = " ".join(f"{name} {total / n_summed:.3f}" for name, total in sums.items())
            speed = n_summed * trainer.plan.batch_size / (trainer.elapsed_s - logged_at)
            click.echo(
                f"{100 * trainer.progress:5.1f} %  step {trainer.n_steps}  {means}  {speed:.0f} clips/s",
                err=True,
            )
            sums, n_summed, logged_at = {}, 0, trainer.elapsed_s
        if trainer.elapsed_s - saved_at >= CHECKPOINT_EVERY_S:
            trainer.save(work_dir / "checkpoint.pt")
            trainer.export(work_dir / out.name, fmt)
            saved_at = trainer.elapsed_s
            clock = time.monotonic()
    trainer.save(work_dir / "checkpoint.pt")
    trainer.export(out, fmt)


@click.command(context_settings={"show_default": True})
@click.option("--work-dir", type=click.Path(path_type=Path), default=Path("training/speech"))
@click.option("--out", type=click.Path(path_type=Path), default=Path("models/mini/mini-whisper.bin"))
@click.option("--format", "fmt", type=click.Choice(["f16", "q8_0", "q5_1"]), default="q5_1")
@click.option("--minutes", type=float, default=55.0, help="Time to train, beside making the corpus.")
@click.option("--steps", type=int, help="Train so many steps instead: the same weights on every run.")
@click.option("--batch-size", type=int, default=16)
@click.option("--learning-rate", type=float, default=1.3e-3)
@click.option("--width", type=int, default=128)
@click.option("--audio-layers", type=int, default=3)
@click.option("--text-layers", type=int, default=2)
@click.option("--seed", type=int, default=0)
@click.option("--corpus-size", type=float, default=1.0, help="1 is 50,000 clips, about 4 GB.")
@click.option("--jobs", type=int, default=os.cpu_count(), help="Processes that speak the corpus.")
@click.option("--workers", type=int, default=1, help="Processes that prepare batches; 0: none of their own.")
@click.option("--threads", type=int, default=None, help="Threads of the training itself.")
@click.option(
    "--refine", type=click.Path(path_type=Path), help="A checkpoint whose weights to train further."
)
@click.option("--fresh", is_flag=True, help="Do not go on from the checkpoint in the work folder.")
def main(
    work_dir: Path,
    out: Path,
    fmt: Format,
    minutes: float,
    steps: int | None,
    batch_size: int,
    learning_rate: float,
    width: int,
    audio_layers: int,
    text_layers: int,
    seed: int,
    corpus_size: float,
    jobs: int,
    workers: int,
    threads: int | None,
    refine: Path | None,
    fresh: bool,
) -> None:
    """Train the embedded mini Whisper and write it as a ggml file."""
    if missing := missing_programs():
        raise click.ClickException(f"not installed: {', '.join(missing)} (Debian has them)")
    if threads:
        torch.set_num_threads(threads)
    plan = Plan(
        steps=steps,
        minutes=None if steps else minutes,
        batch_size=batch_size,
        learning_rate=learning_rate,
        width=width,
        n_audio_layers=audio_layers,
        n_text_layers=text_layers,
        seed=seed,
        refines=refine is not None,
    )
    corpus = work_dir / "corpus"
    recipes = training_recipes(seed, corpus_size)
    build_corpus(recipes, corpus, jobs, lambda line: click.echo(line, err=True))
    weights = REFINING_WEIGHTS if refine else PART_WEIGHTS
    store = ClipStore(corpus, [recipe.name for recipe in recipes], weights)
    click.echo(f"{len(store)} clips, {len(store.phonemes)} phonemes", err=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer = Trainer(plan, len(store.phonemes), device)
    checkpoint = work_dir / "checkpoint.pt"
    if checkpoint.exists() and not fresh:
        trainer.resume(checkpoint)
    elif refine:
        trainer.start_from(refine)
    (work_dir / "plan.json").write_text(json.dumps(asdict(plan), indent=2))
    level = torch.zeros(()).share_memory_()  # type: ignore[no-untyped-call]
    stream = SpeechBatches(store, Vocabulary(), batch_size, (seed, trainer.n_steps), level)
    loader = DataLoader(stream, batch_size=None, num_workers=workers, prefetch_factor=16 if workers else None)
    out.parent.mkdir(parents=True, exist_ok=True)
    train(trainer, iter(loader), level, work_dir, out, fmt)
    click.echo(out)


if __name__ == "__main__":
    main()
