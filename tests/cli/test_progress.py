"""The line of progress on a real terminal: it says what is done, how far, and its clock goes on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX terminal, not Windows"),
]

FRAME = re.compile(r"drawing, step (\d+) of (\d+)\s+\S*\s*(\d):(\d\d):(\d\d)(, \d:\d\d:\d\d left)?")


def shown_on_a_terminal(folder: Path, *arguments: str) -> str:
    """All that the command writes to a terminal 120 characters wide."""
    master, slave = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "audio2img", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=slave,
        stdin=subprocess.DEVNULL,
        cwd=folder,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            read = os.read(master, 1 << 16)
        except OSError:  # Linux's way to say that nobody writes any more
            break
        if not read:
            break
        shown += read
    os.close(master)
    assert process.wait() == 0, shown.decode(errors="replace")
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode(errors="replace"))


def test_steps_and_clock_go_on_while_it_draws(tmp_path: Path, demo_audio: Path) -> None:
    """The stages before have ended, with which the clock once stopped for good."""
    shown = shown_on_a_terminal(tmp_path, "run", str(demo_audio), "--steps", "100", "--seed", "1")
    frames = FRAME.findall(shown)
    steps = [int(frame[0]) for frame in frames]
    seconds = [int(frame[2]) * 3600 + int(frame[3]) * 60 + int(frame[4]) for frame in frames]
    assert {frame[1] for frame in frames} == {"100"}
    assert len(set(steps)) > 3
    assert steps == sorted(steps)
    assert seconds == sorted(seconds)
    assert seconds[-1] > 0
    assert any(frame[5] for frame in frames), "the time left is shown"
