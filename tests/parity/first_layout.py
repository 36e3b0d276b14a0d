"""From a diffusers folder to one file in the layout of Stable Diffusion's first publishers.

The other way round than diffusers converts, for models whose settings can be read off their weights.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
}  # fmt: skip
ENDS = {
    "conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2", "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2", "conv_norm_out": "out.0", "conv_out": "out.2",
    "time_embedding.cond_proj": "time_embed.cond_proj",
}  # fmt: skip
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPENCLIP = {
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}  # fmt: skip


def replace_words(name: str, table: dict[str, str]) -> str:
    for word, other in table.items():
        name = re.sub(rf"(^|\.){re.escape(word)}\.", rf"\g<1>{other}.", name)
    return name


def unet_name(name: str, n_levels: int, n_layers: int) -> str:
    down = re.match(r"down_blocks\.(\d+)\.(resnets|attentions|downsamplers)\.(\d+)\.(.*)", name)
    up = re.match(r"up_blocks\.(\d+)\.(resnets|attentions|upsamplers)\.(\d+)\.(.*)", name)
    middle = re.match(r"mid_block\.(resnets|attentions)\.(\d+)\.(.*)", name)
    if down:
        level, kind, number, rest = int(down[1]), down[2], int(down[3]), down[4]
        if kind == "downsamplers":
            return f"input_blocks.{(level + 1) * (n_layers + 1)}.0.op.{rest.removeprefix('conv.')}"
        block = 1 + level * (n_layers + 1) + number
        return f"input_blocks.{block}." + (
            f"0.{replace_words(rest, RESNET)}" if kind == "resnets" else f"1.{rest}"
        )
    if up:
        level, kind, number, rest = int(up[1]), up[2], int(up[3]), up[4]
        block = level * (n_layers + 1) + (n_layers if kind == "upsamplers" else number)
        if kind == "resnets":
            return f"output_blocks.{block}.0.{replace_words(rest, RESNET)}"
        return f"output_blocks.{block}.{'UP' if kind == 'upsamplers' else 1}.{rest}"
    if middle:
        place = 1 if middle[1] == "attentions" else 2 * int(middle[2])
        return f"middle_block.{place}.{replace_words(middle[3], RESNET if place != 1 else {})}"
    return replace_words(name, ENDS)


def convert_unet(weights: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    n_levels, n_layers = len(config["block_out_channels"]), config["layers_per_block"]
    named = {unet_name(name, n_levels, n_layers): tensor for name, tensor in weights.items()}
    finished = {}
    for name, tensor in named.items():
        if ".UP." in name:  # after the attention, where there is one
            block = name.split(".UP.")[0]
            has_attention = any(other.startswith(f"{block}.1.") for other in named)
            name = name.replace(".UP.", ".2." if has_attention else ".1.")
        finished[f"model.diffusion_model.{name}"] = tensor
    return finished


def vae_name(name: str, n_levels: int) -> str:
    name = re.sub(r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(
        r"up_blocks\.(\d+)\.resnets\.(\d+)", lambda m: f"up.{n_levels - 1 - int(m[1])}.block.{m[2]}", name
    )
    name = re.sub(
        r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{n_levels - 1 - int(m[1])}.upsample", name
    )
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = name.replace("mid_block.attentions.0", "mid.attn_1")
    name = replace_words(name, VAE_ATTENTION) if "attn_1" in name else name
    return name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")


def convert_vae(weights: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    finished = {}
    for name, tensor in weights.items():
        other = vae_name(name, len(config["block_out_channels"]))
        if "attn_1" in other and tensor.ndim == 2:
            tensor = tensor[:, :, None, None]
        finished[f"first_stage_model.{other}"] = tensor
    return finished


def convert_clip(weights: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {f"{prefix}text_model.{name.removeprefix('text_model.')}": one for name, one in weights.items()}


def convert_openclip(weights: dict[str, Any], prefix: str, extra_layer: bool) -> dict[str, Any]:
    """extra_layer: as in Stable Diffusion 2's files, which have one layer more than is used."""
    import torch

    plain = {name.removeprefix("text_model."): tensor for name, tensor in weights.items()}
    width = plain["final_layer_norm.weight"].shape[0]
    finished: dict[str, Any] = {
        "token_embedding.weight": plain["embeddings.token_embedding.weight"],
        "positional_embedding": plain["embeddings.position_embedding.weight"],
        "text_projection": plain.get("text_projection.weight", torch.eye(width)).T.contiguous(),
    }
    for part in ("weight", "bias"):
        finished[f"ln_final.{part}"] = plain[f"final_layer_norm.{part}"]
    n_layers = 1 + max(int(name.split(".")[2]) for name in plain if name.startswith("encoder.layers."))
    for layer in range(n_layers):
        ours, theirs = f"encoder.layers.{layer}.", f"transformer.resblocks.{layer}."
        for part in ("weight", "bias"):
            rows = [plain[f"{ours}self_attn.{one}_proj.{part}"] for one in "qkv"]
            finished[f"{theirs}attn.in_proj_{part}"] = torch.cat(rows)
            for word, other in OPENCLIP.items():
                finished[f"{theirs}{other}.{part}"] = plain[f"{ours}{word}.{part}"]
    if extra_layer:
        last = f"transformer.resblocks.{n_layers - 1}."
        again = {name: one for name, one in finished.items() if name.startswith(last)}
        finished |= {
            name.replace(last, f"transformer.resblocks.{n_layers}."): one.clone()
            for name, one in again.items()
        }
    return {f"{prefix}{name}": tensor.contiguous() for name, tensor in finished.items()}


def write_checkpoint(folder: Path, path: Path, kind: str, vocabulary: Path, **extra: Any) -> Path:
    """The diffusers folder as one file at `path`, its vocabulary beside it. kind: sd1, sd2 or sdxl.

    extra: further tensors of the file.
    """
    import torch
    from safetensors.torch import load_file, save_file

    def read(part: str) -> dict[str, Any]:
        return dict(load_file(next((folder / part).glob("*.safetensors"))))

    def config(part: str) -> dict[str, Any]:
        table: dict[str, Any] = json.loads((folder / part / "config.json").read_text())
        return table

    tensors = convert_unet(read("unet"), config("unet")) | convert_vae(read("vae"), config("vae"))
    first: dict[str, Callable[[], dict[str, Any]]] = {
        "sd1": lambda: convert_clip(read("text_encoder"), "cond_stage_model.transformer."),
        "sd2": lambda: convert_openclip(read("text_encoder"), "cond_stage_model.model.", True),
        "sdxl": lambda: convert_clip(read("text_encoder"), "conditioner.embedders.0.transformer."),
    }
    tensors |= first[kind]()
    if kind == "sdxl":
        tensors |= convert_openclip(read("text_encoder_2"), "conditioner.embedders.1.model.", False)
    tensors |= {name: torch.tensor(numbers) for name, numbers in extra.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path)
    for name in ("vocab.json", "merges.txt"):
        shutil.copyfile(vocabulary / name, path.parent / name)
    return path
