"""One file over HTTP: resumed where it was cut, checked while it arrives, renamed when it is whole.

The partial file keeps every byte that arrived, also when the process is killed: it is written
without a buffer of ours. HTTP ranges, If-Range and Retry-After: RFC 9110.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

from audio2img.errors import MachineError
from audio2img.fetch import certificates
from audio2img.files import move_over, sync_file, sync_folder
from audio2img.store.patience import (
    BUSY,
    InterruptionError,
    MirrorError,
    Patience,
    insist,
    retry_after_s,
    whole_number,
    within,
)
from audio2img.store.places import ensure_room, make_folder
from audio2img.store.report import Reporter

BLOCK_BYTES = 256 << 10
LEAST_PROGRESS_BYTES = 64 << 10  # a try that brings less was in vain
LEAST_BYTES_PER_S = 1000
MAX_UNSAID_BYTES = 8 << 30  # of a file whose length neither the catalogue nor the server says
DISK_FULL = ("ENOSPC", "EDQUOT", "EFBIG")
PART_SUFFIX = ".audio2img-part"
HEAD_TIMEOUTS = 2  # so many time-outs until the head of an answer must be here, or another part of its body
NOTE_SUFFIX = ".audio2img-note"  # beside a partial file: which version of what it is a part of


Noted = TypeVar("Noted")


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch. path: its name within the model. size_bytes, sha256 (hex): where known.

    git_sha1: of a file that the hub keeps in git itself, the hash of its git blob (hex).
    headers: to send along, such as the hub's token; a redirect to another host drops Authorization.
    """

    path: str
    url: str
    size_bytes: int | None = None
    sha256: str | None = None
    git_sha1: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_fixed(self) -> bool:
        """True when its bytes are known by a hash, so that any mirror may continue a partial file."""
        return self.sha256 is not None or self.git_sha1 is not None


def fetch_file(remote: RemoteFile, part: Path, final: Path, reporter: Reporter, patience: Patience) -> str:
    """Download into `part`, check, rename to `final`; gives the SHA-256 (hex).

    Raises MirrorError when this mirror cannot give the right bytes, MachineError when the disk is full.
    """
    make_folder(part.parent)
    make_folder(final.parent)
    download = _Download(remote, part, reporter, patience)
    try:
        sha256 = download.run()
        move_over(part, final)
        download.note.unlink(missing_ok=True)
        sync_folder(final.parent)
    except OSError as error:
        raise _disk_error(error, part) from error
    return sha256


def _disk_error(error: OSError, path: Path) -> MachineError:
    import errno

    name = errno.errorcode.get(error.errno or 0, "")
    if name in DISK_FULL:
        return MachineError(
            f"the disk is full: {path.parent} ({error.strerror}); what has arrived is kept",
            "make room, then run the same command again",
        )
    return MachineError(f"cannot write to {path.parent}: {error.strerror or error}", "check its permissions")


