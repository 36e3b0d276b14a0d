"""The studio's server: its import, how soon a spoken sentence is words and a picture, what it leaves behind.

The client is a WebSocket that sends what a browser's microphone sends: int16 at 48 kHz, 20 blocks a second.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from bench_tools import Comparison, SkippedError
from numpy.typing import NDArray

from audio2img.audio.decode import decode_audio
from audio2img.pipeline.live import LiveInput
from audio2img.pipeline.models import ModelNames, Models
from audio2img.pipeline.options import Options
from audio2img.types import SAMPLE_RATE_HZ

MINI = Path(__file__).resolve().parent.parent / "models" / "mini"
TOKEN = "benchmark-token"
BLOCK_S = 0.05
AFTER_S = 3.0  # of a quiet room, in which the speech is noticed to be over
TABS = 10
PICTURES = 3  # of each tab
MOST_GROWTH_MB = 5.0  # a tab
OPTIONS = {"seed": 7, "steps": 8}


@dataclass(frozen=True)
class Server:
    port: int
    process: subprocess.Popen[str]

    @property
    def cookie(self) -> str:
        return f"audio2img-{self.port}={TOKEN}"

    def order(self, path: str, table: dict[str, Any], tab: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("POST", path, json.dumps(table), {"Cookie": self.cookie, "X-Tab": tab})
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        if answer.status not in (200, 202):
            raise RuntimeError(f"{path}: {answer.status} {data!r}")
        return json.loads(data)

    def live(self, tab: str) -> Any:
        from websockets.sync.client import connect

        return connect(
            f"ws://127.0.0.1:{self.port}/live?tab={tab}",
            origin=f"http://127.0.0.1:{self.port}",  # type: ignore[arg-type]
            additional_headers={"Cookie": self.cookie},
            max_size=None,
        )


def importing() -> Comparison:
    """The processor's time of the server's import, against that of the libraries it is made of."""

    def cpu_s(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    theirs = "import numpy, starlette.applications, starlette.websockets, uvicorn"
    return Comparison(
        "server, import",
        lambda: cpu_s("import audio2img.server.serving"),
        lambda: cpu_s(theirs),
        "numpy, starlette and uvicorn",
    )


def speaking(folder: Path, until: str) -> Comparison:
    """From the last word that is spoken to the words, or the picture, against the same without a server."""
    _needs_web()
    running = _running(folder)
    server = next(running)
    models = Models(ModelNames(image="mini", speech="mini-whisper"))
    count = iter(range(1000))

    def ours() -> float:
        return _speak_to(server, f"benchmark-{next(count)}", until)

    def plain() -> float:
        return _speak_plainly(models, until)

    aim = 1.2 if until == "words" else 1.05
    _open_until_the_end.append((running, models))
    return Comparison(f"server, {until}", ours, plain, "the same in one process", aim)


_open_until_the_end: list[Any] = []  # what a comparison measures with; the process ends with them


def _speech() -> NDArray[np.float32]:
    """The demo's sentence, then a quiet room."""
    sound = decode_audio(MINI / "demo.flac").samples
    loud = np.flatnonzero(np.abs(sound) > 0.02)
    sound = sound[: loud[-1]]
    room = np.random.default_rng(1).standard_normal(round(AFTER_S * SAMPLE_RATE_HZ)).astype(np.float32)
    return np.concatenate((sound, room * np.float32(3e-4)))


def _in_real_time(sound: NDArray[Any], rate_hz: int, n_speech: int) -> Iterator[tuple[NDArray[Any], bool]]:
    """Blocks when their time has come, and whether the last word is over with it."""
    n_block = round(BLOCK_S * rate_hz)
    started = time.monotonic()
    for start in range(0, sound.size, n_block):
        time.sleep(max(0.0, started + (start + n_block) / rate_hz - time.monotonic()))
        yield sound[start : start + n_block], start + n_block >= n_speech


def _speak_to(server: Server, tab: str, until: str) -> float:
    """Seconds from the last word to what is waited for."""
    import threading

    from websockets.exceptions import ConnectionClosed

    speech = np.repeat(_speech(), 3)  # 48 kHz; how it sounds is not measured
    pcm = (speech * 32767).astype("<i2")
    n_speech = pcm.size - round(AFTER_S * 3 * SAMPLE_RATE_HZ)
    spoken_s: list[float] = []
    with server.live(tab) as socket:
        order = {"draw": {"options": OPTIONS}} if until == "picture" else {}
        socket.send(json.dumps({"do": "speak", "rate": 3 * SAMPLE_RATE_HZ, "order": order}))

        def send() -> None:
            with suppress(ConnectionClosed):  # what was waited for is there
                for block, is_over in _in_real_time(pcm, 3 * SAMPLE_RATE_HZ, n_speech):
                    socket.send(block.tobytes())
                    if is_over and not spoken_s:
                        spoken_s.append(time.perf_counter())

        threading.Thread(target=send, daemon=True).start()
        while True:
            job = json.loads(socket.recv()).get("job")
            if job is not None and job["state"] == "failed":
                raise RuntimeError(str(job["error"]))
            if job is not None and (job["final"] if until == "words" else job["state"] == "done"):
                return time.perf_counter() - spoken_s[0]


