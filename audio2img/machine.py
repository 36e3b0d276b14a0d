"""Facts of this machine: its system, memory and cores, and which packages are installed."""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib.util import find_spec
from typing import Literal

Platform = Literal["macos", "linux", "windows"]

SYSCTL = "/usr/sbin/sysctl"
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
