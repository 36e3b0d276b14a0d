"""The codec of the mini Stable Diffusion: an AutoencoderKL, 8 times down, 4 latent channels.

Crops of 64x64 come first (four times cheaper: the codec is convolutional), whole pictures last. Then
the mean and the spread of every latent channel are folded into the 1x1 convolutions beside the latents,
so that latents have mean 0 and deviation 1, and the scaling factor is exactly 1.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch.nn import functional

from scripts.mini.pictures_common import (
    Budget,
    Clock,
    Optimizers,
    Pool,
    autocast,
    cosine,
    draw_pool,
    held_out_scene,
    load_checkpoint,
    save_checkpoint,
    say,
    to_pictures,
    to_tensor,
)  # fmt: skip
from scripts.mini.scenes import GRID_PX, SIZE_PX

CROP_PX = 64


@dataclass(frozen=True)
class CodecSettings:
    """Everything that shapes the codec's training."""

    channels: tuple[int, int, int, int] = (16, 32, 64, 64)
    norm_groups: int = 4  # with two channels a group the norm wipes out flat colours
    lr: float = 2e-3
    whole_pictures: float = 0.45  # last part of the time
    crops_a_step: int = 12
    pictures_a_step: int = 4
    foreground_weight: float = 5.0
    kl_weight: float = 1e-4
    p_two: float = 0.35
    pool: int = 8000
    seed: int = 11


def build_codec(settings: CodecSettings) -> AutoencoderKL:
    """A fresh codec that starts close to a linear one: the residual branches add nothing at first."""
    codec = AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=4, block_out_channels=settings.channels,
        layers_per_block=1, norm_num_groups=settings.norm_groups,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, sample_size=SIZE_PX, scaling_factor=1.0,
    )  # fmt: skip
    for name, module in codec.named_modules():
        if name.endswith(("conv2", "to_out.0")):
            torch.nn.init.zeros_(module.weight)
            torch.nn.init.zeros_(module.bias)
    return codec.to(memory_format=torch.channels_last)


def _edges(x: torch.Tensor) -> torch.Tensor:
    right = (x[..., 1:] - x[..., :-1])[..., :-1, :]
    down = (x[..., 1:, :] - x[..., :-1, :])[..., :-1]
    return torch.cat([right, down], 1)


def codec_loss(codec: AutoencoderKL, x: torch.Tensor, weight: torch.Tensor, kl_weight: float) -> torch.Tensor:
    """Weighted L1 and squared error, edges, 4x4 means, and a little Kullback-Leibler divergence."""
    with autocast(x.device):
        posterior = codec.encode(x).latent_dist
        y = codec.decode(posterior.sample()).sample
    error = (y.float() - x) * weight
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    edges = (_edges(y.float()) - _edges(x)).abs().mean()
    low = functional.avg_pool2d(error, 4).abs().mean()
    squared = ((y.float() - x).square() * weight).mean()
    return error.abs().mean() + 2 * squared + 0.7 * edges + 0.5 * low + kl_weight * kl


