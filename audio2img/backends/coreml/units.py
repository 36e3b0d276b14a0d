"""Which processor of a Mac draws: the graphics card, or the Neural Engine.

The rule is that of Hugging Face's Diffusers app (huggingface/swift-coreml-diffusers): with eight or
more performance cores the graphics card is the faster one, for attention as it was trained
("original"); with fewer it is the Neural Engine, for attention cut to its liking ("split_einsum").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from audio2img import machine
from audio2img.backends.coreml import apple
from audio2img.errors import UsageError
from audio2img.machine import memory_bytes

if TYPE_CHECKING:
    from audio2img.backends.coreml.layout import Attention

COMPUTE_UNITS = ("ALL", "CPU_AND_GPU", "CPU_AND_NE", "CPU_ONLY")
"""What Core ML may run a part on; the names of coremltools' ComputeUnit."""

MANY_PERFORMANCE_CORES = 8
SMALL_MEMORY_BYTES = 8 << 30


@dataclass(frozen=True)
class ComputeChoice:
    """units: of COMPUTE_UNITS; attention: which variant of a model to take; reason: in words."""

    units: str
    attention: Attention | None
    reason: str


def choose_compute(asked: str | None = None, attention: Attention | None = None) -> ComputeChoice:
    """What to draw with. asked: the person's own choice; attention: of the model at hand, where known.

    Raises UsageError for units that do not exist.
    """
    if asked is not None:
        if asked not in COMPUTE_UNITS:
            raise UsageError(
                f"there are no compute units {asked!r}",
                f"choose from: {', '.join(COMPUTE_UNITS)}",
                setting="compute_units",
            )
        return ComputeChoice(asked, attention or preferred_attention(), "asked for")
    if attention == "original":
        return ComputeChoice("CPU_AND_GPU", attention, "the model has original attention")
    if attention == "split_einsum":
        return ComputeChoice("CPU_AND_NE", attention, "the model has split-einsum attention")
    cores = performance_cores()
    if cores is None:
        return ComputeChoice("ALL", None, "Core ML chooses: the number of performance cores is not known")
    if cores >= MANY_PERFORMANCE_CORES:
        return ComputeChoice("CPU_AND_GPU", "original", f"{cores} performance cores, 8 or more")
    return ComputeChoice("CPU_AND_NE", "split_einsum", f"{cores} performance cores, fewer than 8")


def preferred_attention() -> Attention | None:
    """The variant of a model that suits this machine; None where nothing is known."""
    cores = performance_cores()
    if cores is None:
        return None
    return "original" if cores >= MANY_PERFORMANCE_CORES else "split_einsum"


def performance_cores() -> int | None:
    """The number of performance cores of an Apple chip; None on any other machine."""
    return machine.performance_cores() if apple.is_here() else None


def has_small_memory() -> bool:
    """True on a Mac of 8 GB or less, where not all parts of a Stable Diffusion fit beside each other."""
    memory = memory_bytes()
    return apple.is_here() and memory is not None and memory <= SMALL_MEMORY_BYTES
