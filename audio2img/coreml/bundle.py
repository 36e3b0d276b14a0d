"""An image model as a folder of Core ML parts: which are here, and whether they fit together.

Both of Apple's layouts are read: the packages its converter writes
(`Stable_Diffusion_version_<model>_<part>.mlpackage`, for Python) and the compiled resources it
publishes (`TextEncoder.mlmodelc`, `Unet.mlmodelc`, ..., for Swift), with vocab.json and merges.txt
beside them. What neither has a place for, a file of our own may carry, SIDECAR_NAME:

    {"format": 1, "name": "...", "prediction_type": "epsilon", "scaling_factor": 0.18215,
     "pad_token": "!", "scheduler": {keys of diffusers' scheduler_config.json},
     "defaults": {"steps": 20, "guidance_scale": 7.5, "scheduler": "dpmpp-2m"}}

Every key is optional; without it, what Stable Diffusion 1.x and 2.x were trained with is assumed.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from audio2img.coreml.mlpackage import ArraySpec, Description, read_description
from audio2img.diffusion import ModelDefaults
from audio2img.diffusion.schedulers import SCHEDULER_NAMES, SchedulerConfig
from audio2img.errors import ModelError

SIDECAR_NAME = "audio2img.json"
SIDECAR_FORMAT = 1
TOKENIZER_FILES = ("vocab.json", "merges.txt")

COMPILED_NAMES = {
    "text_encoder": "TextEncoder",
    "unet": "Unet",
    "vae_decoder": "VAEDecoder",
    "vae_encoder": "VAEEncoder",
    "safety_checker": "SafetyChecker",
}
"""The parts this backend knows, with the file names of Apple's compiled layout."""

REQUIRED_PARTS = ("text_encoder", "unet", "vae_decoder")
REMEDY = "get the model again, or convert it with apple/ml-stable-diffusion"

SD_SCALING_FACTOR = 0.18215  # of the autoencoder of Stable Diffusion 1.x and 2.x
SD2_TEXT_WIDTH = 1024  # the width of OpenCLIP ViT-H; CLIP ViT-L has 768
SD2_V_LATENT_SIZE = 96  # Stable Diffusion 2.x at 768x768 predicts v; at 512x512 noise
OPENCLIP_PAD_TOKEN = "!"
DEFAULT_STEPS = 20
DEFAULT_GUIDANCE_SCALE = 7.5
DEFAULT_SCHEDULER = "dpmpp-2m"


@dataclass(frozen=True)
class Part:
    """One model of a bundle: its name (a key of COMPILED_NAMES), where it is, what it takes and gives."""

    name: str
    path: Path
    description: Description

    @property
    def inputs(self) -> dict[str, ArraySpec]:
        return {spec.name: spec for spec in self.description.inputs}

    @property
    def outputs(self) -> dict[str, ArraySpec]:
        return {spec.name: spec for spec in self.description.outputs}

    def wrong(self, reason: str, remedy: str = REMEDY) -> ModelError:
        return ModelError(f"the {self.name.replace('_', ' ')} {self.path} {reason}", remedy)


@dataclass(frozen=True)
class Settings:
    """What a model was trained with and draws best with, as far as its parts do not say it.

    scaling_factor: latents are multiplied by it after encoding, divided by it before decoding.
    pad_token: None leaves the choice to the tokenizer's own files.
    """

    name: str
    scaling_factor: float
    pad_token: str | None
    scheduler: SchedulerConfig
    steps: int
    guidance_scale: float
    default_scheduler: str


