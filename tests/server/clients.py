"""A real server in a process of its own, with the embedded models; and clients by others."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from websockets.sync.client import ClientConnection, connect

TOKEN = "a-token-for-tests"
LONG_S = 120.0  # on a busy machine


@dataclass(frozen=True)
class Server:
    """A server that is running. port: of 127.0.0.1; pictures: its gallery."""

    port: int
    pictures: Path
    process: subprocess.Popen[str]

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def cookie(self) -> str:
        return f"audio2img-{self.port}={TOKEN}"

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        tab: str = "",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes, dict[str, str]]:
        """(status, body, headers by small letters) of one request by somebody who is let in."""
        known = {"Host": self.host, "Cookie": self.cookie, **({"X-Tab": tab} if tab else {})}
        known.update(headers or {})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG_S)
        try:
            data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in known.items():
                if value:
                    connection.putheader(name, value)
            if data is not None:
                connection.putheader("Content-Length", str(len(data)))
            connection.endheaders(data)
            answer = connection.getresponse()
            return answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()}
        finally:
            connection.close()

    def order(self, path: str, body: Any, tab: str) -> Any:
        """The answer to an order that is taken."""
        status, data, _ = self.ask("POST", path, body, tab=tab)
        assert status in (200, 202), data
        return json.loads(data)

    def hear(self, recording: bytes, order: dict[str, Any], tab: str, name: str = "memo.flac") -> str:
        path = f"/hear?name={quote(name)}&order={quote(json.dumps(order))}"
        job: str = self.order(path, recording, tab)["job"]
        return job

    def live(self, tab: str, **more: Any) -> ClientConnection:
        headers = {"Cookie": self.cookie}
        return connect(
            f"ws://{self.host}/live?tab={tab}",
            origin=f"http://{self.host}",  # type: ignore[arg-type]
            additional_headers=headers,
            max_size=None,
            **more,
        )


def wait_for(socket: ClientConnection, what: str, is_it: Any = lambda news: True) -> Any:
    """The first news of that kind for which `is_it` says so."""
    while True:
        table = json.loads(socket.recv(timeout=LONG_S))
        if what in table and is_it(table[what]):
            return table[what]


def wait_for_end(socket: ClientConnection, job: str) -> Any:
    """How the job of that number ended."""
    return wait_for(socket, "job", lambda one: one["id"] == job and one["state"] != "running")


def run_server(folder: Path, *more: str) -> Iterator[Server]:
    pictures, errors = folder / "pictures", folder / "stderr"
    command = [
        sys.executable, "-m", "audio2img", "serve", "--no-open", "--port", "0", "--token", TOKEN,
        "--model", "mini", "--speech-model", "mini-whisper", "-o", str(pictures), *more,
    ]  # fmt: skip
    environment = {**os.environ, "HOME": str(folder), "HF_HUB_OFFLINE": "1"}
    with (
        errors.open("w") as stderr,
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, errors.read_text()
            yield Server(int(urlsplit(line.strip()).port or 0), pictures, process)
            process.send_signal(signal.SIGINT)
            code = process.wait(60)
            assert code == 0, f"{code} {errors.read_text()}"
            said = errors.read_text()
            assert "Traceback" not in said, said
        finally:
            process.kill()
