"""Whether there is memory for whisper.cpp, which ends the whole process where an allocation is refused."""

from __future__ import annotations

import sys
from pathlib import Path

from audio2img.errors import MachineError

# Address space beyond what the process has before, in bytes. Found with models of 6 and 78 MB at two
# threads under Linux, by lowering the limit until whisper.cpp failed.
BASE_BYTES = 380 << 20
BYTES_A_MODEL_BYTE = 5


def check_memory(model: Path) -> None:
    """Raises MachineError where a limit of this process (`ulimit -v`) leaves too little for `model`.

    Where there is no such limit, or the system does not say what is used of it, nothing is refused.
    """
    left = _address_space_left()
    needed = BASE_BYTES + BYTES_A_MODEL_BYTE * model.stat().st_size
    if left is not None and left < needed:
        raise MachineError(
            f"understanding speech with {model.name} needs about {needed / 1e6:.0f} MB, and this process may "
            f"take {max(left, 0) / 1e6:.0f} MB more",
            "raise the limit (ulimit -v), or take a smaller speech model",
        )


def _address_space_left() -> int | None:
    """Bytes; None where there is no limit, or nobody knows."""
    if not sys.platform.startswith("linux"):
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return limit - pages * resource.getpagesize()
