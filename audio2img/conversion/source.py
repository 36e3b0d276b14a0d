"""The door: is this a diffusers folder that can be converted, and what is in it?

Only configuration files are read here, so a wrong source is refused before anything heavy is imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audio2img.conversion.plan import PARTS, Kind
from audio2img.errors import ModelError, UsageError, reason_of
from audio2img.files import read_bounded
from audio2img.foreign_json import parse_json

COMPONENTS = {
    "text_encoder": "text_encoder",
    "text_encoder_2": "text_encoder_2",
    "unet": "unet",
    "vae_decoder": "vae",
    "vae_encoder": "vae",
    "safety_checker": "safety_checker",
}
"""The folder that holds each part's weights."""

CLASSES = {
    "text_encoder": ("CLIPTextModel",),
    "text_encoder_2": ("CLIPTextModelWithProjection",),
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL",),
    "safety_checker": ("StableDiffusionSafetyChecker",),
}
"""The classes of diffusers and transformers that can be converted, per folder."""

_WEIGHTS = re.compile(
    r"(?:model|diffusion_pytorch_model)(?:\.(?P<variant>fp16))?(?:-\d{5}-of-\d{5})?\.safetensors"
)
_INDEX = re.compile(r"(?:model|diffusion_pytorch_model)\.safetensors\.index(?:\.fp16)?\.json")
_PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
MAX_JSON_BYTES = 1 << 26
_REMEDY = "get the model again as a diffusers folder with .safetensors files"


@dataclass(frozen=True)
class Source:
    """A diffusers folder whose files are all here.

    name: what the model is called (hub id or folder name). parts: what can be converted, in order.
    variants: of the weight files, per folder. configs: config.json per folder.
    latent_size: (height, width) of the UNet's own latents; factor: picture pixels per latent.
    """

    folder: Path
    name: str
    kind: Kind
    parts: tuple[str, ...]
    variants: Mapping[str, str | None]
    configs: Mapping[str, Mapping[str, Any]]
    latent_size: tuple[int, int]
    factor: int

    def latent_size_of(self, size: tuple[int, int] | None) -> tuple[int, int]:
        """(height, width) of the latents for a picture of `size`, (width, height). Raises UsageError."""
        if size is None:
            return self.latent_size
        # Each level of the UNet halves the latents, and every half must be whole.
        step = self.factor * 2 ** (len(self.configs["unet"]["block_out_channels"]) - 1)
        if any(side % step for side in size):
            raise UsageError(
                f"this model cannot draw {size[0]}x{size[1]}", f"width and height must be multiples of {step}"
            )
        return size[1] // self.factor, size[0] // self.factor


def open_source(folder: Path, name: str | None = None, only: Iterable[str] | None = None) -> Source:
    """The diffusers folder, checked as far as its configuration goes. only: the parts that are wanted.

    Raises ModelError if it is none, lacks a file, holds pickles instead of safetensors, or holds a
    model of another architecture; UsageError if a part is wanted that the model does not have.
    """
    index = read_json(folder / "model_index.json", f"{folder} is no diffusers model")
    present = [part for part in PARTS if _class_name(index, COMPONENTS[part])]
    kind: Kind = "sdxl" if "text_encoder_2" in present else "sd"
    _check_classes(folder, index, present)
    wanted = set(present if only is None else only)
    if wanted - set(present):
        raise UsageError(
            f"{folder} has no {', '.join(sorted(wanted - set(present)))}", f"it has: {', '.join(present)}"
        )
    parts = tuple(part for part in present if part in wanted)
    # The UNet's and the autoencoder's settings are needed whatever is converted.
    needed = dict.fromkeys([*(COMPONENTS[part] for part in parts), "unet", "vae"])
    configs = {name: read_json(folder / name / "config.json", f"{folder} has no {name}") for name in needed}
    variants = {
        name: find_variant(folder, name) for name in dict.fromkeys(COMPONENTS[part] for part in parts)
    }
    _check_files(folder, kind)
    factor = 2 ** (len(_setting(folder, configs, "vae", "block_out_channels")) - 1)
    _check_channels(folder, configs)
    return Source(
        folder=folder,
        name=name or folder.resolve().name,
        kind=kind,
        parts=parts,
        variants=variants,
        configs=configs,
        latent_size=_latent_size(_setting(folder, configs, "unet", "sample_size")),
        factor=factor,
    )


