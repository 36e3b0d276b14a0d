"""Real servers on this machine: a small hub, and plain files, which fail when they are told to."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants

PIECE_BYTES = 16 << 10
COMMIT = "c" * 40


@dataclass
class Fault:
    """What goes wrong with one answer.

    status, headers: answer this instead. cut: close the connection after so many bytes of the body.
    wrong: flip a bit of the first byte. extra: promise and send so many bytes too many (too few where
    negative). pause_s: before every piece of the body. redirect: where to. raw: the whole answer as it
    goes over the wire, piece by piece, to a request that begins at so many bytes; then the connection
    is closed.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    wrong: bool = False
    extra: int = 0
    pause_s: float = 0.0
    redirect: str = ""
    ignores_ranges: bool = False
    raw: Callable[[int], Iterable[bytes]] | None = None


@dataclass
class Asked:
    """One request as it was answered. begin: the first byte asked for; sent: bytes of the body."""

    method: str
    path: str
    begin: int = 0
    sent: int = 0
    status: int = 0
    authorization: str | None = None


@dataclass
class Repo:
    """A repository of the hub. large: the paths that it keeps as LFS does."""

    files: dict[str, bytes]
    large: tuple[str, ...] = (".safetensors", ".bin", ".zip", ".mlmodel")
    commit: str = COMMIT

    def is_large(self, path: str) -> bool:
        return path.endswith(self.large)


