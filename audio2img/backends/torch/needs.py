"""What drawing with a model takes, from its settings alone.

Weights are counted exactly. What lies beside them at the worst moment is told from the widths of the
networks; held against diffusers' networks of Stable Diffusion 2.1 and XL, run without numbers
(torch's FakeTensor), the figures are within a tenth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from audio2img.backends.torch.folder import ModelFolder

ATTENTION_LAYERS = 21  # held in a transformer block, in outputs of its level: its feed-forward is wide
CONVOLUTION_LAYERS = 8  # the same in a level without attention
VAE_LAYERS = 3  # held in the decoder, in outputs of its widest layer at full size


@dataclass(frozen=True)
class Needs:
    """What a model takes. parameters: of each part by name; width, height in pixels, factor of them a latent.

    unet_channels: the numbers that the UNet holds at once for each position of its latents.
    vae_width: channels of the decoder's widest layer at full size. upcast_vae: its autoencoder overflows
    in half precision.
    """

    parameters: Mapping[str, int]
    width: int
    height: int
    factor: int = 8
    unet_channels: int = 8340
    vae_width: int = 256
    upcast_vae: bool = False

    def weight_bytes(self, names: tuple[str, ...], size: int) -> int:
        """The weights of these parts. size: bytes of a number."""
        return sum(count for name, count in self.parameters.items() if name in names) * size

    def step_bytes(self, size: int) -> int:
        """What a guided step of one picture takes beside the weights."""
        latents = (self.width // self.factor) * (self.height // self.factor)
        return 2 * latents * self.unet_channels * size

    def decode_bytes(self, size: int) -> int:
        """What decoding one picture at once takes beside the weights."""
        return self.width * self.height * self.vae_width * size * VAE_LAYERS


def find_needs(model: ModelFolder) -> Needs:
    """What drawing a picture of the model's own size takes."""
    width, height = model.size
    widths = model.vae_widths
    return Needs(
        parameters={name: part.n_parameters for name, part in model.parts.items()},
        width=width,
        height=height,
        factor=model.factor,
        unet_channels=count_unet_channels(model.parts["unet"].config),
        vae_width=int(widths[min(1, len(widths) - 1)]),
        upcast_vae=model.kind == "sdxl" and bool(model.parts["vae"].config.get("force_upcast", True)),
    )


def count_unet_channels(config: Mapping[str, Any]) -> int:
    """The most numbers that a UNet holds at once, for each position of its latents.

    On its way down it keeps the output of every layer for the way up, and works at one level at a time;
    each level has a quarter of the positions of the one above.
    """
    widths = [int(width) for width in config["block_out_channels"]]
    n_layers = config.get("layers_per_block", 2)
    layers = [n_layers] * len(widths) if isinstance(n_layers, int) else [int(count) for count in n_layers]
    blocks = config.get("down_block_types") or ["CrossAttnDownBlock2D"] * len(widths)
    kept, working = float(widths[0]), 0.0  # the first convolution's output is kept, too
    for level, (width, count, block) in enumerate(zip(widths, layers, blocks, strict=False)):
        share = 0.25**level
        held = ATTENTION_LAYERS if "CrossAttn" in str(block) else CONVOLUTION_LAYERS
        working = max(working, held * width * share)
        kept += count * width * share
        if level < len(widths) - 1:
            kept += width * share / 4  # handed down
    return round(kept + working)