@dataclass(frozen=True)
class Bundle:
    """A model whose parts are all here and fit together.

    batch: how many pictures the UNet takes at once: 2 (both halves of the guidance) or 1.
    latent_shape: (channels, height, width); size: (width, height) of the picture in pixels.
    context_length, text_width: positions and channels of the text encoder's output.
    """

    folder: Path
    parts: Mapping[str, Part]
    settings: Settings
    batch: int
    latent_shape: tuple[int, int, int]
    size: tuple[int, int]
    context_length: int
    text_width: int
    files: tuple[Path, ...] = field(repr=False, default=())

    @property
    def defaults(self) -> ModelDefaults:
        settings = self.settings
        return ModelDefaults(
            settings.steps, settings.guidance_scale, settings.default_scheduler, self.size[0], self.size[1]
        )

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) over names, sizes and contents of the bundle's files, in the order of their names."""
        digest = hashlib.sha256()
        for path in self.files:
            try:
                with path.open("rb") as file:
                    digest.update(path.relative_to(self.folder).as_posix().encode("utf-8") + b"\0")
                    digest.update(path.stat().st_size.to_bytes(8, "little"))
                    while chunk := file.read(1 << 20):
                        digest.update(chunk)
            except OSError as error:
                raise ModelError(f"the model file {path} cannot be read: {error}", REMEDY) from error
        return digest.hexdigest()


def load_bundle(folder: Path, name: str | None = None) -> Bundle:
    """The bundle in `folder`, found, read and checked; no part is loaded for running yet.

    name: what to call the model; None takes the sidecar's or the folder's name.
    Raises ModelError, with the part's name, if one is missing, damaged, or not as the others need it.
    """
    if not folder.is_dir():
        raise ModelError(f"there is no model folder {folder}", "see what there is: audio2img models list")
    parts = {part: Part(part, path, _describe(path)) for part, path in _find_parts(folder).items()}
    for file_name in TOKENIZER_FILES:
        if not (folder / file_name).is_file():
            raise ModelError(f"the model in {folder} has no {file_name}", REMEDY)
    batch, latent_shape, text_width = _check_unet(parts["unet"])
    context_length = _check_text_encoder(parts["text_encoder"], parts["unet"], text_width)
    size = _check_vae_decoder(parts["vae_decoder"], latent_shape)
    settings = _read_settings(folder, text_width, latent_shape)
    return Bundle(
        folder=folder,
        parts=parts,
        settings=settings if name is None else replace(settings, name=name),
        batch=batch,
        latent_shape=latent_shape,
        size=size,
        context_length=context_length,
        text_width=text_width,
        files=tuple(
            sorted(_bundle_files(folder, parts), key=lambda path: path.relative_to(folder).as_posix())
        ),
    )


def _find_parts(folder: Path) -> dict[str, Path]:
    """Where each part is. On a Mac a compiled model goes before a package (it need not be compiled)."""
    found: dict[str, Path] = {}
    for part, compiled_name in COMPILED_NAMES.items():
        compiled = [path for path in [folder / f"{compiled_name}.mlmodelc"] if path.is_dir()]
        packages = sorted(folder.glob(f"*_{part}.mlpackage")) + sorted(
            folder.glob(f"{compiled_name}.mlpackage")
        )
        if len(packages) > 1:
            names = ", ".join(path.name for path in packages)
            raise ModelError(f"the folder {folder} has several models: {names}", "put each in its own folder")
        candidates = compiled + packages if sys.platform == "darwin" else packages + compiled
        if candidates:
            found[part] = candidates[0]
    for part in REQUIRED_PARTS:
        if part not in found:
            chunks = [*folder.glob("*_unet_chunk1.mlpackage"), *folder.glob("UnetChunk1.mlmodelc")]
            if part == "unet" and chunks:
                raise ModelError(
                    f"the UNet in {folder} is cut in two ({chunks[0].name}), which is not supported",
                    "convert it without --chunk-unet",
                )
            raise ModelError(f"the folder {folder} has no {part.replace('_', ' ')}", REMEDY)
    return found


def _describe(path: Path) -> Description:
    return read_description(path) if path.suffix == ".mlpackage" else read_compiled_description(path)