def _speak_plainly(models: Models, until: str) -> float:
    speech = _speech()
    n_speech = speech.size - round(AFTER_S * SAMPLE_RATE_HZ)
    spoken_s: list[float] = []

    def chunks() -> Iterator[NDArray[np.float32]]:
        for block, is_over in _in_real_time(speech, SAMPLE_RATE_HZ, n_speech):
            if is_over and not spoken_s:
                spoken_s.append(time.perf_counter())
            yield block

    with models.session() as session:
        live = LiveInput(chunks=chunks())
        if until == "words":
            session.hear(live)
        else:
            session.run(live, Options(seed=OPTIONS["seed"], steps=OPTIONS["steps"]))
        return time.perf_counter() - spoken_s[0]


def memory_of_tabs(folder: Path) -> Comparison:
    """What ten tabs that draw in turn leave in the server's memory, a tab, against what is allowed."""
    _needs_web()
    _needs_proc()
    count = iter(range(10_000))

    def growth_mb() -> float:
        with _server(folder) as server:
            _draw_in(server, f"warm-tab-{next(count)}", 2 * PICTURES)
            before_mb = _memory_mb(server)
            sockets = []
            for _ in range(TABS):
                tab = f"one-tab-{next(count)}"
                sockets.append(server.live(tab))
                _draw_in(server, tab, PICTURES)
            grown_mb = _memory_mb(server) - before_mb
            for socket in sockets:
                socket.close()
            return max(grown_mb, 0.0) / TABS

    return Comparison("server, a tab", growth_mb, lambda: MOST_GROWTH_MB, "what is allowed", 1.0, "MB")


def leftovers(folder: Path, what: Literal["handles", "memory"], n_jobs: int = 1000) -> Comparison:
    """What a thousand jobs leave behind, threads with open files or memory, against what was there before."""
    _needs_web()
    _needs_proc()
    look = _count if what == "handles" else _memory_mb
    before: list[float] = []

    def after() -> float:
        with _server(folder) as server:
            for number in range(5):  # until all threads are there that answer requests
                _draw_in(server, f"first-tab-{number}", 20)
            before.append(look(server))
            for number in range(n_jobs // 20):
                _draw_in(server, f"tab-number-{number}", 20)
            time.sleep(1)
            return look(server)

    name = f"{n_jobs} jobs, {what}"
    if what == "handles":
        return Comparison(name, after, lambda: before[-1], "threads and files before", 1.0, "of them")
    return Comparison(name, after, lambda: before[-1], "memory before", 1.1, "MB")


def _draw_in(server: Server, tab: str, n_pictures: int) -> None:
    with server.live(tab) as socket:
        for number in range(n_pictures):
            options = {"seed": number, "steps": 1}
            job = server.order("/draw", {"prompt": "a red house", "options": options}, tab)["job"]
            while True:
                told = json.loads(socket.recv()).get("job")
                if told is not None and told["id"] == job and told["state"] != "running":
                    if told["state"] != "done":
                        raise RuntimeError(str(told["error"]))
                    break


def _memory_mb(server: Server) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1000


def _count(server: Server) -> float:
    """Threads and open files."""
    return float(sum(len(os.listdir(f"/proc/{server.process.pid}/{what}")) for what in ("task", "fd")))


@contextmanager
def _server(folder: Path) -> Iterator[Server]:
    yield from _running(folder)


def _running(folder: Path) -> Iterator[Server]:
    command = [
        sys.executable, "-m", "audio2img", "serve", "--no-open", "--port", "0", "--token", TOKEN, "-q",
        "--model", "mini", "--speech-model", "mini-whisper", "-o", str(folder / "studio"),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r":(\d+)/", process.stdout.readline())
        if found is None:
            raise RuntimeError("the server did not start")
        try:
            yield Server(int(found[1]), process)
        finally:
            process.send_signal(signal.SIGINT)


def _needs_web() -> None:
    try:
        import starlette  # noqa: F401
    except ImportError:
        raise SkippedError("it needs the extra web") from None


def _needs_proc() -> None:
    if not Path("/proc/self/status").exists():
        raise SkippedError("it needs /proc, which only Linux has")
