"""What this backend keeps in the cache folder: what torch compiled, and the settings of single files."""

from __future__ import annotations

import shutil
from pathlib import Path

from audio2img.config import cache_dir
from audio2img.files import size_on_disk


def compiled_dir() -> Path:
    return cache_dir() / "torch-compiled"


def skeletons_dir() -> Path:
    """Of the folders that tell how a checkpoint in one file is read; made anew when they are gone."""
    return cache_dir() / "single-files"


def cached_bytes() -> int:
    """The size of both."""
    return size_on_disk(compiled_dir()) + size_on_disk(skeletons_dir())


def prune_caches() -> int:
    """Remove both; gives the bytes that were freed."""
    freed = cached_bytes()
    for folder in (compiled_dir(), skeletons_dir()):
        shutil.rmtree(folder, ignore_errors=True)
    return freed - cached_bytes()
