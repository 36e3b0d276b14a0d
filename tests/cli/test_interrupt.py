"""Ctrl-C in every stage: exit code 130, one line, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import wave
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX terminal, not Windows")


def long_recording(demo: Path, path: Path, minutes: int) -> Path:
    """The demo sentence over and over, as a WAV file."""
    from audio2img.audio.decode import decode_audio

    samples = decode_audio(demo).samples
    sentence = (samples * 32767).astype("<i2").tobytes()
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        for _ in range(minutes * 60 * 16000 // len(samples)):
            file.writeframes(sentence)
    return path


def interrupt_when(label: str, arguments: list[str], folder: Path) -> tuple[int, str]:
    """Run the command on a terminal, press Ctrl-C as soon as it shows `label`; its exit code and output."""
    master, slave = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "audio2img", *arguments],
        stdout=subprocess.PIPE,
        stderr=slave,
        stdin=subprocess.DEVNULL,
        cwd=folder,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
        start_new_session=True,
    )
    os.close(slave)
    shown = b""
    try:
        while label.encode() not in shown:
            shown += os.read(master, 4096)
        process.send_signal(signal.SIGINT)
        while True:
            try:
                piece = os.read(master, 4096)
            except OSError:  # Linux: the other end has closed
                break
            if not piece:
                break
            shown += piece
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        os.close(master)
    assert output == b""
    return process.returncode, shown.decode()


@pytest.mark.parametrize(
    ("label", "minutes", "steps"),
    [("reading", 60, 2), ("understanding", 10, 2), ("drawing", 0, 900)],
)
def test_ctrl_c_stops_cleanly(demo_audio: Path, tmp_path: Path, label: str, minutes: int, steps: int) -> None:
    source = long_recording(demo_audio, tmp_path / "long.wav", minutes) if minutes else demo_audio
    arguments = ["run", str(source), "-o", str(tmp_path / "out"), "--steps", str(steps)]
    exit_code, shown = interrupt_when(label, arguments, tmp_path)
    assert exit_code == 130
    assert "audio2img: stopped" in shown
    assert "Traceback" not in shown
    assert not (tmp_path / "out").exists()
