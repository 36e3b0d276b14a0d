"""What this machine is: its chip, memory, graphics card, and what was decided because of them."""

from __future__ import annotations

import json
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audio2img.backends.coreml import apple
from audio2img.backends.coreml.compiled import compiled_dir, compiled_entries
from audio2img.backends.coreml.units import choose_compute, has_small_memory, performance_cores
from audio2img.config import Settings
from audio2img.diagnosis.checks import Check
from audio2img.files import size_on_disk
from audio2img.machine import memory_bytes

SYSCTL = "/usr/sbin/sysctl"
SYSTEM_PROFILER = "/usr/sbin/system_profiler"
ANSWER_LIMIT_S = 30  # system_profiler may take seconds on a machine just started
METAL_KEYS = ("spdisplays_mtlgpufamilysupport", "spdisplays_metalfamily", "spdisplays_metal")


@dataclass(frozen=True)
class Gpu:
    """A graphics card. metal: what it supports of it, such as "metal3", or ""; cores: None if unknown."""

    name: str
    cores: int | None
    metal: str


def check_chip() -> Check:
    return Check("chip", "ok", f"{chip_name()}, {_os_name()}", figures={"machine": platform.machine()})


def check_core_ml() -> Check:
    if not apple.is_here():
        detail = "not on this system; the reference runtime draws the mini model instead"
        return Check("core ml", "note", detail)
    coremltools, macos = apple.versions()
    return Check("core ml", "ok", f"coremltools {coremltools}, macOS {macos}", is_needed=True)


def check_compute(settings: Settings) -> Check:
    """What Core ML draws on here, and why."""
    choice = choose_compute(settings.compute_units)
    cores = performance_cores()
    figures = {"units": choice.units, "attention": choice.attention, "performance_cores": cores}
    if not apple.is_here():
        return Check("compute", "note", "compute units are chosen on a Mac only", figures=figures)
    attention = f" and {choice.attention} attention" if choice.attention else ""
    counted = f"; {cores} performance cores" if cores is not None else ""
    return Check("compute", "ok", f"{choice.units}{attention}: {choice.reason}{counted}", figures=figures)


def check_memory(settings: Settings) -> Check:
    size = memory_bytes()
    asked = settings.low_memory
    if asked is None:
        small = has_small_memory()
        why = "8 GB or less" if small else "more than 8 GB" if apple.is_here() else "only on a Mac of 8 GB"
    else:
        small, why = asked, "set in the settings"
    mode = f"low memory mode is {'on' if small else 'off'} ({why})"
    amount = "its size is not known" if size is None else f"{size / 2**30:.1f} GiB"
    return Check("memory", "ok", f"{amount}; {mode}", figures={"size_bytes": size, "low_memory": small})


def check_compiled_cache() -> Check:
    entries = list(compiled_entries())
    size = sum(map(size_on_disk, entries))
    figures = {"models": len(entries), "size_bytes": size}
    detail = f"{len(entries)} models, {size / 1e6:.1f} MB in {compiled_dir()}"
    remedy = "empty it with: audio2img models prune" if entries else ""
    return Check("compiled cache", "ok", detail, remedy, figures)


def check_gpu() -> Check:
    """Whether there is a graphics card that Metal, and so Core ML, can use."""
    if not apple.is_here():
        return Check("metal", "skip", "needs macOS")
    try:
        cards = find_gpus()
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return Check("metal", "note", f"system_profiler does not say: {error}")
    usable = [card for card in cards if card.metal]
    if not usable:
        names = ", ".join(card.name for card in cards) or "no graphics card"
        return Check("metal", "note", f"{names}, without Metal", "draw with: --compute-units CPU_AND_NE")
    described = [
        f"{card.name} ({card.metal}{f', {card.cores} cores' if card.cores else ''})" for card in usable
    ]
    return Check("metal", "ok", ", ".join(described), figures={"cards": [vars(card) for card in usable]})


def chip_name() -> str:
    """What the processor calls itself."""
    if apple.is_here():
        try:
            return _ask(SYSCTL, "-n", "machdep.cpu.brand_string").strip()
        except (OSError, subprocess.SubprocessError):
            return platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def find_gpus() -> tuple[Gpu, ...]:
    """The graphics cards of this Mac. Raises OSError, ValueError or SubprocessError if it does not say."""
    return parse_gpus(_ask(SYSTEM_PROFILER, "SPDisplaysDataType", "-json"))


def parse_gpus(answer: str) -> tuple[Gpu, ...]:
    """The cards in the words of `system_profiler SPDisplaysDataType -json`. Raises ValueError for others."""
    try:
        entries: list[dict[str, Any]] = json.loads(answer)["SPDisplaysDataType"]
        return tuple(_parse_gpu(entry) for entry in entries)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a list of graphics cards: {error!r}") from error


def _parse_gpu(entry: dict[str, Any]) -> Gpu:
    name = str(entry.get("sppci_model") or entry.get("_name") or "a graphics card")
    cores = str(entry.get("sppci_cores", ""))
    support = next((str(entry[key]) for key in METAL_KEYS if entry.get(key)), "")
    metal = support.removeprefix("spdisplays_")
    if metal == "supported":
        metal = "metal"
    return Gpu(name, int(cores) if cores.isdecimal() else None, "" if "not" in metal else metal)


def _os_name() -> str:
    if apple.is_here():
        return f"macOS {platform.mac_ver()[0]}"
    return f"{platform.system()} {platform.release()}"


def _ask(*command: str) -> str:
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=ANSWER_LIMIT_S, stdin=subprocess.DEVNULL
    ).stdout
