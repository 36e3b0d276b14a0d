"""How much memory this process has held at most."""

from __future__ import annotations

import sys
from pathlib import Path


def peak_memory_bytes() -> int | None:
    """The largest resident size of this process so far; None where the system does not tell.

    On a Mac memory that the graphics driver or the Neural Engine's own process holds is not counted.
    """
    if sys.platform.startswith("linux"):
        # Not getrusage: its figure survives exec, so that a child would start with its parent's.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return None
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
