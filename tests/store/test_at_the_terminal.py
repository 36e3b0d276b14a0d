"""With a person at a terminal: the question before a download, and the bars while it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from audio2img.store.catalog import default_name
from audio2img.store.receipts import installed, read_receipt

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX terminal, not Windows")


def at_the_terminal(answer: str, folder: Path, *arguments: str | Path) -> tuple[int, str, str]:
    """Run the command on a terminal and answer its question; exit code, stdout, what was shown."""
    master, slave = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "audio2img", *map(str, arguments)],
        stdin=slave, stdout=subprocess.PIPE, stderr=slave, cwd=folder, start_new_session=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "110"},
    ) as process:  # fmt: skip
        os.close(slave)
        shown = b""
        while b"[y/N]" not in shown:
            shown += os.read(master, 4096)
        os.write(master, f"{answer}\n".encode())
        while True:
            try:
                piece = os.read(master, 4096)
            except OSError:  # Linux: the other end has closed
                break
            if not piece:
                break
            shown += piece
        assert process.stdout is not None
        output = process.stdout.read().decode()
        process.wait(timeout=60)
    os.close(master)
    return process.returncode, output, shown.decode()


@pytest.fixture
def whisper_base(server: Any, shelf: Any, mini_whisper: Path) -> bytes:
    """This machine's default speech model, from a mirror of the person's own: the mini one, in truth."""
    data = mini_whisper.read_bytes()
    server.repos["company/speech"] = shelf.repo({"ggml-base.bin": data})
    mirrors = 'mirrors = [{ hub = "company/speech" }]\n'
    file = f'{{ path = "ggml-base.bin", bytes = {len(data)}, sha256 = "{shelf.sha256(data)}" }}'
    shelf.write(shelf.row("whisper-base", f"{mirrors}files = [{file}]"))
    return data


def test_the_first_run_says_what_it_would_fetch_and_asks(
    server: Any, demo_audio: Path, tmp_path: Path, whisper_base: bytes
) -> None:
    server.piece_s = 0.002
    code, output, shown = at_the_terminal("y", tmp_path, "transcribe", demo_audio)
    assert (code, output) == (0, "please draw a big red house at night\n"), shown
    assert "whisper-base: 6.3 MB; licence MIT, https://example.org/licence" in shown
    assert "Download whisper-base and accept the licence? [y/N]" in shown
    assert "ggml-base.bin" in shown  # its own bar
    assert "all" in shown
    assert "MB/s" in shown
    receipt = installed("whisper-base")
    assert receipt is not None
    assert receipt.licence.how == "at the terminal"
    n_asked = len(server.asked)
    again = subprocess.run(
        [sys.executable, "-m", "audio2img", "transcribe", demo_audio],
        capture_output=True,
        text=True,
        check=True,
    )
    assert again.stdout == output
    assert len(server.asked) == n_asked


def test_no_means_no(server: Any, demo_audio: Path, tmp_path: Path, whisper_base: bytes) -> None:
    code, output, shown = at_the_terminal("n", tmp_path, "run", demo_audio, "--model", "mini")
    assert (code, output) == (130, "")
    assert "nothing was downloaded" in shown
    assert server.asked == []
    assert read_receipt("whisper-base") is None


def test_get_default_asks_once_for_all(server: Any, tmp_path: Path, whisper_base: bytes) -> None:
    code, output, shown = at_the_terminal("y", tmp_path, "models", "get", "default")
    assert code == 0, shown
    assert Path(output.splitlines()[-1]).read_bytes() == whisper_base
    assert shown.count("[y/N]") == 1
    is_told = default_name("image") == "mini"
    assert ("pictures of anything need PyTorch first: " in shown) == is_told
