"""Facts of this machine: its system, memory and cores, and which packages are installed."""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

Platform = Literal["macos", "linux", "windows"]

SYSCTL = "/usr/sbin/sysctl"
PCI = Path("/sys/bus/pci/devices")
NVIDIA, DISPLAY_CONTROLLER = "0x10de", "0x03"  # a vendor's number, and the first byte of a class of devices
_ANSWER_LIMIT_S = 5


def this_platform() -> Platform:
    """The system that this is; every other Unix is taken for Linux."""
    if sys.platform == "darwin":
        return "macos"
    return "windows" if sys.platform == "win32" else "linux"


def memory_bytes() -> int | None:
    """The machine's memory; None where it is not known."""
    if sys.platform == "win32":
        return _windows_memory_bytes()
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


@cache
def performance_cores() -> int | None:
    """The number of performance cores of an Apple chip; None where macOS does not say, and elsewhere."""
    import subprocess

    try:
        answer = subprocess.run(
            [SYSCTL, "-n", "hw.perflevel0.physicalcpu"],
            capture_output=True, text=True, check=True, timeout=_ANSWER_LIMIT_S,
        )  # fmt: skip
        return int(answer.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def has_nvidia_card() -> bool:
    """Whether there is a graphics card of NVIDIA's, with its driver or, on Linux, without."""
    return any(_is_nvidia_card(device) for device in PCI.glob("*")) or _driver_lists_cards()


def _is_nvidia_card(device: Path) -> bool:
    """device: a folder of Linux's list of PCI devices. A card's sound output is a device of its own."""
    try:
        vendor, kind = (device / "vendor").read_text().strip(), (device / "class").read_text()
    except OSError:
        return False
    return vendor == NVIDIA and kind.startswith(DISPLAY_CONTROLLER)


def _driver_lists_cards() -> bool:
    """As NVIDIA's driver tells it: on Windows, inside WSL, and on boards whose card is no PCI device."""
    import shutil
    import subprocess

    program = shutil.which("nvidia-smi")
    if program is None:
        return False
    try:
        answer = subprocess.run(
            [program, "-L"], capture_output=True, text=True, check=True, timeout=_ANSWER_LIMIT_S
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return False
    return "GPU" in answer.stdout


def missing_packages(names: tuple[str, ...]) -> list[str]:
    """Those of the packages (by the names they are imported by) that are not installed."""
    return [name for name in names if find_spec(name) is None]


def _windows_memory_bytes() -> int | None:
    """As Windows tells it: GetPhysicallyInstalledSystemMemory gives kilobytes."""
    import ctypes

    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009, there on Windows alone
    kilobytes = ctypes.c_ulonglong()
    if not kernel.GetPhysicallyInstalledSystemMemory(ctypes.byref(kilobytes)):
        return None
    return kilobytes.value * 1024