SCHEMA_TYPES: dict[str, np.dtype[np.generic]] = {
    "Float16": np.dtype(np.float16),
    "Float32": np.dtype(np.float32),
    "Double": np.dtype(np.float64),
    "Int32": np.dtype(np.int32),
}


def read_compiled_description(path: Path) -> Description:
    """What a `.mlmodelc` takes and gives, from its metadata.json; it has no specification.

    Raises ModelError if that file is missing or damaged.
    """
    metadata = path / "metadata.json"
    try:
        (content, *_) = json.loads(metadata.read_text(encoding="utf-8"))
        inputs = tuple(_read_schema(entry) for entry in content["inputSchema"])
        outputs = tuple(_read_schema(entry) for entry in content["outputSchema"])
    except OSError as error:
        raise ModelError(f"the compiled model {path} cannot be read: {error}", REMEDY) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{metadata} is damaged: {error!r}", REMEDY) from error
    return Description(inputs, outputs)


def _read_schema(entry: Mapping[str, Any]) -> ArraySpec:
    """One entry of inputSchema or outputSchema; its shape is a JSON list within a text."""
    shape = json.loads(entry["shape"] or "[]")
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"the shape {entry['shape']!r}")
    optional = str(entry.get("isOptional", "0")) == "1"
    return ArraySpec(str(entry["name"]), tuple(shape), SCHEMA_TYPES[entry["dataType"]], optional)


