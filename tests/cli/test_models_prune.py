"""`audio2img models prune` as a process, on a cache that the package itself has filled."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audio2img.backends.coreml.compiled import compile_once, compiled_dir
from audio2img.files import size_on_disk


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUDIO2IMG_CACHE", str(tmp_path / "cache"))
    return compiled_dir()


def fill(bundle: Path) -> int:
    """Two compiled models and an interrupted third; gives their size."""
    entries = [compile_once(path) for path in sorted(bundle.glob("*.mlpackage"))[:2]]
    interrupted = compiled_dir() / ".compiling-abc" / "half.mlmodelc"
    interrupted.mkdir(parents=True)
    (interrupted / "weights").write_bytes(bytes(1000))
    return sum(map(size_on_disk, entries)) + 1000


def test_a_dry_run_counts_and_removes_nothing(
    audio2img: Callable[..., Any], core_ml_stand_in: object, mini_bundle: Path, cache: Path
) -> None:
    size = fill(mini_bundle)
    done = audio2img("models", "prune", "--dry-run", "--json")
    assert json.loads(done.stdout) == {
        "folder": str(cache), "models": 2, "interrupted": 1, "size_bytes": size, "removed": False,
        "downloads": {"interrupted": 0, "size_bytes": 0}, "torch": {"size_bytes": 0},
    }  # fmt: skip
    assert len(list(cache.iterdir())) == 3


def test_it_says_what_was_freed_and_leaves_other_files(
    audio2img: Callable[..., Any], core_ml_stand_in: object, mini_bundle: Path, cache: Path
) -> None:
    size = fill(mini_bundle)
    (cache.parent / "other").write_text("not ours to remove")
    done = audio2img("models", "prune")
    assert done.returncode == 0
    assert done.stdout.startswith(f"freed {size / 1e6:.1f} MB: 3 compiled models, 1 of them interrupted in ")
    assert list(cache.iterdir()) == []
    assert (cache.parent / "other").exists()
    again = audio2img("models", "prune", "--json")
    assert json.loads(again.stdout)["size_bytes"] == 0


def test_nothing_to_remove_is_no_error(audio2img: Callable[..., Any], cache: Path) -> None:
    done = audio2img("models", "prune")
    assert (done.returncode, done.stdout) == (0, f"nothing to remove in {cache}\n")
    assert not cache.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs Linux or macOS")
def test_what_cannot_be_removed_is_said(
    audio2img: Callable[..., Any], assert_fails: Callable[..., None], cache: Path, tmp_path: Path
) -> None:
    """A link among the entries is none of ours, and is not followed."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").touch()
    cache.mkdir(parents=True)
    (cache / "link").symlink_to(tmp_path / "elsewhere")
    assert_fails(audio2img("models", "prune"), 5, str(cache / "link"), "permissions")
    assert (tmp_path / "elsewhere" / "file").exists()