class _Download:
    """The attempts for one file, and the hashes of what has arrived."""

    def __init__(self, remote: RemoteFile, part: Path, reporter: Reporter, patience: Patience) -> None:
        self.remote = remote
        self.part = part
        self.note = part.with_name(part.name.removesuffix(PART_SUFFIX) + NOTE_SUFFIX)
        self.reporter = reporter
        self.patience = patience
        self.total: int | None = remote.size_bytes
        self.hashed = Hashes(remote.size_bytes)
        self.is_resumed = False
        self.most = 0

    def run(self) -> str:
        """Fetch until the part is whole and right; gives its SHA-256."""
        self._fetch_all()
        if reason := self.hashed.mismatch(self.remote, self._here()):
            if not self.is_resumed:
                self._start_over()
                raise MirrorError(f"{self.remote.path}: wrong bytes: {reason}")
            self.reporter.say(f"{self.remote.path}: what was here from before is damaged: starting over")
            self._start_over()
            self._fetch_all()
            if reason := self.hashed.mismatch(self.remote, self._here()):
                self._start_over()
                raise MirrorError(f"{self.remote.path}: wrong bytes: {reason}")
        with self.part.open("rb+") as stream:
            sync_file(stream.fileno())
        return self.hashed.sha256.hexdigest()

    def _fetch_all(self) -> None:
        self.most = 0
        insist(self.remote.path, self._attempt, self.reporter, self.patience, self._progress)

    def _progress(self) -> int:
        """Grows by one for every LEAST_PROGRESS_BYTES that were never here before."""
        self.most = max(self.most, self._here())
        return self.most // LEAST_PROGRESS_BYTES

    def _attempt(self) -> None:
        """Ask for what is missing and write it down. Returns when the part is whole."""
        have = self._prepare_part()
        if self.total is not None and have == self.total:
            self.reporter.advance(self.remote.path, have, self.total)
            return
        answer = self._open(have)
        if answer is None:
            self.total = have
            self.reporter.advance(self.remote.path, have, have)
            return
        with answer as response:
            have = self._agree(response, have)
            if self.total is not None:
                ensure_room(self.part.parent, self.total - have, self.remote.path)
            with self.part.open("ab", buffering=0) as stream:
                have = self._receive(response, stream, have)
        if self.total is not None and have < self.total:
            raise InterruptionError(f"cut off at {have:,} of {self.total:,} bytes")
        self.total = have

    def _receive(self, response: http.client.HTTPResponse, stream: IO[bytes], have: int) -> int:
        since_s, since_bytes = time.monotonic(), have
        watch = _Watch(response.fp, HEAD_TIMEOUTS * self.patience.timeout_s)
        response.fp = io.BufferedReader(watch, BLOCK_BYTES)
        while True:
            watch.begin()
            try:
                block = response.read1(BLOCK_BYTES)
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise InterruptionError(f"the connection broke ({_reason(error)})") from error
            if not block:
                return have
            if (took_s := time.monotonic() - since_s) > self.patience.timeout_s:
                if have + len(block) - since_bytes < LEAST_BYTES_PER_S * took_s:
                    raise InterruptionError(f"less than {LEAST_BYTES_PER_S:,} bytes a second came")
                since_s, since_bytes = time.monotonic(), have
            _write_all(stream, block)
            self.hashed.update(block)
            have += len(block)
            if have > (MAX_UNSAID_BYTES if self.total is None else self.total):
                limit = MAX_UNSAID_BYTES if self.total is None else self.total
                self._start_over()
                raise MirrorError(f"{self.remote.path}: longer than the {limit:,} bytes it may have")
            self.reporter.advance(self.remote.path, have, self.total)

    def _here(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _prepare_part(self) -> int:
        """How many bytes of the part can be used; those that cannot are dropped. Hashes what is used."""
        have = self._here()
        if have and self.total is None:
            self.total = self._noted("total", int)
        too_long = self.total is not None and have > self.total
        if have and (too_long or not (self.remote.is_fixed or self._validator())):
            self._start_over()
            have = 0
        if self.hashed.n_bytes != have:
            self.is_resumed = have > 0
            self.hashed = Hashes(self.remote.size_bytes)
            if have:
                self.hashed.update_from(
                    self.part, lambda done: self.reporter.advance(self.remote.path, done, self.total)
                )
        return have

    def _start_over(self) -> None:
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)
        self.total = self.remote.size_bytes
        self.hashed = Hashes(self.remote.size_bytes)
        self.is_resumed = False

    def _validator(self) -> str | None:
        """What names the version that the part is of, if it came from the same address."""
        return self._noted("validator", str)

    def _noted(self, name: str, kind: type[Noted]) -> Noted | None:
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            value = note[name] if note["url"] == self.remote.url else None
        except (OSError, ValueError, TypeError, LookupError):
            return None
        return value if isinstance(value, kind) else None

    def _open(self, have: int) -> http.client.HTTPResponse | None:
        """The server's answer; None where it says that there is nothing more than is here."""
        headers = {"Accept-Encoding": "identity", **self.remote.headers}
        if have:
            headers["Range"] = f"bytes={have}-"
            if not self.remote.is_fixed and (validator := self._validator()):
                headers["If-Range"] = validator
        timeout_s = self.patience.timeout_s
        try:
            return within(
                HEAD_TIMEOUTS * timeout_s,
                lambda: open_url(self.remote.url, headers, timeout_s),
                lambda late: late.close(),
            )
        except urllib.error.HTTPError as error:
            with contextlib.closing(error):  # a redirect's is closed already
                is_whole = error.headers.get("Content-Range") == f"bytes */{have}"
                if error.code == 416 and is_whole and self.total in (None, have):
                    return None
                raise self._refusal(error) from None
        except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
            if isinstance(error, http.client.InvalidURL) or not isinstance(
                error, (OSError, http.client.HTTPException)
            ):  # the catalogue's address, or where it leads
                raise MirrorError(f"{self.remote.path}: not an address ({_reason(error)})") from error
            raise InterruptionError(f"no answer ({_reason(error)})") from error

    def _refusal(self, error: urllib.error.HTTPError) -> Exception:
        if error.code == 416:  # the part is longer than the file, or of another version of it
            self._start_over()
            return InterruptionError("the server refuses to go on where it was cut")
        if error.code // 100 == 3:  # urllib's words for it are its own
            return MirrorError(f"{self.remote.path}: the server answers {error.code}, and leads nowhere")
        answer = f"the server answers {error.code} {error.reason}"
        if error.code in BUSY:
            return InterruptionError(answer, retry_after_s(error.headers))
        return MirrorError(f"{self.remote.path}: {answer}")

    def _agree(self, response: http.client.HTTPResponse, have: int) -> int:
        """Check what the server is about to send; gives where in the file it begins."""
        if response.status not in (200, 206):
            raise MirrorError(
                f"{self.remote.path}: the server answers {response.status}, and not with the file"
            )
        total = _length(response)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise MirrorError(f"{self.remote.path}: the server packs what should come as it is")
        if total is None and not response.chunked and not self.remote.is_fixed:
            raise MirrorError(f"{self.remote.path}: the server does not say how long it is")
        if response.status == 206:
            begin, total = _content_range(response)
            if not have or begin != have:
                raise MirrorError(f"{self.remote.path}: the server sends another part than was asked for")
            if not self.remote.is_fixed and _validator_of(response) != self._validator():
                self._start_over()
                raise InterruptionError("the file is another one now: starting over")
            if total is None and self.total is None and not self.remote.is_fixed:
                self._start_over()
                raise MirrorError(f"{self.remote.path}: the server does not say how long it is")
        elif have:  # it sends all again: it knows no ranges, or the file has changed
            self._start_over()
            have = 0
            self.hashed = Hashes(self.remote.size_bytes)
        if self.total is not None and total is not None and total != self.total:
            is_noted = self.remote.size_bytes is None
            self._start_over()
            if is_noted:
                raise InterruptionError(f"the file has {total:,} bytes now: starting over")
            raise MirrorError(
                f"{self.remote.path}: wrong length: {total:,} bytes where {self.total:,} are expected"
            )
        self.total = total if self.total is None else self.total
        if not have and not self.remote.is_fixed:
            self._write_note(response)
        return have

    def _write_note(self, response: http.client.HTTPResponse) -> None:
        note = {"url": self.remote.url, "validator": _validator_of(response), "total": self.total}
        self.note.write_text(json.dumps(note), encoding="utf-8")