def git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Server(ThreadingHTTPServer):
    """repos: of the hub, by owner/name. files: plain ones, by path. faults: by path, one an answer;
    the last stays when it is in `always`. speed: bytes a second of bodies, None for as fast as can be."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, Repo] = {}
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[Fault]] = {}
        self.always: dict[str, Fault] = {}
        self.asked: list[Asked] = []
        self.piece_s = 0.0
        self.twist: Callable[[Any], Any] = lambda table: table  # of every answer of the hub's API
        self.guard = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def next_fault(self, path: str) -> Fault:
        with self.guard:
            queue = self.faults.get(path)
            return queue.pop(0) if queue else self.always.get(path, Fault())

    def bodies(self, path: str = "") -> list[Asked]:
        """The answered requests for contents of files, of one path or all."""
        return [one for one in self.asked if one.method == "GET" and one.sent and path in one.path]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what these tests are about."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIECE_BYTES)
        path = unquote(urlsplit(self.path).path)
        asked = Asked(self.command, path, authorization=self.headers.get("Authorization"))
        self.server.asked.append(asked)
        self.asked = asked
        parts = path.strip("/").split("/")
        fault = self.server.next_fault(path) if self.command == "GET" else Fault()
        if fault.raw is not None:
            self._send_raw(fault.raw)
        elif fault.status:
            self._send(fault.status, fault.headers, b"no")
        elif fault.redirect:
            self._send(302, {"Location": fault.redirect}, b"")
        elif path in self.server.files:
            data = self.server.files[path]
            self._send_file(data, {"ETag": f'"{hashlib.md5(data).hexdigest()}"'}, fault)
        elif parts[:2] == ["api", "models"]:
            self._api(parts[2:])
        elif len(parts) > 4 and parts[2] == "resolve":
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]), fault)
        elif parts[0] == "cdn":
            self._cdn(parts[1], fault)
        else:
            self._send(404, {}, b"not found")

    def _api(self, parts: list[str]) -> None:
        repo = self._repo("/".join(parts[:2]), parts[3] if len(parts) > 3 else "main")
        if repo is None:
            return
        if parts[2:3] == ["tree"]:
            self._send_json([entry(repo, path) for path in repo.files])
        else:
            name = "/".join(parts[:2])
            siblings = [{"rfilename": path} for path in repo.files]
            self._send_json(
                {"_id": "0", "id": name, "modelId": name, "sha": repo.commit, "siblings": siblings}
            )

    def _repo(self, name: str, revision: str) -> Repo | None:
        repo = self.server.repos.get(name)
        if repo is None:
            self._send(401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}, b"")
        elif revision not in ("main", repo.commit):
            self._send(404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev"}, b"")
            return None
        return repo

    def _resolve(self, name: str, revision: str, path: str, fault: Fault) -> None:
        repo = self._repo(name, revision)
        if repo is None:
            return
        data = repo.files.get(path)
        if data is None:
            self._send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repo.commit}, b"")
        elif repo.is_large(path):
            sha256 = hashlib.sha256(data).hexdigest()
            headers = {
                "Location": f"{self.server.url.replace('127.0.0.1', 'localhost')}/cdn/{sha256}",
                "X-Linked-Etag": f'"{sha256}"',
                "X-Linked-Size": str(len(data)),
                "X-Repo-Commit": repo.commit,
            }
            self._send(302, headers, b"")
        else:
            self._send_file(data, {"ETag": f'"{git_hash(data)}"', "X-Repo-Commit": repo.commit}, fault)

    def _cdn(self, sha256: str, fault: Fault) -> None:
        for repo in self.server.repos.values():
            for data in repo.files.values():
                if hashlib.sha256(data).hexdigest() == sha256:
                    self._send_file(data, {"ETag": f'"{sha256}"'}, fault)
                    return
        self._send(404, {}, b"")

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.asked.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _send_raw(self, raw: Callable[[int], Iterable[bytes]]) -> None:
        self.asked.begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        for piece in raw(self.asked.begin):
            self.wfile.write(piece)
            self.asked.sent += len(piece)
        self.close_connection = True

    def _send_json(self, table: Any) -> None:
        self._send(200, {"Content-Type": "application/json"}, json.dumps(self.server.twist(table)).encode())

    def _send_file(self, data: bytes, headers: dict[str, str], fault: Fault) -> None:
        total = len(data) + fault.extra
        if fault.extra > 0:
            data = data + bytes(fault.extra)
        if fault.wrong:
            data = bytes([data[0] ^ 1]) + data[1:]
        begin = self._begin(headers, fault)
        if begin >= total > 0:
            self._send(416, {"Content-Range": f"bytes */{total}"}, b"")
            return
        self.asked.begin = begin
        self.asked.status = 206 if begin else 200
        self.send_response(self.asked.status)
        for name, value in {**headers, **fault.headers, "Content-Length": str(total - begin)}.items():
            self.send_header(name, value)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{total - 1}/{total}")
        self.end_headers()
        if self.command == "GET":
            self._send_body(data[begin:total], fault)

    def _begin(self, headers: dict[str, str], fault: Fault) -> int:
        wanted = self.headers.get("Range", "")
        if not wanted.startswith("bytes=") or fault.ignores_ranges:
            return 0
        condition = self.headers.get("If-Range")
        if condition is not None and condition != headers.get("ETag"):
            return 0
        return int(wanted.removeprefix("bytes=").split("-")[0])

    def _send_body(self, body: bytes, fault: Fault) -> None:
        end = len(body) if fault.cut is None else min(fault.cut, len(body))
        for start in range(0, end, PIECE_BYTES):
            time.sleep(fault.pause_s or self.server.piece_s)
            piece = body[start : min(start + PIECE_BYTES, end)]
            self.wfile.write(piece)
            self.asked.sent += len(piece)
        if end < len(body):
            linger = struct.pack("ii", 1, 0)
            if fault.cut is not None and fault.cut % 2:  # odd cuts: reset; even ones: a quiet end
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            self.connection.close()


def entry(repo: Repo, path: str) -> dict[str, Any]:
    """A file as the hub's tree describes it."""
    data = repo.files[path]
    table: dict[str, Any] = {"type": "file", "oid": git_hash(data), "size": len(data), "path": path}
    if repo.is_large(path):
        sha256 = hashlib.sha256(data).hexdigest()
        table["lfs"] = {"oid": sha256, "size": len(data), "pointerSize": 130}
    return table


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def online(server: Server, private_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers here are the only ones that anything can reach."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_HOME", str(private_home / "hf"))
    # In this process huggingface_hub has read all that already.
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(private_home / "hf" / "hub"))
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("no_proxy", "*")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def audio2img(private_home: Path, tmp_path: Path) -> Command:
    """Call the command as a person does; its input and outputs are no terminal."""

    def call(*arguments: str | Path, env: dict[str, str] | None = None, **options: Any) -> Any:
        return subprocess.run(
            [sys.executable, "-m", "audio2img", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=tmp_path,
            check=False,
            env={**os.environ, **(env or {})},
            **options,
        )

    return call


def weights(n_bytes: int, seed: int = 1) -> bytes:
    """What looks like a ggml file from its first four bytes."""
    return struct.pack("<I", 0x67676D6C) + random.Random(seed).randbytes(n_bytes - 4)


def safetensors(n_bytes: int, seed: int = 1) -> bytes:
    header = b'{"__metadata__":{"format":"pt"}}'
    return struct.pack("<Q", len(header)) + header + random.Random(seed).randbytes(n_bytes)


def make_zip(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as zipped:
        for name, data in files.items():
            zipped.writestr(name, data)
    return stream.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Shelf:
    """Helps tests to write rows into the person's own catalogue."""

    weights = staticmethod(weights)
    safetensors = staticmethod(safetensors)
    make_zip = staticmethod(make_zip)
    sha256 = staticmethod(sha256)
    fault = Fault
    repo = Repo

    def write(self, *rows: str) -> Path:
        from audio2img.store.catalog import own_catalog

        own_catalog().parent.mkdir(parents=True, exist_ok=True)
        own_catalog().write_text("\n".join(rows), encoding="utf-8")
        return own_catalog()

    def row(self, name: str, body: str, kind: str = "speech", format_: str = "ggml") -> str:
        return (
            f'[[model]]\nname = "{name}"\nkind = "{kind}"\nformat = "{format_}"\ntitle = "T"\npurpose = "P"\n'
            f'licence = "MIT"\nlicence_url = "https://example.org/licence"\n{body}\n'
        )


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()
