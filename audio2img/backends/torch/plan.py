"""How this machine draws: processor, precision, what stays on it, tiles, batches, compilation.

Decided here and nowhere else, from what the machine has, what the model needs and what the person
wants; `doctor` and --verbose show the result with its reasons.

The sizes are estimates (see needs). Where one is too low, memory runs out once, and what was under way
is done again by `Plan.with_less_memory`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Literal

from audio2img.backends.torch.needs import Needs
from audio2img.errors import MachineError, UsageError

DeviceKind = Literal["cuda", "mps", "cpu"]
Precision = Literal["half", "full"]
Offload = Literal["none", "text", "parts"]

DEVICES: tuple[DeviceKind, ...] = ("cuda", "mps", "cpu")
PRECISIONS: tuple[Precision, ...] = ("half", "full")

HALF_BYTES, FULL_BYTES = 2, 4
FIRST_FAST_HALF = (5, 3)  # the CUDA capability from which cards calculate in half precision natively
FIRST_GRAPHS = (7, 0)
SPARE_BYTES = 500_000_000  # for CUDA's own libraries and what fragments
# Calls of the UNet in one shape from which a recording of it is made, which itself costs five: to warm up,
# to record, to compare. With fewer it would cost more than replaying saves.
WORTH_RECORDING = 20
MAX_BATCH = 8


@dataclass(frozen=True)
class TorchDevice:
    """What draws. free_bytes: None where it is not known; capability: of a CUDA card."""

    kind: DeviceKind
    name: str
    free_bytes: int | None = None
    capability: tuple[int, int] | None = None


@dataclass(frozen=True)
class PlanWishes:
    """What a person asked for; None: decide. device: of DEVICES; low_memory: offload and tile, or never."""

    device: str | None = None
    precision: str | None = None
    low_memory: bool | None = None
    compile: bool = False

    def __post_init__(self) -> None:
        if self.device is not None and self.device not in DEVICES:
            raise UsageError(
                f"there is no device {self.device!r} to draw on with diffusers",
                f"choose from: {', '.join(DEVICES)}",
                setting="compute_units",
            )
        if self.precision is not None and self.precision not in PRECISIONS:
            raise UsageError(
                f"there is no precision {self.precision!r}",
                f"choose from: {', '.join(PRECISIONS)}",
                setting="precision",
            )


@dataclass(frozen=True)
class Plan:
    """How to draw.

    offload: what waits in main memory until its turn comes: nothing, the text encoders, or every part.
    keeps: while several pictures are drawn, what each needs stays on the device all the same.
    tile_vae: decode in tiles. channels_last: order of the numbers that convolutions of graphics cards
    like. graphs: record the UNet's kernels once and replay them (CUDA graphs), where a request has
    steps enough. compile: torch.compile. batch: pictures drawn at once. reasons: why, in words.
    """

    device: TorchDevice
    precision: Precision
    vae_precision: Precision
    offload: Offload = "none"
    keeps: bool = False
    tile_vae: bool = False
    channels_last: bool = False
    graphs: bool = False
    compile: bool = False
    batch: int = 1
    reasons: tuple[str, ...] = field(default=())

    @property
    def is_half(self) -> bool:
        return self.precision == "half"

    def with_less_memory(self) -> Plan | None:
        """The plan for after memory ran out; None when this one already takes the least."""
        offload: Offload = "parts" if self.device.kind != "cpu" else self.offload
        least = replace(
            self, offload=offload, keeps=False, tile_vae=True, graphs=False, batch=1,
            reasons=(*self.reasons, "memory ran out"),
        )  # fmt: skip
        return None if replace(least, reasons=self.reasons) == self else least

    def describe(self) -> str:
        """One line for people."""
        kept = {"none": "", "text": "text encoders offloaded", "parts": "one part at a time"}[self.offload]
        words = [
            f"{self.device.kind} ({self.device.name})",
            f"{self.precision} precision",
            "" if self.vae_precision == self.precision else f"autoencoder in {self.vae_precision}",
            kept,
            "UNet and autoencoder kept for several pictures" if self.keeps else "",
            "decoding in tiles" if self.tile_vae else "",
            "channels last" if self.channels_last else "",
            "CUDA graphs" if self.graphs else "",
            "compiled" if self.compile else "",
            f"up to {self.batch} pictures at once" if self.batch > 1 else "",
        ]
        why = f" ({'; '.join(self.reasons)})" if self.reasons else ""
        return ", ".join(word for word in words if word) + why


def make_plan(device: TorchDevice, needs: Needs, wishes: PlanWishes) -> Plan:
    """The plan for drawing such a model on such a device.

    Raises MachineError when the device's memory is known to be too small for any way of drawing it.
    """
    precision, why = _choose_precision(device, wishes)
    size = HALF_BYTES if precision == "half" else FULL_BYTES
    vae_precision: Precision = "full" if needs.upcast_vae else precision
    vae_size = HALF_BYTES if vae_precision == "half" else FULL_BYTES
    plan = Plan(device, precision, vae_precision, compile=wishes.compile, reasons=(why,) if why else ())
    if device.kind == "cpu":
        return replace(plan, tile_vae=wishes.low_memory is True)
    is_cuda = device.kind == "cuda"
    # Without a compiler each group norm puts the numbers back into the other order, and time is lost.
    plan = replace(plan, channels_last=is_cuda and wishes.compile)
    offload, reason = _choose_offload(device, needs, wishes, size, vae_size)
    decode = needs.decode_bytes(vae_size)
    budget = None if device.free_bytes is None else device.free_bytes - SPARE_BYTES
    resident = _resident_bytes(needs, offload, size, vae_size)
    left = None if budget is None else budget - resident
    beside = needs.weight_bytes(("vae",), vae_size) if offload == "parts" else resident
    is_tight = budget is not None and decode > budget - beside
    tile = wishes.low_memory is True or (wishes.low_memory is None and is_tight)
    # What each of several pictures needs, at the worst moment: tiles are half as wide and high.
    worst = max(needs.step_bytes(size), decode // 4 if tile else decode)
    together = _resident_bytes(needs, "text", size, vae_size) + worst
    graphs = is_cuda and offload != "parts" and not wishes.compile and _can_replay(device, needs, size, left)
    return replace(
        plan,
        offload=offload,
        keeps=offload == "parts" and budget is not None and together <= budget,
        tile_vae=tile,
        graphs=graphs,
        batch=_choose_batch(needs, offload, size, left, graphs),
        reasons=(*plan.reasons, *((reason,) if reason else ())),
    )


def _choose_precision(device: TorchDevice, wishes: PlanWishes) -> tuple[Precision, str]:
    if wishes.precision is not None:
        return ("half" if wishes.precision == "half" else "full"), "precision as asked for"
    if device.kind == "cpu":
        return "full", ""
    if device.capability is not None and device.capability < FIRST_FAST_HALF:
        return "full", "this card is no faster in half precision"
    return "half", ""


def _choose_offload(
    device: TorchDevice, needs: Needs, wishes: PlanWishes, size: int, vae_size: int
) -> tuple[Offload, str]:
    """The quickest way that fits, and why it is not the quickest of all."""
    if wishes.low_memory is not None:
        return ("parts" if wishes.low_memory else "none"), "memory as asked for"
    if device.free_bytes is None:
        return "none", ""
    budget = device.free_bytes - SPARE_BYTES
    for offload in ("none", "text", "parts"):
        if _resident_bytes(needs, offload, size, vae_size) + needs.step_bytes(size) <= budget:
            free = f"{device.free_bytes / 1e9:.1f} GB are free"
            return offload, "" if offload == "none" else free
    smallest = _resident_bytes(needs, "parts", size, vae_size) + needs.step_bytes(size) + SPARE_BYTES
    raise MachineError(
        f"the model needs about {smallest / 1e9:.1f} GB on {device.name} even one part at a time, "
        f"and {device.free_bytes / 1e9:.1f} GB are free",
        "close other programs, take a smaller model, or draw on the processor: `compute_units=cpu`",
    )


def _resident_bytes(needs: Needs, offload: Offload, size: int, vae_size: int) -> int:
    """The most weights that lie on the device at once."""
    vae = needs.weight_bytes(("vae",), vae_size)
    others = {name: count * size for name, count in needs.parameters.items() if name != "vae"}
    if offload == "parts":
        return max([vae, *others.values()])
    texts = ("text_encoder", "text_encoder_2") if offload == "text" else ()
    return vae + sum(count for name, count in others.items() if name not in texts)


def _can_replay(device: TorchDevice, needs: Needs, size: int, left: int | None) -> bool:
    """Whether a recording of the UNet, which holds its own memory for a step, has room beside the step's."""
    is_new = device.capability is None or device.capability >= FIRST_GRAPHS
    return is_new and (left is None or left >= 2 * needs.step_bytes(size))


def _choose_batch(needs: Needs, offload: Offload, size: int, left: int | None, graphs: bool) -> int:
    if left is None or offload == "parts":
        return 1
    return max(1, min(MAX_BATCH, left // (needs.step_bytes(size) * (1 + graphs))))


def find_device(wanted: str | None = None) -> TorchDevice:
    """CUDA, then MPS, then the processor; or the one that is asked for. Imports torch.

    Raises MachineError when torch has no such device here.
    """
    import torch

    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted is not None and not has[wanted]:
        remedy = "leave `compute_units` out" + (
            "; for CUDA torch must be a CUDA build: https://pytorch.org/get-started"
            if wanted == "cuda"
            else ""
        )
        raise MachineError(f"torch {torch.__version__} finds no {wanted} device on this machine", remedy)
    kind = wanted or next(name for name in DEVICES if has[name])
    if kind == "cuda":
        free, _ = torch.cuda.mem_get_info()
        return TorchDevice("cuda", torch.cuda.get_device_name(), free, torch.cuda.get_device_capability())
    if kind == "mps":
        free = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return TorchDevice("mps", "Apple's graphics card", free)
    return TorchDevice("cpu", f"{os.cpu_count() or 1} cores")
