"""Getting a model: mirrors in order, every file checked, whole or not at all.

A model is at its final place only when all its files are right: what comes from a hub as it is
stays in the hub's cache; what is unpacked or put together is made under a temporary name in our
folder and renamed. The receipt, written last, says that it is installed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from audio2img.config import config_dir, is_offline
from audio2img.errors import MachineError, ModelError
from audio2img.files import clear_leftovers, put_in_place, replace_folder
from audio2img.store import places
from audio2img.store.claims import claim, claimed
from audio2img.store.formats import check_content, is_pickle
from audio2img.store.hub import Listing, list_hub_files, place_in_cache
from audio2img.store.patience import MirrorError, Patience
from audio2img.store.receipts import (
    InstalledFile,
    LicenceRecord,
    Receipt,
    entries_of_ours,
    installed,
    now,
    write_receipt,
)
from audio2img.store.report import Reporter
from audio2img.store.rows import FileSpec, Mirror, Wanted
from audio2img.store.transfer import PART_SUFFIX, RemoteFile, fetch_file
from audio2img.store.unpack import unpack_zip

ROOM_FOR_A_ZIP = 2.2  # times its size: itself, and what is in it


def get_model(
    wanted: Wanted, licence: LicenceRecord, reporter: Reporter, patience: Patience | None = None
) -> Receipt:
    """The receipt of the model, which is downloaded if it is not installed yet.

    licence: as it was shown and accepted; goes into the receipt. One process downloads a model at a
    time; the others wait for it. Raises ModelError when no mirror has it or the network is off,
    MachineError when the disk is full; what has arrived is kept and continued by the next call.
    """
    if receipt := installed(wanted.key):
        return receipt
    check_gettable(wanted)
    with places.model_lock(wanted.key, reporter.say):
        if receipt := installed(wanted.key):  # another process was at it
            return receipt
        job = _Job(wanted, licence, reporter, patience or Patience.from_environment())
        failures = []
        for mirror in wanted.row.mirrors:
            try:
                return job.get_from(mirror)
            except MirrorError as error:
                failures.append(f"{mirror}: {error}")
                reporter.say(f"{wanted.name}: {mirror}: {error}")
        raise ModelError(
            f"{wanted.name} could not be downloaded: {'; '.join(failures)}",
            f"try again later: audio2img models get {wanted.name}; or name a mirror of yours in "
            f"{config_dir() / 'models.toml'}",
        )


def check_gettable(wanted: Wanted) -> None:
    """Raises ModelError for what cannot be downloaded: embedded models, pickles, all while offline."""
    if wanted.row.embedded:
        raise ModelError(f"the files of {wanted.name} are missing", "reinstall audio2img")
    if is_offline():
        raise ModelError(
            f"{wanted.name} is not on this machine, and the network is off (--offline or HF_HUB_OFFLINE)",
            f"with the network on, run: audio2img models get {wanted.name}",
        )
    for file in wanted.variant.files:
        if is_pickle(file.path, wanted.row.format):
            raise ModelError(f"{file.path} is a pickle, which can run any program", "choose another model")


class _Job:
    """One model and all that its mirrors have in common."""

    def __init__(
        self, wanted: Wanted, licence: LicenceRecord, reporter: Reporter, patience: Patience
    ) -> None:
        self.wanted = wanted
        self.licence = licence
        self.reporter = reporter
        self.patience = patience
        self.home = places.models_dir() / wanted.key
        self.workshop = places.downloads_dir() / wanted.key

    def get_from(self, mirror: Mirror) -> Receipt:
        try:
            if not mirror.hub:
                receipt = self._from_url(mirror)
            else:
                listing = list_hub_files(
                    mirror, self.wanted.variant, self.wanted.row.format, self.reporter, self.patience
                )
                is_archive = self.wanted.variant.is_archive
                receipt = (
                    self._from_hub_zip(mirror, listing) if is_archive else self._from_hub(mirror, listing)
                )
            write_receipt(receipt)
        except OSError as error:
            raise MachineError(
                f"{self.wanted.name} cannot be written: {error}", "check the disk and its permissions"
            ) from error
        if self.workshop.exists():
            shutil.rmtree(self.workshop, ignore_errors=True)
        return receipt

    def _from_hub(self, mirror: Mirror, listing: Listing) -> Receipt:
        """Every file into the hub's cache; Core ML models then into a folder of ours, too."""
        self._begin(listing.files)
        missing = [remote for remote in listing.files if not listing.blob(remote).exists()]
        parts = [listing.part(remote, self.wanted.key) for remote in listing.files]
        places.ensure_room(listing.repo_folder, _still_to_come(missing, parts), self.wanted.name)
        if self.wanted.row.format == "coreml" and not places.same_disk(listing.repo_folder, self.home):
            total = sum(remote.size_bytes or 0 for remote in listing.files)
            places.ensure_room(self.home, total, f"a copy of {self.wanted.name}")
        files = []
        for remote in listing.files:
            file = self._into_cache(listing, remote)
            place_in_cache(listing, remote)
            files.append(file)
        root = listing.snapshot
        if self.wanted.row.format == "coreml":
            root = self._build(lambda folder: _link_files(listing.snapshot, files, folder))
        return self._receipt(mirror, root, files, listing.commit, str(listing.snapshot))

    def _into_cache(self, listing: Listing, remote: RemoteFile) -> InstalledFile:
        blob = listing.blob(remote)
        entry = listing.snapshot / remote.path
        here = next((path for path in (blob, entry) if path.is_file()), None)
        if here is not None:
            if sha256 := _hash_if_right(here, remote):
                self.reporter.advance(remote.path, here.stat().st_size, here.stat().st_size)
                is_ours = blob in claimed(self.workshop) or entry in entries_of_ours()
                return InstalledFile(remote.path, here.stat().st_size, sha256, is_ours)
            self.reporter.say(f"{remote.path}: damaged in the hub's cache: getting it again")
            for path in (entry, blob):
                path.unlink(missing_ok=True)
        claim(self.workshop, blob, entry)
        sha256 = self._fetch(remote, listing.part(remote, self.wanted.key), blob)
        return InstalledFile(remote.path, blob.stat().st_size, sha256)

    def _from_hub_zip(self, mirror: Mirror, listing: Listing) -> Receipt:
        (remote,) = [remote for remote in listing.files if remote.path.endswith(".zip")]
        files = self._unpacked(remote)
        return self._receipt(mirror, self.home, files, listing.commit)

    def _from_url(self, mirror: Mirror) -> Receipt:
        remotes = [_remote_at(mirror, spec) for spec in self.wanted.variant.files]
        if self.wanted.variant.is_archive:
            return self._receipt(mirror, self.home, self._unpacked(remotes[0]))
        self._begin(remotes)
        whole = self.workshop / "files"
        parts = [self._part(remote) for remote in remotes]
        places.ensure_room(self.workshop, _still_to_come(remotes, parts), self.wanted.name)
        files = []
        for remote in remotes:
            final = whole / remote.path
            sha256 = self._fetch_once(remote, final)
            files.append(InstalledFile(remote.path, final.stat().st_size, sha256))
        put_in_place(whole, places.make_folder(self.home.parent) / self.home.name)
        return self._receipt(mirror, self.home, files)

    def _unpacked(self, remote: RemoteFile) -> list[InstalledFile]:
        """Fetch a zip and put what is in it into our folder."""
        self._begin([remote])
        archive = self.workshop / Path(remote.path).name
        if remote.size_bytes is not None and not archive.exists():
            needed = int(remote.size_bytes * ROOM_FOR_A_ZIP) - _size(self._part(remote))
            places.ensure_room(self.workshop, needed, f"{self.wanted.name} with its unpacking")
        self._fetch_once(remote, archive)
        files: list[InstalledFile] = []

        def unpack(folder: Path) -> None:
            self.reporter.say(f"unpacking {archive.name}")
            files.extend(unpack_zip(archive, folder, self.wanted.row.format))

        try:
            self._build(unpack)
        except MirrorError:
            archive.unlink(missing_ok=True)
            raise
        return files

    def _part(self, remote: RemoteFile) -> Path:
        return self.workshop / f"{remote.path.replace('/', '--')}{PART_SUFFIX}"

    def _fetch_once(self, remote: RemoteFile, final: Path) -> str:
        """Fetch to `final`, unless an interrupted call has already brought it there whole."""
        if final.is_file() and remote.is_fixed and (sha256 := _hash_if_right(final, remote)):
            self.reporter.advance(remote.path, _size(final), _size(final))
            return sha256
        return self._fetch(remote, self._part(remote), final)

    def _fetch(self, remote: RemoteFile, part: Path, final: Path) -> str:
        sha256 = fetch_file(remote, part, final, self.reporter, self.patience)
        if reason := check_content(final, remote.path, self.wanted.row.format):
            final.unlink()
            raise MirrorError(f"{remote.path}: {reason}")
        return sha256

    def _begin(self, remotes: list[RemoteFile] | tuple[RemoteFile, ...]) -> None:
        self.reporter.begin([(remote.path, remote.size_bytes) for remote in remotes])

    def _build(self, fill: Callable[[Path], None]) -> Path:
        """A folder that `fill` fills under a temporary name, then renamed to the model's home."""
        parent = places.make_folder(self.home.parent)
        clear_leftovers(parent, older_than_s=0.0)  # a killed download may have left gigabytes
        with replace_folder(self.home) as folder:
            fill(folder)
        return self.home

    def _receipt(
        self, mirror: Mirror, root: Path, files: list[InstalledFile], commit: str = "", snapshot: str = ""
    ) -> Receipt:
        wanted = self.wanted
        is_file = wanted.row.format in ("ggml", "tflite")
        inside = wanted.variant.folder or (files[0].path if is_file else "")
        return Receipt(
            name=wanted.name,
            key=wanted.key,
            kind=wanted.row.kind,
            format=wanted.row.format,
            model_path=str(root / inside),
            root=str(root),
            mirror=str(replace(mirror, revision=commit or mirror.revision)),
            licence=self.licence,
            files=tuple(files),
            commit=commit,
            snapshot=snapshot,
            installed=now(),
        )


def _remote_at(mirror: Mirror, spec: FileSpec) -> RemoteFile:
    url = mirror.url + spec.path if mirror.url.endswith("/") else mirror.url
    return RemoteFile(spec.path, url, spec.size_bytes, spec.sha256)


def _still_to_come(remotes: list[RemoteFile], parts: list[Path]) -> int:
    return max(0, sum(remote.size_bytes or 0 for remote in remotes) - sum(map(_size, parts)))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _hash_if_right(path: Path, remote: RemoteFile) -> str:
    """The SHA-256 of a file that is as it should be, else ""."""
    from audio2img.store.transfer import hash_file

    hashed = hash_file(path, remote.size_bytes)
    return "" if hashed.mismatch(remote, path.stat().st_size) else hashed.sha256.hexdigest()


def _link_files(source: Path, files: list[InstalledFile], folder: Path) -> None:
    """The files of the hub's cache as files of their own, at no cost where the disk is the same.

    Core ML is given no symbolic links, which are what a snapshot consists of.
    """
    for file in files:
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        real = (source / file.path).resolve()
        with suppress(OSError):
            os.link(real, target)
        if not target.exists():
            places.ensure_room(folder, file.size_bytes, file.path)
            shutil.copyfile(real, target)
