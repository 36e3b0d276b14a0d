"""Which models this machine takes when none is named."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

from audio2img.errors import MachineError
from audio2img.store.rows import Format, Kind, ModelRow, Platform

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


def check_fits(row: ModelRow) -> None:
    """Raises MachineError for a model that needs more memory than this machine has, where both are known."""
    memory = memory_bytes()
    if memory is not None and row.memory_bytes > memory:
        raise MachineError(
            f"{row.name} needs about {row.memory_bytes / 1e9:.1f} GB of memory, and this machine has "
            f"{memory / 1e9:.1f} GB",
            f"take a smaller model (audio2img models list), or: audio2img models get {row.name} --anyway",
        )


def memory_bytes() -> int | None:
    """The machine's memory; None where it is not known."""
    if sys.platform == "win32":
        return _windows_memory_bytes()
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _windows_memory_bytes() -> int | None:
    """As Windows tells it: GetPhysicallyInstalledSystemMemory gives kilobytes."""
    import ctypes

    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009, there on Windows alone
    kilobytes = ctypes.c_ulonglong()
    if not kernel.GetPhysicallyInstalledSystemMemory(ctypes.byref(kilobytes)):
        return None
    return kilobytes.value * 1024


@cache
def this_machine() -> Machine:
    has_diffusers = all(find_spec(name) is not None for name in DIFFUSERS_PACKAGES)
    return Machine(PLATFORMS.get(sys.platform, "linux"), has_diffusers)
