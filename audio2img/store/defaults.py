"""Which models this machine takes when none is named."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from audio2img.errors import MachineError
from audio2img.machine import Platform, memory_bytes, missing_packages, this_platform
from audio2img.store.rows import Format, Kind, ModelRow

DRAWABLE: tuple[Format, ...] = ("coreml", "diffusers")
"""Formats of image models that have a backend."""

EMBEDDED_IMAGE, CORE_ML_IMAGE, DIFFUSERS_IMAGE = "mini", "sd21-base-palettized", "sd21-base-diffusers"
"""The models that draw when none is named."""

DIFFUSERS_PACKAGES = ("torch", "diffusers", "transformers")


@dataclass(frozen=True)
class Machine:
    """platform: the system; has_diffusers: the packages of the diffusers extra can be imported."""

    platform: Platform
    has_diffusers: bool

    @property
    def defaults(self) -> dict[Kind, str]:
        """The model of each kind to take when none is named. Whisper base runs everywhere."""
        return {"image": self.default_image, "speech": "whisper-base", "vad": "silero-vad", "sound": "yamnet"}

    @property
    def default_image(self) -> str:
        """The model that draws when none is named. Pictures of anything need Core ML, or the diffusers
        extra; elsewhere the embedded model draws."""
        if self.platform == "macos":
            return CORE_ML_IMAGE
        return DIFFUSERS_IMAGE if self.has_diffusers else EMBEDDED_IMAGE


def why_too_large(row: ModelRow) -> str:
    """What a model needs that has no room in this machine's memory; "" where it has, or where that is not
    known."""
    memory = memory_bytes()
    if memory is None or row.memory_bytes <= memory:
        return ""
    needed = f"{row.name} needs about {row.memory_bytes / 1e9:.1f} GB of memory"
    return f"{needed}, and this machine has {memory / 1e9:.1f} GB"


def check_fits(row: ModelRow) -> None:
    """Raises MachineError for a model that needs more memory than this machine has, where both are known."""
    if reason := why_too_large(row):
        remedy = f"take a smaller model (audio2img models list), or: audio2img models get {row.name} --anyway"
        raise MachineError(reason, remedy)


@cache
def this_machine() -> Machine:
    return Machine(this_platform(), not missing_packages(DIFFUSERS_PACKAGES))
