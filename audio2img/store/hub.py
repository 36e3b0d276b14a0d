"""Hugging Face hubs: which files a repository holds, and their place in the cache that all tools share.

huggingface_hub asks the hub and lays out its cache. The bytes come through transfer.py: since
huggingface_hub 1.x a download that is cut begins again from the first byte, and ours goes on. Every
file is checked against what the hub's own listing says: SHA-256 for large files, the git hash for
the others. The layout: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from audio2img.files import move_over
from audio2img.store.formats import check_name, is_pickle, is_weights, why_unsafe
from audio2img.store.patience import (
    BUSY,
    MAX_NAME_CHARACTERS,
    InterruptionError,
    MirrorError,
    Patience,
    in_short,
    insist,
    retry_after_s,
    within,
)
from audio2img.store.places import hub_cache_dir
from audio2img.store.report import Reporter
from audio2img.store.rows import FileSpec, Format, Mirror, Variant
from audio2img.store.transfer import PART_SUFFIX, RemoteFile

Result = TypeVar("Result")
SHA1_DIGITS = 40
SHA256_DIGITS = 64
MAX_ENTRIES = 20_000
MAX_FILE_BYTES = 1 << 50  # more than any disk takes; an integer of JSON may have any size
LISTING_TIMEOUTS = 4  # so many time-outs until a hub's whole answer must be here
N_TRIES_TO_LIST = 3


@dataclass(frozen=True)
class Listing:
    """What a repository holds of a model. commit: the one its revision stands for."""

    repo: str
    commit: str
    files: tuple[RemoteFile, ...]

    @property
    def repo_folder(self) -> Path:
        return hub_cache_dir() / f"models--{self.repo.replace('/', '--')}"

    @property
    def snapshot(self) -> Path:
        return self.repo_folder / "snapshots" / self.commit

    def blob(self, remote: RemoteFile) -> Path:
        """The file in the cache: named by its ETag, which is its git hash, or for large files SHA-256."""
        return self.repo_folder / "blobs" / (remote.git_sha1 or remote.sha256 or "")

    def part(self, remote: RemoteFile, key: str) -> Path:
        """Where it grows: beside its final place, named so that nobody takes it for whole."""
        blob = self.blob(remote)
        return blob.with_name(f"{blob.name}.{key}{PART_SUFFIX}")


def list_hub_files(
    mirror: Mirror, variant: Variant, format_: Format, reporter: Reporter, patience: Patience
) -> Listing:
    """Ask the hub for the files of `variant`.

    Raises MirrorError when the repository is gone, lacks a file, or holds weights only as pickles.
    """
    from huggingface_hub import HfApi, hf_hub_url
    from huggingface_hub.hf_api import RepoFile
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    api = HfApi(library_name="audio2img")
    headers = build_hf_headers(library_name="audio2img")

    def ask() -> tuple[str, list[Any]]:
        commit = api.model_info(mirror.hub, revision=mirror.revision, timeout=patience.timeout_s).sha
        if commit is None or not is_hex(commit, SHA1_DIGITS):
            raise MirrorError("it does not say which commit it has")
        entries: list[Any] = []
        for entry in api.list_repo_tree(mirror.hub, recursive=True, revision=commit):
            entries.append(entry)
            if len(entries) > MAX_ENTRIES:
                raise MirrorError(f"it lists more than {MAX_ENTRIES:,} files")
        return commit, [entry for entry in entries if isinstance(entry, RepoFile)]

    # Where nobody answers at all the next mirror is the better bet: fewer tries than for a file.
    impatience = replace(patience, n_tries=min(N_TRIES_TO_LIST, patience.n_tries))
    commit, entries = _ask_hub("its list of files", ask, reporter, impatience)
    # From here on nothing in the listing is unchecked.
    chosen = _choose(entries, variant, format_, reporter)
    files = []
    for entry, spec in chosen:
        lfs_sha256 = None if entry.lfs is None else entry.lfs.sha256
        _compare(entry.path, entry.size, lfs_sha256, spec)
        files.append(
            RemoteFile(
                path=entry.path,
                url=hf_hub_url(mirror.hub, entry.path, revision=commit),
                size_bytes=entry.size,
                sha256=lfs_sha256 or spec.sha256,
                git_sha1=entry.blob_id if lfs_sha256 is None else None,
                headers=headers,
            )
        )
    return Listing(mirror.hub, commit, tuple(files))


def _choose(
    entries: list[Any], variant: Variant, format_: Format, reporter: Reporter
) -> list[tuple[Any, FileSpec]]:
    """The entries that the variant names or whose path fits a pattern, without what is never taken."""
    by_path = {entry.path: entry for entry in entries if isinstance(entry.path, str)}
    specs = {spec.path: spec for spec in variant.files}
    if missing := [path for path in specs if path not in by_path]:
        raise MirrorError(f"it has no {missing[0]}")
    fitting = [
        path
        for path in by_path
        if path in specs or any(fnmatchcase(path, pattern) for pattern in variant.patterns)
    ]
    for path in fitting:
        _check_entry(by_path[path])
    if inside := {str(folder) for path in fitting for folder in PurePosixPath(path).parents} & set(fitting):
        raise MirrorError(f"refused: {min(inside)} in its list is a file and a folder")
    pickles = [path for path in fitting if is_pickle(path, format_)]
    taken = [path for path in fitting if not check_name(path, format_)]
    if not any(is_weights(path, format_) for path in taken):
        if pickles:
            raise MirrorError(f"it holds its weights only as a pickle, which is refused: {pickles[0]}")
        raise MirrorError("it has none of the files that are asked for")
    if pickles:
        more = f" and {len(pickles) - 3} more" if len(pickles) > 3 else ""
        reporter.say(f"left out, because a pickle can run any program: {', '.join(pickles[:3])}{more}")
    return [(by_path[path], specs.get(path, FileSpec(path))) for path in taken]


def _check_entry(entry: Any) -> None:
    """Raises MirrorError unless the hub names a file inside of its folder, with hashes that are some.

    The names of files on this machine are made of them.
    """
    if reason := why_unsafe(entry.path):
        name = in_short(str(entry.path), MAX_NAME_CHARACTERS)
        raise MirrorError(f"refused: {name!r} in its list {reason}")
    is_size = type(entry.size) is int and 0 <= entry.size <= MAX_FILE_BYTES
    is_named = is_hex(entry.blob_id, SHA1_DIGITS) and (
        entry.lfs is None or is_hex(entry.lfs.sha256, SHA256_DIGITS)
    )
    if not is_size or not is_named:
        raise MirrorError(f"refused: what its list says of {entry.path} is no size and hash")


def is_hex(text: object, n_digits: int) -> bool:
    return isinstance(text, str) and re.fullmatch(f"[0-9a-f]{{{n_digits}}}", text) is not None


def _compare(path: str, size_bytes: int, lfs_sha256: str | None, spec: FileSpec) -> None:
    if spec.size_bytes is not None and spec.size_bytes != size_bytes:
        raise MirrorError(
            f"{path}: wrong length: {size_bytes:,} bytes where {spec.size_bytes:,} are expected"
        )
    if spec.sha256 is not None and lfs_sha256 is not None and spec.sha256 != lfs_sha256:
        raise MirrorError(
            f"{path}: wrong bytes: their SHA-256 is {lfs_sha256[:16]}…, and not {spec.sha256[:16]}…"
        )


def place_in_cache(listing: Listing, remote: RemoteFile) -> Path:
    """Make the snapshot's entry for a blob that is here; gives it. Raises OSError.

    As huggingface_hub lays it out, which would ask the hub once more and go by its headers: a link to
    the blob, or, on systems without links, the file itself.
    """
    entry, blob = listing.snapshot / remote.path, listing.blob(remote)
    if not entry.exists():
        entry.unlink(missing_ok=True)
        entry.parent.mkdir(parents=True, exist_ok=True)
        try:
            entry.symlink_to(os.path.relpath(blob, entry.parent))
        except OSError:
            move_over(blob, entry)
    return entry


def _ask_hub(what: str, call: Callable[[], Result], reporter: Reporter, patience: Patience) -> Result:
    """The result of a call into huggingface_hub, tried again where sensible; its errors as MirrorError."""
    from huggingface_hub import errors

    def attempt() -> Result:
        try:
            return within(LISTING_TIMEOUTS * patience.timeout_s, call)
        except errors.GatedRepoError as error:
            wish = "its owner wants you to accept the terms on its page, and a token in HF_TOKEN"
            raise MirrorError(wish) from error
        except errors.RepositoryNotFoundError as error:
            raise MirrorError(f"there is no such repository, or not for you ({_status(error)})") from error
        except errors.RevisionNotFoundError as error:
            raise MirrorError(f"it has no such revision ({_status(error)})") from error
        except errors.HfHubHTTPError as error:
            status = _status(error)
            if status in BUSY:
                response: Any = error.response
                raise InterruptionError(
                    f"the hub answers {status}", retry_after_s(response.headers)
                ) from error
            raise MirrorError(f"the hub answers {status}") from error
        except Exception as error:
            # Which HTTP library huggingface_hub uses, and so what it raises when nobody answers,
            # changed from version to version.
            library = type(error).__module__.partition(".")[0]
            if isinstance(error, OSError) or library in ("httpx", "httpx2", "httpcore", "requests"):
                raise InterruptionError(f"no answer ({error or type(error).__name__})") from error
            if isinstance(error, (MirrorError, InterruptionError, MemoryError)):
                raise
            # Not its JSON, as where a network wants one to sign in on a page of its own first.
            raise MirrorError(
                "it does not answer as a hub does (does this network want a sign-in?)"
            ) from error

    return insist(what, attempt, reporter, patience)


def _status(error: Any) -> int | None:
    response = getattr(error, "response", None)
    return None if response is None else int(response.status_code)