def _check_names(part: Part, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
    needed = {name for name, spec in part.inputs.items() if not spec.optional}
    if needed - set(inputs) or set(inputs) - part.inputs.keys():
        extra = sorted(needed - set(inputs))
        hint = " (an SDXL or ControlNet model?)" if extra else ""
        raise part.wrong(f"takes {sorted(part.inputs)}, not {sorted(inputs)}{hint}")
    if set(outputs) - part.outputs.keys():
        raise part.wrong(f"gives {sorted(part.outputs)}, not {sorted(outputs)}")


def _check_unet(part: Part) -> tuple[int, tuple[int, int, int], int]:
    """(batch, latent shape, text width) of the UNet."""
    _check_names(part, ("sample", "timestep", "encoder_hidden_states"), ("noise_pred",))
    sample, states = part.inputs["sample"].shape, part.inputs["encoder_hidden_states"].shape
    timestep = part.inputs["timestep"].shape
    if len(sample) != 4 or sample[0] not in (1, 2) or min(sample) < 1:
        raise part.wrong(f"takes a sample of shape {list(sample)}, not [1 or 2, channels, height, width]")
    if timestep != sample[:1]:
        raise part.wrong(f"takes timesteps of shape {list(timestep)} for a batch of {sample[0]}")
    if len(states) != 4 or states[0] != sample[0] or states[2] != 1:
        raise part.wrong(f"takes text of shape {list(states)}, not [{sample[0]}, width, 1, length]")
    if part.outputs["noise_pred"].shape not in ((), sample):
        raise part.wrong(f"gives noise of shape {list(part.outputs['noise_pred'].shape)} for {list(sample)}")
    return sample[0], (sample[1], sample[2], sample[3]), states[1]


def _check_text_encoder(part: Part, unet: Part, text_width: int) -> int:
    """The text encoder's number of positions, which with its width must be what the UNet takes."""
    _check_names(part, ("input_ids",), ("last_hidden_state",))
    ids, hidden = part.inputs["input_ids"].shape, part.outputs["last_hidden_state"].shape
    length = unet.inputs["encoder_hidden_states"].shape[3]
    if ids != (1, length):
        raise part.wrong(f"takes tokens of shape {list(ids)}, the UNet text of {length} positions")
    if hidden not in ((), (1, length, text_width)):
        raise part.wrong(f"gives text of shape {list(hidden)}, the UNet takes {[1, length, text_width]}")
    return length


def _check_vae_decoder(part: Part, latent_shape: tuple[int, int, int]) -> tuple[int, int]:
    """(width, height) of the pictures that the decoder gives."""
    _check_names(part, ("z",), ("image",))
    latents, image = part.inputs["z"].shape, part.outputs["image"].shape
    if latents != (1, *latent_shape):
        raise part.wrong(f"takes latents of shape {list(latents)}, the UNet gives {[1, *latent_shape]}")
    if not image:  # older converters leave the shape out
        return 8 * latent_shape[2], 8 * latent_shape[1]
    if len(image) != 4 or image[:2] != (1, 3):
        raise part.wrong(f"gives pictures of shape {list(image)}, not [1, 3, height, width]")
    return image[3], image[2]


def _bundle_files(folder: Path, parts: Mapping[str, Part]) -> Iterator[Path]:
    """The files that decide what the model draws; hidden files are what systems leave behind."""
    for part in parts.values():
        for path in part.path.rglob("*"):
            if path.is_file() and not path.name.startswith("."):
                yield path
    for name in (*TOKENIZER_FILES, SIDECAR_NAME):
        if (folder / name).is_file():
            yield folder / name


def _read_settings(folder: Path, text_width: int, latent_shape: tuple[int, int, int]) -> Settings:
    """The sidecar's settings, with what it leaves open inferred. Raises ModelError if it is damaged."""
    path = folder / SIDECAR_NAME
    content: dict[str, Any] = {}
    if path.is_file():
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(content, dict):
                raise ValueError("it is no table")
        except (OSError, ValueError, RecursionError) as error:
            raise ModelError(f"{path} is damaged: {error}", REMEDY) from error
    if content.get("format", SIDECAR_FORMAT) != SIDECAR_FORMAT:
        raise ModelError(
            f"{path} is of format {content['format']!r}, not {SIDECAR_FORMAT}", "update audio2img"
        )
    is_sd2 = text_width == SD2_TEXT_WIDTH
    predicts_v = is_sd2 and min(latent_shape[1:]) >= SD2_V_LATENT_SIZE
    reader = _SettingsReader(path, content)
    defaults = _SettingsReader(path, reader.table("defaults"))
    scheduler = {
        "prediction_type": "v_prediction" if predicts_v else "epsilon",
        **reader.table("scheduler"),
        **({"prediction_type": content["prediction_type"]} if "prediction_type" in content else {}),
    }
    return Settings(
        name=reader.text("name", folder.resolve().name),
        scaling_factor=reader.positive("scaling_factor", SD_SCALING_FACTOR),
        pad_token=reader.text("pad_token", OPENCLIP_PAD_TOKEN if is_sd2 else "") or None,
        scheduler=SchedulerConfig.from_dict(scheduler),
        steps=int(defaults.positive("steps", DEFAULT_STEPS)),
        guidance_scale=defaults.positive("guidance_scale", DEFAULT_GUIDANCE_SCALE),
        default_scheduler=defaults.choice("scheduler", DEFAULT_SCHEDULER, SCHEDULER_NAMES),
    )


class _SettingsReader:
    """Typed look-ups in a table of the sidecar; a wrong kind of value raises ModelError."""

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        self._path = path
        self._content = content

    def _wrong(self, key: str) -> ModelError:
        return ModelError(f"{self._path} has {key} = {self._content[key]!r}, which is not understood", REMEDY)

    def table(self, key: str) -> Mapping[str, Any]:
        value = self._content.get(key, {})
        if not isinstance(value, dict):
            raise self._wrong(key)
        return value

    def text(self, key: str, default: str) -> str:
        value = self._content.get(key, default)
        if not isinstance(value, str):
            raise self._wrong(key)
        return value

    def choice(self, key: str, default: str, choices: tuple[str, ...]) -> str:
        value = self.text(key, default)
        if value not in choices:
            raise self._wrong(key)
        return value

    def positive(self, key: str, default: float) -> float:
        value = self._content.get(key, default)
        if type(value) not in (int, float) or not math.isfinite(value) or value <= 0:
            raise self._wrong(key)
        return float(value)
