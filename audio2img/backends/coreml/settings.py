"""What the parts of a model do not say of it: a file of our own beside them, SIDECAR_NAME.

    {"format": 1, "name": "...", "prediction_type": "epsilon", "scaling_factor": 0.18215,
     "pad_token": "!", "pad_token_2": "!", "zero_empty_negative": true,
     "scheduler": {keys of diffusers' scheduler_config.json},
     "latent_rgb": {"matrix": [[3 numbers] for each latent channel], "bias": [3 numbers]},
     "defaults": {"steps": 20, "guidance_scale": 7.5, "scheduler": "dpmpp-2m"}}

Every key is optional; without it, what Stable Diffusion 1.x, 2.x and XL were published with is assumed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio2img.backends.coreml.contract import Contract
from audio2img.backends.coreml.layout import REMEDY
from audio2img.diffusion import ModelDefaults
from audio2img.diffusion.facts import PUBLISHED_SCHEDULERS, ModelFacts, usual_defaults
from audio2img.diffusion.preview import LATENT_RGB, SCALING_FACTORS, LatentPreview
from audio2img.diffusion.schedulers import SCHEDULER_NAMES, SchedulerConfig, refuse_unsupported
from audio2img.diffusion.tokenizer import find_pad_token
from audio2img.errors import ModelError, reason_of
from audio2img.files import read_bounded
from audio2img.foreign_json import parse_json

SIDECAR_NAME = "audio2img.json"
SIDECAR_FORMAT = 1
MAX_SIDECAR_BYTES = 1 << 20

SD2_TEXT_WIDTH = 1024  # the width of OpenCLIP ViT-H; CLIP ViT-L has 768
SD2_V_LATENT_SIZE = 96  # Stable Diffusion 2.x at 768x768 predicts v; at 512x512 noise
OPENCLIP_PAD_TOKEN = "!"


@dataclass(frozen=True)
class BundleSettings:
    """What a model is called, what it says of itself, and how its latents are looked at on the way."""

    name: str
    facts: ModelFacts
    preview: LatentPreview


def read_settings(folder: Path, contract: Contract, tokenizer: Path) -> BundleSettings:
    """The sidecar's settings, with what it leaves open inferred. tokenizer: the folder of its files.

    Raises ModelError if the sidecar is damaged, or asks for what is not supported here.
    """
    path = folder / SIDECAR_NAME
    content = _read_sidecar(path) if path.exists() else {}
    reader = _SettingsReader(path, content)
    return BundleSettings(
        name=reader.text("name", folder.resolve().name),
        facts=_read_facts(reader, contract, tokenizer),
        preview=_read_preview(reader, contract),
    )


def _read_facts(reader: _SettingsReader, contract: Contract, tokenizer: Path) -> ModelFacts:
    is_sd2 = contract.kind == "sd" and contract.text_width == SD2_TEXT_WIDTH
    predicts_v = is_sd2 and min(contract.latent_shape[1:]) >= SD2_V_LATENT_SIZE
    scheduler = {
        "prediction_type": "v_prediction" if predicts_v else "epsilon",
        **(reader.table("scheduler") if reader.has("scheduler") else PUBLISHED_SCHEDULERS[contract.kind]),
        **({"prediction_type": reader.text("prediction_type", "")} if reader.has("prediction_type") else {}),
    }
    refuse_unsupported(scheduler)
    pads = [reader.text("pad_token", OPENCLIP_PAD_TOKEN if is_sd2 else "") or find_pad_token(tokenizer)]
    if contract.kind == "sdxl":
        pads.append(reader.text("pad_token_2", OPENCLIP_PAD_TOKEN))
    return ModelFacts(
        family=contract.kind,
        scheduler=SchedulerConfig.from_dict(scheduler),
        scaling_factor=reader.positive("scaling_factor", SCALING_FACTORS[contract.kind]),
        pad_tokens=tuple(pads),
        zero_empty_negative=reader.truth("zero_empty_negative", contract.kind == "sdxl"),
        defaults=_read_defaults(reader, contract),
    )


def _read_defaults(reader: _SettingsReader, contract: Contract) -> ModelDefaults:
    usual = usual_defaults(contract.kind, {}, contract.size)
    given = _SettingsReader(reader.path, reader.table("defaults"))
    return replace(
        usual,
        steps=int(given.positive("steps", usual.steps)),
        guidance_scale=given.number("guidance_scale", usual.guidance_scale),
        scheduler=given.choice("scheduler", usual.scheduler, SCHEDULER_NAMES),
    )


def _read_sidecar(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(read_bounded(path, MAX_SIDECAR_BYTES))
        if not isinstance(content, dict):
            raise ValueError("it is no table")
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is damaged: {reason_of(error)}", REMEDY) from error
    if content.get("format", SIDECAR_FORMAT) != SIDECAR_FORMAT:
        raise ModelError(
            f"{path} is of format {content['format']!r}, not {SIDECAR_FORMAT}", "update audio2img"
        )
    return content


def _read_preview(reader: _SettingsReader, contract: Contract) -> LatentPreview:
    channels = contract.latent_shape[0]
    table = reader.table("latent_rgb")
    if table:
        own = _SettingsReader(reader.path, table)
        return LatentPreview(own.numbers("matrix", (channels, 3)), own.numbers("bias", (3,)))
    matrix = np.zeros((channels, 3), dtype=np.float32)
    if channels == len(LATENT_RGB[contract.kind]):
        matrix += np.array(LATENT_RGB[contract.kind]) / 2  # to [0, 1], with the bias below
    return LatentPreview(matrix, np.full(3, 0.5, dtype=np.float32))


class _SettingsReader:
    """Typed look-ups in a table of the sidecar; a wrong kind of value raises ModelError."""

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        self.path = path
        self._content = content

    def _wrong(self, key: str) -> ModelError:
        value = str(self._content.get(key))[:60]
        return ModelError(f"{self.path} has {key} = {value!r}, which is not understood", REMEDY)

    def has(self, key: str) -> bool:
        return key in self._content

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

    def truth(self, key: str, default: bool) -> bool:
        value = self._content.get(key, default)
        if not isinstance(value, bool):
            raise self._wrong(key)
        return value

    def choice(self, key: str, default: str, choices: tuple[str, ...]) -> str:
        value = self.text(key, default)
        if value not in choices:
            raise self._wrong(key)
        return value

    def number(self, key: str, default: float) -> float:
        """A finite number from 0 up."""
        value = self._content.get(key, default)
        try:
            number = float(value) if type(value) in (int, float) else math.nan
        except OverflowError:  # a whole number of hundreds of digits
            number = math.inf
        if not math.isfinite(number) or number < 0:
            raise self._wrong(key)
        return number

    def positive(self, key: str, default: float) -> float:
        value = self.number(key, default)
        if value == 0:
            raise self._wrong(key)
        return value

    def numbers(self, key: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        try:
            array = np.array(self._content[key], dtype=np.float32)
        except (KeyError, ValueError, TypeError) as error:
            raise self._wrong(key) from error
        if array.shape != shape or not np.isfinite(array).all():
            raise self._wrong(key)
        return array
