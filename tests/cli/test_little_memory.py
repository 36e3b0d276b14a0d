"""Little memory is one line, whichever library runs out of it first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="needs Linux: limits by ulimit -v"
)

UNDER_A_LIMIT = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]) << 20,) * 2)
from audio2img.cli import main
main(["transcribe", sys.argv[2], "--speech-model", "mini-whisper"])
"""


@pytest.mark.parametrize("megabytes", [250, 350, 450, 600, 750])
def test_too_little_is_said(demo_audio: Path, megabytes: int) -> None:
    """Below 300 libraries cannot be loaded; above, whisper.cpp would end the process."""
    command = [sys.executable, "-c", UNDER_A_LIMIT, str(megabytes), str(demo_audio)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 5, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "memory" in line or "MB" in line


def test_enough_is_enough(demo_audio: Path) -> None:
    command = [sys.executable, "-c", UNDER_A_LIMIT, "4000", str(demo_audio)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout == "please draw a big red house at night\n", done.stderr
