"""Sentences spoken by a synthesizer whose voices the mini Whisper understands."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from audio2img.audio import decode_audio
from audio2img.types import AudioClip


def synthesize(path: Path, text: str, voice: str = "en-us", speed: int = 150) -> AudioClip:
    """Say `text` into a WAV file at `path`, `speed` words a minute."""
    if shutil.which("espeak-ng") is None:
        pytest.skip("needs the speech synthesizer espeak-ng: apt install espeak-ng")
    subprocess.run(["espeak-ng", "-v", voice, "-s", str(speed), "-w", str(path), text], check=True)
    return decode_audio(path)
