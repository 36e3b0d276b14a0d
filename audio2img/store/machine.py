"""Which models this machine takes when none is named."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

from audio2img.store.rows import Format, Kind, Platform

DRAWABLE: tuple[Format, ...] = ("coreml",)
"""Formats that have a backend in this version. With "diffusers" among them, systems other than macOS
get a default that draws anything, where the extra is installed."""

DIFFUSERS_PACKAGES = ("torch", "diffusers", "transformers")
PLATFORMS: dict[str, Platform] = {"darwin": "macos", "win32": "windows"}


@dataclass(frozen=True)
class Machine:
    """platform: the system; has_diffusers: the packages of the diffusers extra can be imported."""

    platform: Platform
    has_diffusers: bool

    @property
    def defaults(self) -> dict[Kind, str]:
        """The model of each kind to take when none is named. Whisper base runs everywhere; pictures of
        anything need Core ML, or the diffusers extra; elsewhere the embedded model draws."""
        if self.platform == "macos":
            image = "sd21-base-palettized"
        elif self.has_diffusers and "diffusers" in DRAWABLE:
            image = "sd21-base-diffusers"
        else:
            image = "mini"
        return {"image": image, "speech": "whisper-base", "vad": "silero-vad", "sound": "yamnet"}


@cache
def this_machine() -> Machine:
    has_diffusers = all(find_spec(name) is not None for name in DIFFUSERS_PACKAGES)
    return Machine(PLATFORMS.get(sys.platform, "linux"), has_diffusers)
