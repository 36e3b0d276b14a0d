"""The UNet of the mini Stable Diffusion, trained together with the text encoder on stored latents."""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from audio2img.prompt.mini_world import Scene
from scripts.mini.pictures_common import (
    Budget,
    Clock,
    Optimizers,
    autocast,
    cosine,
    draw_pool,
    load_checkpoint,
    save_checkpoint,
    say,
    to_tensor,
)  # fmt: skip
from scripts.mini.pictures_text import WIDTH, build_text_encoder, encode_captions, write_caption
from scripts.mini.scenes import SIZE_PX

LATENT_PX = SIZE_PX // 8
CHANNELS = (64, 96, 96)
NOISE_SCHEDULE = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
}  # fmt: skip


@dataclass(frozen=True)
class UNetSettings:
    """Everything that shapes the UNet's training."""

    lr: float = 1.5e-3
    batch: int = 32
    drop_captions: float = 0.1  # for classifier-free guidance
    snr_limit: float = 5.0  # min-SNR weighting (Hang et al., 2023)
    average: float = 0.998  # of the exponential moving average of the weights
    decay_from: float = 0.35  # part of the time after which the learning rate falls
    seed: int = 41


def build_unet() -> UNet2DConditionModel:
    """A fresh UNet that starts by predicting nothing: the residual branches add zero at first."""
    unet = UNet2DConditionModel(
        sample_size=LATENT_PX, in_channels=4, out_channels=4, block_out_channels=CHANNELS, layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=WIDTH,
        attention_head_dim=tuple(channels // 32 for channels in CHANNELS),  # diffusers: numbers of heads
        use_linear_projection=True, norm_num_groups=32,
    )  # fmt: skip
    for name, module in unet.named_modules():
        if name.endswith(("conv2", "proj_out", "conv_out")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    unet.set_attn_processor(AttnProcessor())  # plain products: the processor's fused attention trains slowly
    return unet


@torch.inference_mode()
def encode_shard(codec: AutoencoderKL, work: Path, number: int, count: int, p_two: float, seed: int) -> None:
    """Draws `count` scenes and stores what the codec makes of them: `work/latents-NNN.pt`.

    `latents` is (n, 2, 4, 16, 16) float16, mean and deviation; `scenes` the scenes as plain tuples.
    """
    pool = draw_pool(count, seed * 1000 + number, p_two)
    stored = []
    for start in range(0, count, 32):
        x = to_tensor(pool.pictures[start : start + 32], codec.device)
        with autocast(codec.device):
            posterior = codec.encode(x.contiguous(memory_format=torch.channels_last)).latent_dist
        stored.append(torch.stack([posterior.mean, posterior.std], 1).half().cpu())
    save_checkpoint(
        work / f"latents-{number:03d}.pt", {"latents": torch.cat(stored), "scenes": list(pool.scenes)}
    )
    say(f"latents: shard {number}, {count} pictures")


def load_shards(work: Path) -> tuple[torch.Tensor, list[Scene]]:
    """All stored latents, and their scenes."""
    latents, scenes = [], []
    for path in sorted(work.glob("latents-*.pt")):
        shard = torch.load(path, weights_only=False)  # our own file, just written
        latents.append(shard["latents"])
        scenes += shard["scenes"]
    if not latents:
        raise FileNotFoundError(f"no latents-*.pt in {work}: run the stage latents first")
    return torch.cat(latents), scenes


class _Data:
    """Endless batches: latents drawn from their posteriors, and token ids of fresh captions."""

    def __init__(
        self, work: Path, tokenizer: CLIPTokenizer, settings: UNetSettings, device: torch.device, seed: int
    ):
        self.latents, self.scenes = load_shards(work)
        self.tokenizer, self.settings, self.device = tokenizer, settings, device
        self.rng = random.Random(seed)
        self.order: list[int] = []

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents (n, 4, 16, 16) float32 and ids (n, 77) int64."""
        n = self.settings.batch
        if len(self.order) < n:
            self.order = self.rng.sample(range(len(self.scenes)), len(self.scenes))
        chosen, self.order = self.order[:n], self.order[n:]
        stored = self.latents[chosen].to(self.device).float()
        z = stored[:, 0] + stored[:, 1] * torch.randn_like(stored[:, 0])
        captions = [
            "" if self.rng.random() < self.settings.drop_captions else write_caption(self.scenes[i], self.rng)
            for i in chosen
        ]
        return z, encode_captions(self.tokenizer, captions).to(self.device)


def spread_timesteps(n: int, device: torch.device) -> torch.Tensor:
    """n timesteps, one from each n-th of the schedule: less noise in the loss than independent ones."""
    position = (torch.arange(n, device=device) + torch.rand(n, device=device)) / n
    return (position * 1000).long().clamp(0, 999)


def denoising_loss(
    both: nn.ModuleDict, z: torch.Tensor, ids: torch.Tensor, alphas: torch.Tensor, snr_limit: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The min-SNR-weighted squared error of the predicted noise, and the plain one."""
    timesteps = spread_timesteps(len(z), z.device)
    alpha = alphas[timesteps].view(-1, 1, 1, 1)
    noise = torch.randn_like(z)
    noisy = alpha.sqrt() * z + (1 - alpha).sqrt() * noise
    with autocast(z.device):
        predicted = both["unet"](noisy, timesteps, both["text"](ids)[0]).sample
    each = (predicted.float() - noise).square().mean((1, 2, 3))
    snr = alphas[timesteps] / (1 - alphas[timesteps])
    return (each * snr.clamp(max=snr_limit) / snr).mean(), each.mean().detach()


class _Training:
    """UNet and text encoder in training: their weights, the moving average of them, and the optimizers."""

    def __init__(
        self,
        tokenizer: CLIPTokenizer,
        work: Path,
        budget: Budget,
        settings: UNetSettings,
        device: torch.device,
    ) -> None:
        torch.manual_seed(settings.seed)
        text: CLIPTextModel = build_text_encoder(tokenizer)
        text.load_state_dict(torch.load(work / "text.pt", weights_only=True)["text"])
        self.both = nn.ModuleDict({"unet": build_unet(), "text": text}).to(device)
        self.average = copy.deepcopy(self.both).requires_grad_(False)
        self.optimizers = Optimizers(self.both, settings.lr, _trained_plainly)
        self.path, self.settings = work / "unet.pt", settings
        self.alphas = DDPMScheduler(**NOISE_SCHEDULE).alphas_cumprod.to(device)
        self.step, spent_s = 0, 0.0
        if saved := load_checkpoint(self.path, device):
            self.both.load_state_dict(saved["both"])
            self.average.load_state_dict(saved["average"])
            self.optimizers.load_state_dict(saved["optimizers"])
            self.step, spent_s = int(saved["step"]), float(saved["spent_s"])
            torch.manual_seed(settings.seed + self.step)
        self.clock = Clock(budget, spent_s)
        self.weights = (list(self.average.parameters()), list(self.both.parameters()))

    def learn(self, z: torch.Tensor, ids: torch.Tensor) -> tuple[float, float]:
        """One step on latents and token ids; the weighted and the plain loss."""
        from_here = self.settings.decay_from
        falling = cosine((self.clock.part - from_here) / (1 - from_here))
        self.optimizers.set_factor(min(1, (self.step + 1) / 100) * falling)
        loss, plain = denoising_loss(self.both, z, ids, self.alphas, self.settings.snr_limit)
        self.optimizers.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.both.parameters(), 1.0)
        self.optimizers.step()
        self.step += 1
        keep = min(self.settings.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(*self.weights, 1 - keep)
        return loss.item(), plain.item()

    def save(self) -> None:
        """Writes the checkpoint that another run goes on from."""
        content: dict[str, Any] = {"both": self.both.state_dict(), "average": self.average.state_dict()}
        content |= {"optimizers": self.optimizers.state_dict(), "step": self.step}
        save_checkpoint(self.path, {**content, "spent_s": self.clock.spent_s})


def _trained_plainly(name: str) -> bool:
    """Embeddings and the layers at the edges: AdamW suits them better than Muon."""
    return "embed" in name or "conv_in" in name or "conv_out" in name


def train_unet(
    tokenizer: CLIPTokenizer, work: Path, budget: Budget, settings: UNetSettings, device: torch.device
) -> None:
    """Trains (or goes on training) UNet and text encoder in `work/unet.pt`; when interrupted, saves first."""
    training = _Training(tokenizer, work, budget, settings, device)
    data = _Data(work, tokenizer, settings, device, settings.seed + training.step)
    sums, clock = [0.0, 0.0], training.clock
    try:
        while clock.part < 1:
            losses = training.learn(*data.batch())
            sums = [total + loss for total, loss in zip(sums, losses, strict=True)]
            if training.step % 100 == 0:
                seen = training.step * settings.batch
                say(
                    f"unet {clock.spent_s:5.0f} s step {training.step} seen {seen} "
                    f"loss {sums[0] / 100:.4f} plain {sums[1] / 100:.4f}"
                )
                sums = [0.0, 0.0]
            if clock.save_is_due():
                training.save()
    finally:
        training.save()


def load_average(tokenizer: CLIPTokenizer, work: Path) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """The averaged weights of the last checkpoint, as models."""
    both = nn.ModuleDict({"unet": build_unet(), "text": build_text_encoder(tokenizer)})
    both.load_state_dict(torch.load(work / "unet.pt", map_location="cpu", weights_only=True)["average"])
    both.eval()
    return both["unet"], both["text"]
