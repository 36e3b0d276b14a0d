"""Errors that are no person's fault: what is said of them, and where the details go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audio2img.errors import Audio2ImgError, MachineError

if TYPE_CHECKING:
    from pathlib import Path


def as_told(error: BaseException) -> Audio2ImgError:
    """The error as it is told to people: itself, or what it means for them, with the details in the log."""
    if isinstance(error, Audio2ImgError):
        return error
    if _is_out_of_memory(error):
        return MachineError(
            "there is not enough memory for this", "close other programs, or take smaller models"
        )
    return Audio2ImgError(f"a fault of ours: {error!r}", f"details: {_log(error)}")


def _is_out_of_memory(error: BaseException) -> bool:
    """Also where a library has no room to be loaded, which Python takes for a failed import."""
    words = ("failed to map segment", "cannot allocate memory", "Cannot allocate memory")
    return isinstance(error, MemoryError) or (
        isinstance(error, (ImportError, OSError)) and any(word in str(error) for word in words)
    )


def _log(error: BaseException) -> Path | str:
    import platform
    import time
    import traceback

    from audio2img import __version__
    from audio2img.config import log_file

    try:
        path = log_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", errors="backslashreplace") as log:
            when = time.strftime("%Y-%m-%d %H:%M:%S")
            log.write(
                f"{when} audio2img {__version__} Python {platform.python_version()} {platform.platform()}\n"
            )
            log.writelines(traceback.format_exception(error))
    except (OSError, Audio2ImgError):
        return "run it again with --verbose"
    return path
