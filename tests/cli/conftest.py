"""The command as a person runs it: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]

ENTRY = (sys.executable, "-m", "audio2img")


@pytest.fixture(autouse=True)
def embedded_models(private_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test downloads a machine's default models: where none is named, the embedded ones are taken."""
    monkeypatch.setenv("AUDIO2IMG_MODEL", "mini")
    monkeypatch.setenv("AUDIO2IMG_SPEECH_MODEL", "mini-whisper")


@pytest.fixture
def audio2img(private_home: Path, tmp_path: Path) -> Command:
    """Call the command in an empty folder; `stdin` is bytes, the outputs are text."""

    def call(
        *arguments: str | Path, stdin: bytes = b"", env: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*ENTRY, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            timeout=120,
            cwd=options.pop("cwd", tmp_path),
            env={**os.environ, "HOME": str(private_home), **(env or {})},
            **options,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode(errors="replace")
        )

    return call


@pytest.fixture
def shown(private_home: Path, tmp_path: Path) -> Callable[..., tuple[int, bytes]]:
    """Call the command on a terminal, all three streams of it: its exit code, and every byte it shows."""

    def call(*arguments: str | bytes | Path, env: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        import tty

        master, slave = os.openpty()
        tty.setraw(slave)  # bytes as they are, no "\r\n" for "\n"
        process = subprocess.Popen(
            [*ENTRY, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=tmp_path,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100", **(env or {})},
        )
        os.close(slave)
        pieces = []
        try:
            while piece := _read(master):
                pieces.append(piece)
            return process.wait(60), b"".join(pieces)
        finally:
            process.kill()
            os.close(master)

    return call


def _read(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError:  # Linux: the other end has closed
        return b""


@pytest.fixture
def assert_fails() -> Callable[..., None]:
    """Check for the right exit code, one line on stderr with the words, no traceback, an empty stdout."""

    def check(done: subprocess.CompletedProcess[str], exit_code: int, *words: str) -> None:
        assert done.returncode == exit_code, done.stderr
        assert done.stdout == ""
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("audio2img: ")
        for word in words:
            assert word in lines[0]

    return check
