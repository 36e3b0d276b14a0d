"""A whole model in one safetensors file, in the layout of Stable Diffusion's first publishers.

Such a file holds weights and nothing else. The settings of its networks are read off the shapes of
the weights, and written as a diffusers folder without weights into our cache; diffusers then
converts the weights by it. What no shape tells: heads (of 64 channels, or 8 where the projections
are convolutions), and what the UNet predicts. That is taken from a file of the same name with .json
({"prediction_type": "v_prediction", "size": 768}), from the file's own metadata, or assumed.

The vocabulary is CLIP's, and in none of these files: it is taken from beside the file, or from a
model that is on this machine.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audio2img.backends.torch.caches import skeletons_dir
from audio2img.backends.torch.folder import (
    INDEX_NAME,
    NEEDED,
    SAFETENSORS,
    SCHEDULER_CONFIG,
    Kind,
    ModelFolder,
    Part,
    read_header,
    read_json,
    read_metadata,
)
from audio2img.backends.torch.plan import Plan
from audio2img.backends.torch.shapes import (
    CLIP_L,
    CLIP_L_XL,
    OPENCLIP,
    OPENCLIP_XL,
    UNET,
    VAE,
    CheckpointSettings,
    Shapes,
)
from audio2img.errors import ModelError
from audio2img.store.receipts import all_receipts

TOKENIZER_FILES = ("vocab.json", "merges.txt")


def read_checkpoint(path: Path, name: str | None = None) -> ModelFolder:
    """The model in a single file.

    Raises ModelError when it is no Stable Diffusion 1, 2 or XL, or no safetensors file, and where no
    vocabulary is found for it.
    """
    if path.suffix.lower() != SAFETENSORS:
        raise ModelError(
            f"{path} is no safetensors file; others can run any program when they are loaded",
            f"give a {SAFETENSORS} file or a diffusers folder",
        )
    header = read_header(path)
    shapes = {key: tuple(tensor["shape"]) for key, tensor in header.items()}
    kind, prefixes = _find_kind(path, shapes)
    wishes = _read_wishes(path)
    settings = CheckpointSettings(path, shapes, kind, prefixes, wishes)
    skeleton = _write_skeleton(path, settings)
    parts = {
        part: Part(
            part, skeleton / part, settings.class_of(part), read_json(skeleton / part / "config.json"),
            {"": (path,)}, prefixes[part],
        )
        for part in NEEDED[kind]
    }  # fmt: skip
    return ModelFolder(
        path=skeleton,
        name=name or path.stem,
        kind=kind,
        parts=parts,
        scheduler=read_json(skeleton / "scheduler" / SCHEDULER_CONFIG),
        tokenizers=tuple(skeleton / one for one in settings.tokenizer_pads()),
        index=read_json(skeleton / INDEX_NAME),
        checkpoint=path,
    )


def load_checkpoint(model: ModelFolder, plan: Plan) -> dict[str, Any]:
    """The networks of a single file. Raises whatever torch and diffusers raise for a damaged one."""
    import diffusers
    import torch

    dtypes = {"half": torch.float16, "full": torch.float32}
    pipeline = getattr(diffusers, str(model.index["_class_name"]))
    without = ("tokenizer", "tokenizer_2", "safety_checker", "feature_extractor", "image_encoder")
    known = pipeline.__init__.__annotations__
    pipe = pipeline.from_single_file(
        str(model.checkpoint),
        config=str(model.path),
        local_files_only=True,
        torch_dtype=dtypes[plan.precision],
        **{name: None for name in without if name in known},
    )
    modules = {name: pipe.components[name] for name in model.parts}
    for name, module in modules.items():
        empty = next((key for key, tensor in module.named_parameters() if tensor.is_meta), None)
        if empty is not None:
            raise ModelError(
                f"{model.checkpoint} lacks {empty} of the {name.replace('_', ' ')}", "get it again"
            )
    modules["vae"].to(dtypes[plan.vae_precision])
    return modules


def _find_kind(path: Path, shapes: Shapes) -> tuple[Kind, dict[str, str]]:
    """The kind of model, and what the names of each part's weights begin with."""
    common = {"unet": UNET, "vae": VAE}
    for prefixes in (
        {"text_encoder": CLIP_L_XL, "text_encoder_2": OPENCLIP_XL},
        {"text_encoder": CLIP_L},
        {"text_encoder": OPENCLIP},
    ):
        found = {**prefixes, **common}
        if all(any(key.startswith(prefix) for key in shapes) for prefix in found.values()):
            return ("sdxl" if "text_encoder_2" in found else "sd"), found
    raise ModelError(
        f"{path} is not a whole Stable Diffusion 1, 2 or XL: it lacks weights of its parts",
        "for a LoRA: `loras=PATH` beside a `model`; else give a whole checkpoint or a diffusers folder",
    )


def _read_wishes(path: Path) -> dict[str, Any]:
    """What a .json of the same name says, or else the file's metadata: prediction_type, size."""
    beside = path.with_suffix(".json")
    if beside.is_file():
        return read_json(beside)
    metadata = read_metadata(path)  # keys of Stability AI's ModelSpec
    wishes: dict[str, Any] = {}
    if metadata.get("modelspec.prediction_type") == "v":
        wishes["prediction_type"] = "v_prediction"
    if match := re.fullmatch(r"(\d+)x\1", str(metadata.get("modelspec.resolution", ""))):
        wishes["size"] = int(match[1])
    return wishes


def _write_skeleton(path: Path, settings: CheckpointSettings) -> Path:
    """The diffusers folder of a checkpoint without its weights, in our cache. Made anew at each load."""
    vocabulary = _find_vocabulary(path, settings.n_tokens())
    files = settings.all()
    key = hashlib.sha256(json.dumps([str(path.resolve()), files], sort_keys=True).encode()).hexdigest()[:16]
    home = skeletons_dir() / key
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=".making-") as temporary:
        work = Path(temporary) / "model"
        for name, table in files.items():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(json.dumps(table, indent=2), encoding="utf-8")
        for name, pad in settings.tokenizer_pads().items():
            (work / name).mkdir()
            for file in TOKENIZER_FILES:
                shutil.copyfile(vocabulary / file, work / name / file)
            (work / name / "special_tokens_map.json").write_text(
                json.dumps({"pad_token": pad}), encoding="utf-8"
            )
        if not home.exists():
            try:
                work.rename(home)
            except OSError:
                if not home.exists():  # else another process was quicker
                    raise
    return home


def _find_vocabulary(path: Path, n_tokens: int) -> Path:
    """A folder with vocab.json and merges.txt of so many tokens: beside the file, or an installed model's."""
    for folder in (path.parent, path.parent / "tokenizer", *_installed_vocabularies()):
        if all((folder / name).is_file() for name in TOKENIZER_FILES):
            try:
                if len(read_json(folder / "vocab.json")) == n_tokens:
                    return folder
            except ModelError:
                continue
    raise ModelError(
        f"{path} has no vocabulary, and no model on this machine has one of {n_tokens:,} tokens",
        "put vocab.json and merges.txt beside it, or get a model that has them: "
        "audio2img models get sd21-base-diffusers",
    )


def _installed_vocabularies() -> Iterator[Path]:
    for receipt in all_receipts():
        for file in receipt.files:
            if file.path.rpartition("/")[2] == "vocab.json":
                yield (Path(receipt.root) / file.path).parent
