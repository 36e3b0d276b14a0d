"""Keeping models: hash them again, remove them, throw away what downloads left half done."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from audio2img import files
from audio2img.config import config_dir, pictures_dir
from audio2img.errors import MachineError
from audio2img.files import size_on_disk
from audio2img.store import places
from audio2img.store.claims import claimed
from audio2img.store.receipts import InstalledFile, Receipt, entries_of_ours, remove_receipt
from audio2img.store.report import Reporter
from audio2img.store.rows import Wanted
from audio2img.store.transfer import NOTE_SUFFIX, PART_SUFFIX, hash_file

Verdict = Literal["ok", "missing", "damaged", "not the catalogue's"]


@dataclass(frozen=True)
class FileVerdict:
    """What became of a file since it was installed. is_known: the catalogue itself has its hash."""

    path: str
    size_bytes: int
    sha256: str
    verdict: Verdict
    is_known: bool


def verify_files(receipt: Receipt, wanted: Wanted | None, reporter: Reporter) -> tuple[FileVerdict, ...]:
    """Read every file of an installed model and compare with the receipt, and with the catalogue.

    wanted: its row; None where the catalogue does not have it any more.
    """
    specs = {} if wanted is None or wanted.variant.is_archive else {f.path: f for f in wanted.variant.files}
    reporter.begin([(file.path, file.size_bytes) for file in receipt.files])
    verdicts = []
    for file in receipt.files:
        expected = specs[file.path].sha256 if file.path in specs else None
        verdicts.append(_verify_file(Path(receipt.root), file, expected, reporter))
    return tuple(verdicts)


def _verify_file(root: Path, file: InstalledFile, expected: str | None, reporter: Reporter) -> FileVerdict:
    def advance(done_bytes: int) -> None:
        reporter.advance(file.path, done_bytes, file.size_bytes)

    path = root / file.path
    verdict: Verdict = "ok"
    sha256, size_bytes = "", 0
    try:
        sha256, size_bytes = hash_file(path, None, advance).sha256.hexdigest(), path.stat().st_size
        if sha256 != file.sha256:
            verdict = "damaged"
        elif expected is not None and sha256 != expected:
            verdict = "not the catalogue's"
    except OSError:
        verdict = "damaged" if path.exists() else "missing"
    return FileVerdict(file.path, size_bytes, sha256, verdict, expected is not None)


def remove_model(receipt: Receipt, reporter: Reporter) -> int:
    """Remove an installed model; gives the bytes that are free now.

    Of a hub's cache only what we put there goes, and nothing that another snapshot or model of ours uses.
    Raises MachineError when a file cannot go.
    """
    with places.model_lock(receipt.key, reporter.say):
        others = entries_of_ours(but=receipt.key)
        freed = 0
        try:
            # The receipt goes first: a model that is half removed is not installed.
            remove_receipt(receipt.key)
            for file in receipt.files if receipt.snapshot else ():
                entry = Path(receipt.snapshot) / file.path
                if file.is_ours and entry not in others:
                    freed += _remove_cached(entry)
            home = places.models_dir() / receipt.key
            if home.is_dir():
                freed += size_on_disk(home)
                shutil.rmtree(home)
        except OSError as error:
            raise MachineError(
                f"cannot remove {error.filename}: {error.strerror}", "check its permissions"
            ) from error
        if any(not file.is_ours for file in receipt.files):
            reporter.say("left in the hub's cache: what was there before audio2img asked for it")
        return freed


def _remove_cached(entry: Path) -> int:
    """Remove a snapshot's entry, and its blob unless another snapshot points to it."""
    if not entry.is_symlink():
        freed = entry.stat().st_size if entry.exists() else 0
        entry.unlink(missing_ok=True)
        return freed
    blob = entry.resolve()
    entry.unlink()
    repo_folder = next(parent for parent in entry.parents if parent.name == "snapshots").parent
    links = (path for path in (repo_folder / "snapshots").rglob("*") if path.is_symlink())
    freed = 0
    if blob.is_file() and all(link.resolve() != blob for link in links):
        if blob.stat().st_nlink == 1:  # else a folder of ours holds it as well, and is counted there
            freed = blob.stat().st_size
        blob.unlink()
    for folder in entry.parents:
        if folder == repo_folder / "snapshots":
            break
        with suppress(OSError):  # not empty
            folder.rmdir()
    return freed


def leftovers() -> Iterator[tuple[str, Path]]:
    """What interrupted downloads left: (the model's key, the file or folder)."""
    for folder in _children(places.downloads_dir()):
        yield folder.name, folder
    cache = places.hub_cache_dir()
    if cache.is_dir():
        for suffix in (PART_SUFFIX, NOTE_SUFFIX):
            for part in sorted(cache.glob(f"models--*/blobs/*{suffix}")):
                yield part.name.removesuffix(suffix).partition(".")[2], part


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def unfinished_files() -> list[Path]:
    """What killed processes had not finished writing: models being unpacked, receipts, settings, pictures."""
    folders = (places.models_dir(), places.receipts_dir(), config_dir(), pictures_dir())
    return [path for folder in folders for path in files.leftovers(folder, older_than_s=0.0)]


def prune_downloads(reporter: Reporter) -> int:
    """Remove every leftover that no process is at work on; gives the bytes that are free now."""
    unfinished = unfinished_files()
    freed = sum(map(size_on_disk, unfinished))
    for path in unfinished:
        files.remove(path)
    for key, path in list(leftovers()):
        with places.model_lock_if_free(key) as is_free:
            if not is_free:
                reporter.say(f"left alone: another process is getting {key}")
                continue
            try:
                freed += leftover_bytes(path)
                _remove_claimed(path)
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            except OSError as error:
                raise MachineError(
                    f"cannot remove {path}: {error.strerror}", "check its permissions"
                ) from error
    return freed


def leftover_bytes(path: Path) -> int:
    """What goes with one of `leftovers`: its own size, and whole files that it has put into the cache."""
    return size_on_disk(path) + sum(blob.stat().st_size for blob, _ in _unfinished(path) if blob.exists())


def _unfinished(workshop: Path) -> list[tuple[Path, Path]]:
    """(blob, entry) of the whole files that a download, not finished, has put into the hub's cache."""
    kept = entries_of_ours()
    return [(blob, entry) for blob, entry in claimed(workshop).items() if entry not in kept]


def _remove_claimed(workshop: Path) -> None:
    for blob, entry in _unfinished(workshop):
        if entry.is_symlink() or entry.exists():
            _remove_cached(entry)
        blob.unlink(missing_ok=True)