def _write_all(stream: IO[bytes], block: bytes) -> None:
    """An unbuffered write may take a part of the block, as when the disk gets full."""
    rest = memoryview(block)
    while rest:
        rest = rest[stream.write(rest) :]


class Hashes:
    """SHA-256 of what has arrived, and, where the size is known, its hash as a git blob."""

    def __init__(self, size_bytes: int | None) -> None:
        self.n_bytes = 0
        self.sha256 = hashlib.sha256()
        self.git = hashlib.sha1(usedforsecurity=False)
        if size_bytes is not None:
            self.git.update(b"blob %d\0" % size_bytes)

    def update(self, block: bytes) -> None:
        self.n_bytes += len(block)
        self.sha256.update(block)
        self.git.update(block)

    def update_from(self, path: Path, progress: Callable[[int], None] = lambda n_bytes: None) -> None:
        """Take in a whole file; `progress` is told the bytes so far."""
        with path.open("rb") as stream:
            while block := stream.read(BLOCK_BYTES):
                self.update(block)
                progress(self.n_bytes)

    def mismatch(self, remote: RemoteFile, size_bytes: int) -> str:
        """How the file differs from what it should be; "" where it does not."""
        if remote.size_bytes is not None and size_bytes != remote.size_bytes:
            return f"{size_bytes:,} bytes, and not {remote.size_bytes:,}"
        if remote.sha256 is not None and self.sha256.hexdigest() != remote.sha256:
            return f"their SHA-256 is {self.sha256.hexdigest()[:16]}…, and not {remote.sha256[:16]}…"
        if remote.git_sha1 is not None and self.git.hexdigest() != remote.git_sha1:
            return f"their git hash is {self.git.hexdigest()[:16]}…, and not {remote.git_sha1[:16]}…"
        return ""