def read_json(path: Path, missing: str = "") -> dict[str, Any]:
    """A JSON table. Raises ModelError, which begins with `missing` where the file is not there."""
    if not path.is_file():
        raise ModelError(f"{missing or path.parent}: there is no {path.name}", _REMEDY)
    try:
        table = parse_json(read_bounded(path, MAX_JSON_BYTES))
        if not isinstance(table, dict):
            raise ValueError("it is no table")
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is damaged: {reason_of(error)}", _REMEDY) from error
    return table


def _class_name(index: Mapping[str, Any], component: str) -> str | None:
    """The class that model_index.json names for a component: [library, class] or [null, null]."""
    entry = index.get(component)
    if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[1], str):
        return None
    return entry[1]


def _check_classes(folder: Path, index: Mapping[str, Any], present: Iterable[str]) -> None:
    kept = set(present)
    for part in ("text_encoder", "unet", "vae_decoder"):
        if part not in kept:
            raise ModelError(
                f"{folder} has no {COMPONENTS[part]}: it is no Stable Diffusion 1.x, 2.x or XL",
                "other architectures are not converted",
            )
    for part in kept:
        component = COMPONENTS[part]
        found = _class_name(index, component)
        if found not in CLASSES[component]:
            raise ModelError(
                f"the {component} of {folder} is a {found}, not a {CLASSES[component][0]}",
                "only Stable Diffusion 1.x, 2.x and XL are converted",
            )


def find_variant(folder: Path, component: str) -> str | None:
    """Which weight files of a component to load: None for the plain ones, "fp16" where there are only those.

    Raises ModelError if there are none, naming the pickle that is there instead.
    """
    here = folder / component
    names = sorted(path.name for path in here.iterdir()) if here.is_dir() else []
    matches = [match for name in names if (match := _WEIGHTS.fullmatch(name))]
    if matches:
        variants = {match["variant"] for match in matches}
        return None if None in variants else variants.pop()
    pickles = [name for name in names if name.endswith(_PICKLES)]
    if pickles:
        raise ModelError(f"{here / pickles[0]} is a pickle, which can run code and is never loaded", _REMEDY)
    raise ModelError(f"{folder} has no weights for its {component}", _REMEDY)


def wanted_weights(names: Iterable[str], component: str) -> list[str]:
    """Of the file names in a repository, the weights of a component to download: float16 ones if there are.

    Packages hold float16, so the larger files would give the same.
    """
    here = {name.removeprefix(f"{component}/"): name for name in names if name.startswith(f"{component}/")}
    matches = {name: match for name in here if (match := _WEIGHTS.fullmatch(name))}
    variants = {match["variant"] for match in matches.values()}
    chosen = "fp16" if "fp16" in variants else None
    weights = [here[name] for name, match in matches.items() if match["variant"] == chosen]
    indexes = [here[name] for name in here if _INDEX.fullmatch(name) and ("fp16" in name) == bool(chosen)]
    return sorted(weights + indexes)


def _check_files(folder: Path, kind: Kind) -> None:
    tokenizers = ("tokenizer", "tokenizer_2") if kind == "sdxl" else ("tokenizer",)
    for path in [f"{one}/{name}" for one in tokenizers for name in ("vocab.json", "merges.txt")]:
        if not (folder / path).is_file():
            raise ModelError(f"{folder} has no {path}", _REMEDY)
    read_json(folder / "scheduler" / "scheduler_config.json", f"{folder} has no scheduler")


def _setting(folder: Path, configs: Mapping[str, Mapping[str, Any]], component: str, key: str) -> Any:
    if configs[component].get(key) is None:
        raise ModelError(f"{folder / component / 'config.json'} does not say {key}", _REMEDY)
    return configs[component][key]


def _latent_size(sample_size: Any) -> tuple[int, int]:
    """(height, width) from the UNet's sample_size: one number, or the two of them."""
    sides = sample_size if isinstance(sample_size, list) else [sample_size, sample_size]
    if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        raise ModelError(f"the UNet's sample_size {sample_size!r} is not understood", _REMEDY)
    return sides[0], sides[1]


def _check_channels(folder: Path, configs: Mapping[str, Mapping[str, Any]]) -> None:
    """An inpainting or depth UNet takes more than latents, which nothing here would give it."""
    takes = _setting(folder, configs, "unet", "in_channels")
    gives = configs["vae"].get("latent_channels", 4)
    if takes != gives:
        raise ModelError(
            f"the unet of {folder} takes {takes} channels, not the autoencoder's {gives}",
            "inpainting, depth and upscaling models are not converted",
        )