class _Batches:
    """Random crops and whole pictures from a pool, with the weight of every pixel."""

    def __init__(self, pool: Pool, settings: CodecSettings, device: torch.device) -> None:
        self.pool, self.settings, self.device = pool, settings, device
        self.rng = random.Random(settings.seed + 1)

    def _weighted(
        self, pictures: list[np.ndarray], masks: list[np.ndarray]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        x = to_tensor(np.stack(pictures), self.device).contiguous(memory_format=torch.channels_last)
        mask = torch.from_numpy(np.stack(masks)).to(self.device)[:, None].float()
        weight = 1 + (self.settings.foreground_weight - 1) * mask
        return x, weight / weight.mean()

    def crops(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Crops on the grid of latent blocks; two of three lie on a thing."""
        pictures, masks = [], []
        steps = (SIZE_PX - CROP_PX) // GRID_PX
        while len(pictures) < count:
            i = self.rng.randrange(len(self.pool.scenes))
            y, x = GRID_PX * self.rng.randint(0, steps), GRID_PX * self.rng.randint(0, steps)
            if self.rng.random() < 0.67:
                thing = self.rng.choice(self.pool.drawings[i].things)
                x = _around(thing.x, self.rng)
                y = _around(thing.y, self.rng)
            window = np.s_[y : y + CROP_PX, x : x + CROP_PX]
            pictures.append(self.pool.pictures[i][window])
            masks.append(self.pool.foreground[i][window])
        return self._weighted(pictures, masks)

    def whole(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Whole pictures."""
        chosen = [self.rng.randrange(len(self.pool.scenes)) for _ in range(count)]
        return self._weighted(
            [self.pool.pictures[i] for i in chosen], [self.pool.foreground[i] for i in chosen]
        )


def _around(centre: float, rng: random.Random) -> int:
    start = round((centre - CROP_PX / 2) / GRID_PX) * GRID_PX + GRID_PX * rng.randint(-1, 1)
    return min(SIZE_PX - CROP_PX, max(0, start))


def train_codec(work: Path, budget: Budget, settings: CodecSettings, device: torch.device) -> AutoencoderKL:
    """Trains (or goes on training) the codec in `work/codec.pt`; writes the finished folder `work/vae`."""
    torch.manual_seed(settings.seed)
    codec = build_codec(settings).to(device)
    optimizers = Optimizers(codec, settings.lr, lambda name: "conv_in" in name or "conv_out" in name)
    saved = load_checkpoint(work / "codec.pt", device)
    step = 0
    if saved:
        codec.load_state_dict(saved["codec"])
        optimizers.load_state_dict(saved["optimizers"])
        step = int(saved["step"])
    clock = Clock(budget, saved["spent_s"] if saved else 0.0)
    batches = _Batches(draw_pool(settings.pool, settings.seed, settings.p_two), settings, device)
    check = draw_pool(48, settings.seed + 7, settings.p_two, held_out_scene)
    running = 0.0
    while clock.part < 1:
        optimizers.set_factor(min(1, (step + 1) / 60) * cosine(clock.part))
        whole = clock.part > 1 - settings.whole_pictures
        x, weight = batches.whole(settings.pictures_a_step) if whole else batches.crops(settings.crops_a_step)
        loss = codec_loss(codec, x, weight, settings.kl_weight)
        optimizers.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
        optimizers.step()
        step += 1
        running = loss.item() if step == 1 else 0.97 * running + 0.03 * loss.item()
        if step % 100 == 0:
            quality = f" psnr {psnr(codec, check):.2f} dB" if step % 500 == 0 else ""
            say(f"codec {clock.spent_s:5.0f} s step {step} whole {int(whole)} loss {running:.4f}{quality}")
        if clock.save_is_due():
            _save(work, codec, optimizers, step, clock)
    _save(work, codec, optimizers, step, clock)
    fold_statistics(codec, draw_pool(256, settings.seed + 9, settings.p_two))
    codec.save_pretrained(work / "vae")
    say(f"codec: {psnr(codec, check):.2f} dB on held-out drawings")
    return codec


def _save(work: Path, codec: AutoencoderKL, optimizers: Optimizers, step: int, clock: Clock) -> None:
    content = {"codec": codec.state_dict(), "optimizers": optimizers.state_dict(), "step": step}
    save_checkpoint(work / "codec.pt", {**content, "spent_s": clock.spent_s})


@torch.no_grad()
def reconstruct(codec: AutoencoderKL, pictures: np.ndarray) -> np.ndarray:
    """Through the codec and back: (n, 128, 128, 3) uint8."""
    x = to_tensor(pictures, codec.device)
    with autocast(codec.device):
        decoded = [codec.decode(codec.encode(part).latent_dist.mean).sample for part in x.split(16)]
    return to_pictures(torch.cat(decoded))


def psnr(codec: AutoencoderKL, pool: Pool) -> float:
    """Peak signal-to-noise ratio of the reconstructions, over all pixels of all pictures, in dB."""
    error = reconstruct(codec, pool.pictures).astype(np.float64) - pool.pictures
    return float(20 * math.log10(255) - 10 * math.log10(np.square(error).mean()))


@torch.no_grad()
def fold_statistics(codec: AutoencoderKL, pool: Pool) -> None:
    """Makes latents of mean 0 and deviation 1, by the convolutions beside them; pictures stay the same."""
    x = to_tensor(pool.pictures, codec.device)
    latents = torch.cat([codec.encode(part).latent_dist.sample() for part in x.split(32)]).float()
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    before, after = codec.quant_conv, codec.post_quant_conv
    before.weight[:4] /= deviation.view(4, 1, 1, 1)
    before.bias[:4] = (before.bias[:4] - mean) / deviation
    before.bias[4:] -= 2 * deviation.log()
    after.bias += after.weight[:, :, 0, 0] @ mean
    after.weight *= deviation.view(1, 4, 1, 1)
