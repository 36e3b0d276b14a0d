"""Compiled models kept: a package is compiled by Core ML once, which takes minutes for a large UNet.

An entry is `<key>.mlmodelc`, the key a hash of the package's contents and of the versions of
coremltools and macOS. It is compiled under a temporary name and renamed, so an entry is whole.
The temporary name tells which process compiles: what one that was ended leaves is removed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from audio2img.backends.coreml import apple
from audio2img.config import cache_dir
from audio2img.diffusion.hashing import hash_files
from audio2img.errors import MachineError, ModelError
from audio2img.files import is_running, size_on_disk

SUFFIX = ".mlmodelc"
PARTIAL_PREFIX = ".compiling-"


def compiled_dir() -> Path:
    return cache_dir() / "compiled"


def compile_once(package: Path) -> Path:
    """The compiled form of `package`, from the cache or made now; safe against other processes.

    Raises ModelError if Core ML refuses the package, MachineError if the cache cannot be written.
    """
    entry = compiled_dir() / f"{_key(package)}{SUFFIX}"
    if entry.is_dir():
        return entry
    remove_abandoned()
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f"{PARTIAL_PREFIX}{os.getpid()}-", dir=entry.parent))
    except OSError as error:
        raise MachineError(f"cannot write to {entry.parent}: {error.strerror}", "make room there") from error
    try:
        _compile(package, work / entry.name)
        with suppress(OSError):  # another process was faster: its entry is as good
            os.rename(work / entry.name, entry)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if not entry.is_dir():
        raise MachineError(f"the compiled model {entry} could not be kept", "check the folder's permissions")
    return entry


def _compile(package: Path, destination: Path) -> None:
    try:
        apple.compile_package(package, destination)
    except Exception as error:  # coremltools raises bare Exception, RuntimeError and others
        raise ModelError(
            f"Core ML cannot compile {package}: {error}", "get or convert the model again"
        ) from error
    if not destination.is_dir():
        raise ModelError(f"Core ML compiled {package} to nothing", "get or convert the model again")


def _key(package: Path) -> str:
    text = "\n".join((hash_files(package), *apple.versions()))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def remove_abandoned() -> None:
    """Remove what processes that run no more have left half compiled, as far as the system allows."""
    for folder in compiled_dir().glob(f"{PARTIAL_PREFIX}*"):
        owner = folder.name.removeprefix(PARTIAL_PREFIX).partition("-")[0]
        if owner.isdecimal() and not is_running(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def compiled_entries() -> Iterator[Path]:
    """Everything in the cache: whole entries, and what an interrupted compilation left."""
    folder = compiled_dir()
    if folder.is_dir():
        yield from (path for path in sorted(folder.iterdir()) if path.is_dir())


def prune_compiled() -> int:
    """Empty the cache; gives the bytes that are free now. Raises MachineError where something cannot go."""
    freed = 0
    for entry in compiled_entries():
        size = size_on_disk(entry)
        try:
            shutil.rmtree(entry)
        except OSError as error:
            reason = error.strerror or error
            raise MachineError(f"cannot remove {entry}: {reason}", "check its permissions") from error
        freed += size
    return freed
