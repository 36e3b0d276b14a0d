"""Unpacking a zip from somewhere else: nothing of it may land outside, link elsewhere, or fill the disk."""

from __future__ import annotations

import hashlib
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from audio2img.files import sync_file
from audio2img.store.formats import check_name, is_pickle, why_unsafe
from audio2img.store.patience import MAX_NAME_CHARACTERS, MirrorError, in_short
from audio2img.store.places import ensure_room
from audio2img.store.receipts import InstalledFile
from audio2img.store.rows import Format

MAX_RATIO = 100  # unpacked bytes to packed ones; weights hardly shrink, a bomb shrinks a thousandfold
ALWAYS_FINE_BYTES = 64 << 20
MAX_MEMBERS = 20_000
BLOCK_BYTES = 1 << 20
IS_ENCRYPTED = 0x1
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OverflowError)
"""What zipfile raises for archives that are none."""


def unpack_zip(archive: Path, folder: Path, format_: Format) -> tuple[InstalledFile, ...]:
    """Unpack into the existing empty `folder`; gives the files with their hashes.

    Raises MirrorError, before anything is written, for a damaged or hostile archive: absolute paths,
    "..", links, one name twice, absurd ratios, pickles; MachineError when there is no room. Other
    files that are no part of such a model are left out.
    """
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = _checked_members(zipped, archive, format_)
            ensure_room(folder, sum(member.file_size for member in members), f"unpacking {archive.name}")
            return tuple(_unpack_member(zipped, member, folder) for member in members)
    except DAMAGE as error:
        raise MirrorError(f"{archive.name}: it is damaged: {error}") from error


def _checked_members(zipped: zipfile.ZipFile, archive: Path, format_: Format) -> list[zipfile.ZipInfo]:
    members = [info for info in zipped.infolist() if not info.is_dir() and not _is_litter(info.filename)]
    seen: set[str] = set()
    for info in members:
        reason = _why_refused(info, format_)
        if info.filename.casefold() in seen:  # one file on a Mac, where case does not count
            reason = "occurs twice"
        if reason:
            name = in_short(info.filename, MAX_NAME_CHARACTERS)
            raise MirrorError(f"{archive.name}: refused: {name!r} in it {reason}")
        seen.add(info.filename.casefold())
    members = [info for info in members if not check_name(info.filename, format_)]
    total = sum(info.file_size for info in members)
    if len(members) > MAX_MEMBERS or total > max(ALWAYS_FINE_BYTES, MAX_RATIO * archive.stat().st_size):
        raise MirrorError(
            f"{archive.name}: refused: it would unpack to {len(members)} files, {total:,} bytes"
        )
    if not members:
        raise MirrorError(f"{archive.name}: no file of a model is in it")
    return members


def _is_litter(name: str) -> bool:
    """What the Finder and Windows leave in archives."""
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or (bool(parts) and parts[-1] in (".DS_Store", "Thumbs.db"))


def _why_refused(info: zipfile.ZipInfo, format_: Format) -> str:
    name = info.filename
    mode = info.external_attr >> 16
    if reason := why_unsafe(info.orig_filename) or why_unsafe(name):
        return reason
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "is a link or another special file"
    if info.flag_bits & IS_ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is packed in a way that is not known here"
    return "is a pickle, which can run any program" if is_pickle(name, format_) else ""


def _unpack_member(zipped: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> InstalledFile:
    target = folder.joinpath(*member.filename.split("/"))
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with zipped.open(member) as source, target.open("xb") as stream:
        while block := source.read(BLOCK_BYTES):
            digest.update(block)
            stream.write(block)
        stream.flush()
        sync_file(stream.fileno())
    return InstalledFile(member.filename, member.file_size, digest.hexdigest())