def hash_file(
    path: Path, size_bytes: int | None, progress: Callable[[int], None] = lambda n_bytes: None
) -> Hashes:
    """The hashes of a file that is here. size_bytes: what it should have, for the hash as a git blob."""
    hashed = Hashes(size_bytes)
    hashed.update_from(path, progress)
    return hashed


class _Watch(io.RawIOBase):
    """What the body of an answer is read from. Each part of the body has a time to arrive in: around the
    parts of a chunked one (RFC 9112, 7.1) stand lines that http.client throws away, however many come.
    """

    def __init__(self, body: io.BufferedReader, limit_s: float) -> None:
        self._body = body
        self._limit_s = limit_s
        self.begin()

    def begin(self) -> None:
        """The next part is waited for from now on."""
        self._end_s = time.monotonic() + self._limit_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if time.monotonic() > self._end_s:
            raise TimeoutError(f"nothing of the file came in {self._limit_s:.0f} s")
        return self._body.readinto1(buffer)

    def close(self) -> None:
        self._body.close()
        super().close()


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but takes no secret to another host, and none from https to http."""

    def http_error_302(self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any) -> Any:
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except (ValueError, http.client.InvalidURL):  # an address that is none
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is None:
            return None
        fp.close()  # or urllib would read all that the server has to say, which may never end
        old_parts, new_parts = urlsplit(req.full_url), urlsplit(new.full_url)
        if new_parts.scheme not in ("http", "https"):  # urllib would go on by FTP
            raise ValueError(f"redirected to {new_parts.scheme}, which is refused")
        if old_parts.scheme == "https" and new_parts.scheme != "https":
            raise urllib.error.URLError("redirected from https to http, which is refused")
        if old_parts.netloc != new_parts.netloc:
            new.remove_header("Authorization")
        return new


def open_url(url: str, headers: Mapping[str, str], timeout_s: float) -> http.client.HTTPResponse:
    """The answer to GET `url`; proxies as the environment says, certificates of the system and certifi."""
    request = urllib.request.Request(url, headers={"User-Agent": "audio2img", **headers})
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=certificates()), _Redirects())
    response: http.client.HTTPResponse = opener.open(request, timeout=timeout_s)
    return response


def _length(response: http.client.HTTPResponse) -> int | None:
    return whole_number(response.headers.get("Content-Length", ""))


def _validator_of(response: http.client.HTTPResponse) -> str | None:
    """What names the version of a file: a strong ETag, or the time it was changed."""
    etag: str = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")


def _content_range(response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """(first byte, bytes in all) of an answer 206: `bytes 500-999/1000`."""
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    begin = whole_number(span.partition("-")[0])
    return (-1, None) if unit != "bytes" or begin is None else (begin, whole_number(total))


def _reason(error: BaseException) -> str:
    if isinstance(error, urllib.error.URLError) and not isinstance(error.reason, str):
        error = error.reason
    if isinstance(error, http.client.IncompleteRead):
        return "it ended in the middle"
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
