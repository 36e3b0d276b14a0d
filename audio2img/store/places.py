"""Where downloaded models lie, who may change them now, and whether there is room."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from audio2img.config import data_dir
from audio2img.errors import MachineError

SPARE_BYTES = 32 << 20  # left free beside what is downloaded
LOCK_POLL_S = 0.2


def models_dir() -> Path:
    """Models unpacked or put together here; what comes from a hub as it is stays in the hub's cache."""
    return data_dir() / "models"


def downloads_dir() -> Path:
    """What is under way and is not going to a hub's cache."""
    return data_dir() / "downloads"


def receipts_dir() -> Path:
    return data_dir() / "receipts"


def hub_cache_dir() -> Path:
    """The cache that all Hugging Face tools share: HF_HUB_CACHE, or `hub` in HF_HOME."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


@contextmanager
def model_lock(key: str, say: Callable[[str], None]) -> Iterator[None]:
    """Only one process at a time changes the model `key`; the others wait here, and say so."""
    from filelock import FileLock, Timeout

    folder = make_folder(data_dir() / "locks")
    lock = FileLock(folder / f"{key}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"another process is at work on {key}: waiting for it")
        lock.acquire(poll_interval=LOCK_POLL_S)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def model_lock_if_free(key: str) -> Iterator[bool]:
    """As model_lock, without waiting: gives False where another process is at work."""
    from filelock import FileLock, Timeout

    lock = FileLock(make_folder(data_dir() / "locks") / f"{key}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def make_folder(folder: Path) -> Path:
    """The folder, made if need be. Raises MachineError where it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        remedy = "choose another place: AUDIO2IMG_DATA for our folder, HF_HOME for the hub's"
        raise MachineError(f"cannot write to {folder}: {error.strerror}", remedy) from error
    return folder


def ensure_room(folder: Path, n_bytes: int, what: str) -> None:
    """Raises MachineError when the disk of `folder` has no room for `n_bytes` more."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < n_bytes + SPARE_BYTES:
        missing = (n_bytes + SPARE_BYTES - free) / 1e6
        raise MachineError(
            f"{what} needs {n_bytes / 1e6:,.0f} MB in {existing}, where {free / 1e6:,.0f} MB are free",
            f"make room for {missing:,.0f} MB, or choose another disk: AUDIO2IMG_DATA, HF_HOME",
        )


def same_disk(one: Path, other: Path) -> bool:
    """True where both folders (or their nearest parents that exist) are of one file system."""

    def device(folder: Path) -> int:
        return next(path for path in (folder, *folder.parents) if path.exists()).stat().st_dev

    return device(one) == device(other)
