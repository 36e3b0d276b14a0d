"""What a diffusers folder holds: the parts of a model, their safetensors files, their settings.

The classes are ours to name: a folder says which it was made with, and one that is not in CLASSES
is refused, so a folder cannot have code of its own run. The layout:
https://huggingface.co/docs/diffusers/using-diffusers/loading
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from audio2img.diffusion.hashing import hash_files
from audio2img.errors import ModelError, reason_of
from audio2img.files import read_bounded, regular_size
from audio2img.foreign_json import parse_json

Kind = Literal["sd", "sdxl"]

INDEX_NAME = "model_index.json"
RECOMMENDED_NAME = "recommended.json"  # beside it, ours: {"num_inference_steps": 20, "guidance_scale": 5.0}
SCHEDULER_CONFIG = "scheduler_config.json"

PIPELINES: dict[str, Kind] = {
    "StableDiffusionPipeline": "sd",
    "StableDiffusionImg2ImgPipeline": "sd",
    "LatentConsistencyModelPipeline": "sd",
    "LatentConsistencyModelImg2ImgPipeline": "sd",
    "StableDiffusionXLPipeline": "sdxl",
    "StableDiffusionXLImg2ImgPipeline": "sdxl",
}
CLASSES: dict[str, tuple[str, ...]] = {
    "text_encoder": ("CLIPTextModel", "CLIPTextModelWithProjection"),
    "text_encoder_2": ("CLIPTextModelWithProjection",),
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL", "AutoencoderTiny"),
    "safety_checker": ("StableDiffusionSafetyChecker",),
}
NEEDED: dict[Kind, tuple[str, ...]] = {
    "sd": ("text_encoder", "unet", "vae"),
    "sdxl": ("text_encoder", "text_encoder_2", "unet", "vae"),
}
STEMS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model"}  # the others: "model"

SAFETENSORS = ".safetensors"
MAX_JSON_BYTES = 1 << 26
MAX_HEADER_BYTES = 100_000_000  # as the safetensors library
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_REMEDY = "get the model again, or choose another: audio2img models list"


@dataclass(frozen=True)
class Part:
    """A neural network of a model. class_name: of CLASSES[name]; config: its config.json.

    weights: its files by variant; "" is the plain one, "fp16" the usual other.
    prefix: what the names of its weights begin with, in a file that holds others, too.
    """

    name: str
    folder: Path
    class_name: str
    config: Mapping[str, Any]
    weights: Mapping[str, tuple[Path, ...]]
    prefix: str = ""

    def variant(self, half: bool) -> str | None:
        """The variant to load, as diffusers names it; for half precision the small files, if any."""
        order = ("fp16", "bf16", "") if half else ("", "fp32", "fp16", "bf16")
        best = next((name for name in order if name in self.weights), min(self.weights))
        return best or None

    @cached_property
    def n_parameters(self) -> int:
        """How many numbers it holds, of one variant."""
        files = self.weights[self.variant(half=True) or ""]
        return sum(count_parameters(read_header(path), self.prefix) for path in files)


@dataclass(frozen=True)
class ModelFolder:
    """A model whose parts are all here. checkpoint: the single file that holds the weights, if it is one."""

    path: Path
    name: str
    kind: Kind
    parts: Mapping[str, Part]
    scheduler: Mapping[str, Any]
    tokenizers: tuple[Path, ...]
    index: Mapping[str, Any]
    recommended: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: Path | None = None

    @property
    def scheduler_class(self) -> str:
        return str(self.scheduler.get("_class_name", ""))

    @property
    def latent_channels(self) -> int:
        return int(self.parts["unet"].config.get("in_channels", 4))

    @property
    def factor(self) -> int:
        """Pixels for each latent."""
        return int(2 ** (len(self.vae_widths) - 1))

    @property
    def vae_widths(self) -> tuple[int, ...]:
        """Channels of the autoencoder's levels, the first at full size; the tiny one names them otherwise."""
        config = self.parts["vae"].config
        widths = config.get("block_out_channels") or config.get("encoder_block_out_channels")
        if not widths:
            raise ModelError(f"the settings of the autoencoder in {self.path} lack its channels", _REMEDY)
        return tuple(int(width) for width in widths)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels that it was trained for."""
        side = self.parts["unet"].config.get("sample_size") or 64
        height, width = side if isinstance(side, (list, tuple)) else (side, side)
        return int(width) * self.factor, int(height) * self.factor

    def hash(self, half: bool) -> str:
        """SHA-256 (hex) over the files that are read for such a precision, by their names."""
        if self.checkpoint is not None:
            return hash_files(self.checkpoint)
        files = [
            self.path / INDEX_NAME,
            self.path / RECOMMENDED_NAME,
            self.path / "scheduler" / SCHEDULER_CONFIG,
        ]
        for part in self.parts.values():
            files += [part.folder / "config.json", *part.weights[part.variant(half) or ""]]
        for tokenizer in self.tokenizers:
            files += [path for path in tokenizer.iterdir() if path.suffix in (".json", ".txt")]
        digest = hashlib.sha256()
        for path in sorted(filter(Path.is_file, files)):
            digest.update(f"{path.relative_to(self.path).as_posix()} {hash_files(path)}\n".encode())
        return digest.hexdigest()


def looks_like_ours(path: Path) -> bool:
    """True for a diffusers folder, or a single file that may be a checkpoint."""
    return (path / INDEX_NAME).is_file() or (path.is_file() and path.suffix.lower() == SAFETENSORS)


def read_folder(path: Path, name: str | None = None) -> ModelFolder:
    """The model in a diffusers folder.

    Raises ModelError if a part is missing, damaged, unknown, or a pickle.
    """
    index_path = path / INDEX_NAME
    if not index_path.is_file():
        raise ModelError(f"{path} is no diffusers folder: it has no {INDEX_NAME}", _REMEDY)
    index = read_json(index_path)
    pipeline = str(index.get("_class_name"))
    if pipeline not in PIPELINES:
        raise ModelError(
            f"{path} is a {pipeline}, which this version cannot draw with",
            "take a Stable Diffusion 1, 2 or XL, an LCM or a Turbo: audio2img models list",
        )
    kind = PIPELINES[pipeline]
    wanted = (*NEEDED[kind], *(("safety_checker",) if _names(index, "safety_checker") else ()))
    parts = {part: _read_part(path, part, index) for part in wanted}
    n_tokenizers = 2 if kind == "sdxl" else 1
    tokenizers = tuple(path / name for name in ("tokenizer", "tokenizer_2")[:n_tokenizers])
    recommended = path / RECOMMENDED_NAME
    model = ModelFolder(
        path=path,
        name=name or path.resolve().name,
        kind=kind,
        parts=parts,
        scheduler=read_json(path / "scheduler" / SCHEDULER_CONFIG),
        tokenizers=tokenizers,
        index=index,
        recommended=read_json(recommended) if recommended.is_file() else {},
    )
    if (channels := model.latent_channels) != parts["vae"].config.get("latent_channels", 4):
        raise ModelError(
            f"the UNet of {path} takes {channels} channels, which its autoencoder does not make: "
            "it is for another task than drawing from words",
            "choose another: audio2img models list",
        )
    return model


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises ModelError, naming the file, for anything else."""
    try:
        table = parse_json(read_bounded(path, MAX_JSON_BYTES))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {reason_of(error)}", _REMEDY) from error
    if not isinstance(table, dict):
        raise ModelError(f"{path} is damaged: it is no table", _REMEDY)
    return table


