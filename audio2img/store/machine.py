"""Which models this machine takes when none is named."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

from audio2img.store.rows import Format, Kind, Platform

DRAWABLE: tuple[Format, ...] = ("coreml", "diffusers")
"""Formats of image models that have a backend."""

DIFFUSERS_PACKAGES = ("torch", "diffusers", "transformers")
PLATFORMS: dict[str, Platform] = {"darwin": "macos", "win32": "windows"}


@dataclass(frozen=True)
class Machine:
    """platform: the system; has_diffusers: the packages of the diffusers extra can be imported."""

    platform: Platform
    has_diffusers: bool

    @property
    def defaults(self) -> dict[Kind, str]:
        """The model of each kind to take when none is named. Whisper base runs everywhere."""
        image = self.default_image()
        return {"image": image, "speech": "whisper-base", "vad": "silero-vad", "sound": "yamnet"}

    def default_image(self, backend: str = "auto") -> str:
        """The model that draws when none is named. Pictures of anything need Core ML, or the diffusers
        extra; elsewhere the embedded model draws."""
        if backend == "diffusers" or (backend == "auto" and self.platform != "macos" and self.has_diffusers):
            return "sd21-base-diffusers"
        return "sd21-base-palettized" if self.platform == "macos" else "mini"


@cache
def this_machine() -> Machine:
    has_diffusers = all(find_spec(name) is not None for name in DIFFUSERS_PACKAGES)
    return Machine(PLATFORMS.get(sys.platform, "linux"), has_diffusers)
