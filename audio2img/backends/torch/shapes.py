"""The settings of a checkpoint's networks, read off the names and shapes of its weights.

The names are those of Stable Diffusion's first publishers (github.com/CompVis/stable-diffusion,
github.com/Stability-AI/generative-models).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from audio2img.backends.torch.folder import INDEX_NAME, NEEDED, SCHEDULER_CONFIG, Kind
from audio2img.diffusion.facts import PUBLISHED_SCHEDULERS
from audio2img.diffusion.preview import SCALING_FACTORS
from audio2img.errors import ModelError

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP_L, CLIP_L_XL = (
    "cond_stage_model.transformer.text_model.",
    "conditioner.embedders.0.transformer.text_model.",
)
OPENCLIP, OPENCLIP_XL = "cond_stage_model.model.", "conditioner.embedders.1.model."
HEAD_WIDTH = 64  # of Stable Diffusion 2 and XL, and of CLIP's text encoders
SD1_HEADS = 8
PAD_CLIP, PAD_OPENCLIP = "<|endoftext|>", "!"
EDM_SCALING_FACTOR = 0.5  # of Playground v2.5's normalised latents
SIDES = {"sd": 512, "sdxl": 1024}
SD2_V_SIDE = 768
TRAINED = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
}

Shapes = Mapping[str, tuple[int, ...]]


class CheckpointSettings:
    """The configurations of a checkpoint's networks, from the shapes of their weights."""

    def __init__(
        self, path: Path, shapes: Shapes, kind: Kind, prefixes: Mapping[str, str], wishes: Mapping[str, Any]
    ) -> None:
        self._path, self._shapes, self._kind, self._prefixes = path, shapes, kind, prefixes
        self._is_edm = "edm_mean" in shapes
        predicts_v = "v_pred" in shapes  # how checkpoints of SDXL that predict v are marked
        self._prediction = str(wishes.get("prediction_type", "v_prediction" if predicts_v else "epsilon"))
        is_sd2_v = prefixes["text_encoder"] == OPENCLIP and self._prediction == "v_prediction"
        side = wishes.get("size", SD2_V_SIDE if is_sd2_v else SIDES[kind])
        if (
            self._prediction not in ("epsilon", "v_prediction")
            or type(side) is not int
            or not 8 <= side <= 8192
        ):
            raise ModelError(
                f"{path.with_suffix('.json')} is not understood: {json.dumps(dict(wishes))[:80]}",
                '"prediction_type" is "epsilon" or "v_prediction", "size" a number of pixels',
            )
        self._side = side

    def class_of(self, part: str) -> str:
        texts = {"text_encoder": "CLIPTextModel", "text_encoder_2": "CLIPTextModelWithProjection"}
        return {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", **texts}[part]

    def tokenizer_pads(self) -> dict[str, str]:
        """The tokenizers of the kind, each with the token that fills the window."""
        if self._kind == "sdxl":
            return {"tokenizer": PAD_CLIP, "tokenizer_2": PAD_OPENCLIP}
        return {"tokenizer": PAD_OPENCLIP if self._prefixes["text_encoder"] == OPENCLIP else PAD_CLIP}

    def n_tokens(self) -> int:
        """The size of the vocabulary."""
        key = "token_embedding.weight"
        prefix = self._prefixes["text_encoder"]
        return self._shape(prefix + ("" if prefix == OPENCLIP else "embeddings.") + key)[0]

    def all(self) -> dict[str, dict[str, Any]]:
        """Every file of a diffusers folder, by its path, but weights and tokenizers."""
        entries = {part: self.class_of(part) for part in NEEDED[self._kind]}
        libraries = {part: "transformers" if "text" in part else "diffusers" for part in entries}
        names = {"sd": "StableDiffusionPipeline", "sdxl": "StableDiffusionXLPipeline"}
        scheduler = self._scheduler()
        index: dict[str, Any] = {part: [libraries[part], entries[part]] for part in entries}
        index["scheduler"] = ["diffusers", scheduler["_class_name"]]
        files = {
            INDEX_NAME: {"_class_name": names[self._kind], **index},
            f"scheduler/{SCHEDULER_CONFIG}": scheduler,
            "unet/config.json": self._unet(),
            "vae/config.json": self._vae(),
        }
        for part in entries:
            if part.startswith("text"):
                files[f"{part}/config.json"] = self._text(self._prefixes[part], part)
        return files

    def _scheduler(self) -> dict[str, Any]:
        if self._is_edm:
            return {"_class_name": "EDMDPMSolverMultistepScheduler", "prediction_type": self._prediction}
        given = {**PUBLISHED_SCHEDULERS[self._kind], "prediction_type": self._prediction}
        if "ztsnr" in self._shapes:  # trained down to pure noise, how SDXL's v checkpoints are marked
            given |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        return {"_class_name": "EulerDiscreteScheduler", **TRAINED, **given}

    def _unet(self) -> dict[str, Any]:
        levels = list(self._unet_levels())
        widths = [width for width, _, _ in levels]
        depths = [depth for _, depth, _ in levels]
        attended = next(block for _, depth, block in levels if depth)
        is_linear = len(self._shape(f"{UNET}{attended}.1.proj_in.weight")) == 2
        context = self._shape(f"{UNET}{attended}.1.transformer_blocks.0.attn2.to_k.weight")[1]
        down = ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths]
        config: dict[str, Any] = {
            "_class_name": "UNet2DConditionModel",
            "sample_size": self._side // self._vae_factor(),
            "in_channels": self._shape(f"{UNET}input_blocks.0.0.weight")[1],
            "out_channels": self._shape(f"{UNET}out.2.weight")[0],
            "block_out_channels": widths,
            "layers_per_block": self._layers_per_block(),
            "down_block_types": down,
            "up_block_types": [name.replace("Down", "Up") for name in reversed(down)],
            "transformer_layers_per_block": [max(1, depth) for depth in depths],
            "cross_attention_dim": context,
            "use_linear_projection": is_linear,
            "attention_head_dim": [max(1, w // HEAD_WIDTH) for w in widths] if is_linear else SD1_HEADS,
        }
        if (key := f"{UNET}label_emb.0.0.weight") in self._shapes:
            told = self._shape(key)[1]
            pooled = self._shape(f"{OPENCLIP_XL}text_projection")[1]
            config |= {
                "addition_embed_type": "text_time",
                "addition_time_embed_dim": (told - pooled) // 6,
                "projection_class_embeddings_input_dim": told,
            }
        if (key := f"{UNET}time_embed.cond_proj.weight") in self._shapes:
            config["time_cond_proj_dim"] = self._shape(key)[1]
        return config

    def _unet_levels(self) -> Iterator[tuple[int, int, str]]:
        """Of each level: its channels, its transformer blocks, and the name of its first block."""
        number, is_first = 1, True
        while any(key.startswith(f"{UNET}input_blocks.{number}.") for key in self._shapes):
            block = f"input_blocks.{number}"
            if f"{UNET}{block}.0.op.weight" in self._shapes:
                is_first = True
            elif is_first:
                width = self._shape(f"{UNET}{block}.0.out_layers.3.weight")[0]
                yield width, self._count(f"{UNET}{block}.1.transformer_blocks."), block
                is_first = False
            number += 1

    def _layers_per_block(self) -> int:
        number = 1
        while f"{UNET}input_blocks.{number}.0.out_layers.3.weight" in self._shapes:
            number += 1
        return number - 1

    def _vae_widths(self) -> list[int]:
        levels = self._count(f"{VAE}encoder.down.")
        return [self._shape(f"{VAE}encoder.down.{level}.block.0.conv2.weight")[0] for level in range(levels)]

    def _vae_factor(self) -> int:
        return int(2 ** (len(self._vae_widths()) - 1))

    def _vae(self) -> dict[str, Any]:
        widths = self._vae_widths()
        config: dict[str, Any] = {
            "_class_name": "AutoencoderKL",
            "sample_size": self._side,
            "block_out_channels": widths,
            "down_block_types": ["DownEncoderBlock2D"] * len(widths),
            "up_block_types": ["UpDecoderBlock2D"] * len(widths),
            "layers_per_block": self._count(f"{VAE}encoder.down.0.block."),
            "latent_channels": self._shape(f"{VAE}decoder.conv_in.weight")[1],
            "scaling_factor": SCALING_FACTORS[self._kind],
        }
        if self._is_edm:
            config["scaling_factor"] = EDM_SCALING_FACTOR
            config["latents_mean"] = _read_numbers(self._path, "edm_mean")
            config["latents_std"] = _read_numbers(self._path, "edm_std")
        return config

    def _text(self, prefix: str, part: str) -> dict[str, Any]:
        is_openclip = prefix in (OPENCLIP, OPENCLIP_XL)
        blocks = f"{prefix}{'transformer.resblocks.' if is_openclip else 'encoder.layers.'}"
        inner = "mlp.c_fc.weight" if is_openclip else "mlp.fc1.weight"
        place = "positional_embedding" if is_openclip else "embeddings.position_embedding.weight"
        length, width = self._shape(prefix + place)
        # Stable Diffusion 2 was trained on the last layer but one, which diffusers makes the last.
        n_layers = self._count(blocks) - (prefix == OPENCLIP)
        last = self.n_tokens() - 1
        config = {
            "architectures": [self.class_of(part)],
            "model_type": "clip_text_model",
            "vocab_size": self.n_tokens(),
            "max_position_embeddings": length,
            "hidden_size": width,
            "intermediate_size": self._shape(f"{blocks}0.{inner}")[0],
            "num_hidden_layers": n_layers,
            "num_attention_heads": max(1, width // HEAD_WIDTH),
            "hidden_act": "gelu" if is_openclip else "quick_gelu",
            "projection_dim": width,
            "bos_token_id": last - 1,
            "eos_token_id": last,
        }
        if part == "text_encoder_2":
            config["projection_dim"] = self._shape(f"{prefix}text_projection")[1]
        return config

    def _shape(self, key: str) -> tuple[int, ...]:
        if key not in self._shapes:
            raise ModelError(f"{self._path} lacks {key}", "get the file again, or another one")
        return self._shapes[key]

    def _count(self, prefix: str) -> int:
        """How many numbered things there are under a name."""
        numbered = re.compile(re.escape(prefix) + r"(\d+)\.")
        return len({match[1] for key in self._shapes if (match := numbered.match(key))})


def _read_numbers(path: Path, key: str) -> list[float]:
    """A short row of numbers of the file."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as tensors:
        return [float(number) for number in tensors.get_tensor(key).flatten().tolist()]