def read_header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file: name -> {dtype, shape, data_offsets}. Raises ModelError for others.

    The format: https://huggingface.co/docs/safetensors/index#format
    """
    try:
        size = regular_size(path)
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
                raise ValueError("its header is longer than the file")
            header = parse_json(stream.read(length))
        tensors = {key: value for key, value in header.items() if key != "__metadata__"}
        end = max((int(tensor["data_offsets"][1]) for tensor in tensors.values()), default=0)
        if end != size - 8 - length:
            raise ValueError("it is cut short")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise ModelError(
            f"{path} is not a safetensors file that can be read: {reason_of(error)}", _REMEDY
        ) from error
    return tensors


def read_metadata(path: Path) -> dict[str, Any]:
    """What the maker of a safetensors file wrote into it, already found readable by `read_header`."""
    with path.open("rb") as stream:
        table = parse_json(stream.read(int.from_bytes(stream.read(8), "little"))).get("__metadata__")
    return table if isinstance(table, dict) else {}


def count_parameters(header: Mapping[str, Any], prefix: str = "") -> int:
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name.startswith(prefix))


def _names(index: Mapping[str, Any], part: str) -> bool:
    """Whether the index names a class for this part."""
    entry = index.get(part)
    return isinstance(entry, list) and len(entry) == 2 and entry[1] is not None


def _read_part(path: Path, name: str, index: Mapping[str, Any]) -> Part:
    words = name.replace("_", " ")
    class_name = str(index[name][1]) if _names(index, name) else ""
    if class_name not in CLASSES[name]:
        found = f"a {class_name}, which is unknown here" if class_name else "none"
        raise ModelError(f"the {words} of {path} is {found}", _REMEDY)
    folder = path / name
    config = read_json(folder / "config.json")
    stem = STEMS.get(name, "model")
    weights = _sort_variants(stem, folder.glob(f"{stem}*{SAFETENSORS}"))
    if not weights:
        pickles = sorted(one.name for one in folder.iterdir() if one.suffix in PICKLES)
        what = f"only as a pickle, which can run any program: {pickles[0]}" if pickles else "not here"
        raise ModelError(f"the weights of the {words} in {folder} are {what}", _REMEDY)
    return Part(name, folder, class_name, config, weights)


def _sort_variants(stem: str, files: Iterable[Path]) -> dict[str, tuple[Path, ...]]:
    """Files by variant: stem.safetensors is "", stem.fp16.safetensors "fp16", shards belong together."""
    found: dict[str, list[Path]] = {}
    for path in sorted(files):
        rest = _SHARD.sub("", path.name[len(stem) : -len(SAFETENSORS)])
        if rest == "" or re.fullmatch(r"\.\w+", rest):
            found.setdefault(rest[1:], []).append(path)
    return {variant: tuple(paths) for variant, paths in found.items()}
