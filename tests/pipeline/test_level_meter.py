"""The level meter while Core ML loads: a real PortAudio stream, and a load that holds Python's lock."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import HeldLoad
from tests.live_microphone import LiveMicrophone, live_microphone

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux with PulseAudio"),
    pytest.mark.skipif(shutil.which("pulseaudio") is None, reason="needs pulseaudio: apt install pulseaudio"),
]

# Listens while the image model loads. The load goes on for two seconds of sound, and until every block that
# PortAudio has brought by then is on the meter: where it stood still, both would wait for ever.
LISTENS = """
import os, sys
from pathlib import Path
import sounddevice
from audio2img import Event, LiveInput, NothingToDrawError, Pipeline

blocks, levels, let_go = [], [], []

class Counted(sounddevice.InputStream):
    def __init__(self, callback, **settings):
        def take(data, *others):
            blocks.append(len(data) / settings["samplerate"])
            callback(data, *others)
        super().__init__(callback=take, **settings)

def hear(event: Event) -> None:
    if event.listening is None:
        return
    levels.append(is_held())
    if sum(levels) >= 40 and len(levels) >= len(blocks) and not let_go:
        print(sum(levels), sum(blocks[-sum(levels):]))
        let_go.append(os.open(os.environ["STAND_IN_PIPE"], os.O_RDWR))

def is_held() -> bool:
    log = Path(os.environ["STAND_IN_LOG"])
    return log.exists() and '"begin"' in log.read_text()

sounddevice.InputStream = Counted
with Pipeline("mini", "mini-whisper", on_event=hear) as pipeline:
    try:
        pipeline.run(LiveInput(stop=lambda: bool(let_go)))
    except NothingToDrawError:
        print("nothing was said")
"""


@pytest.fixture
def microphone() -> Iterator[LiveMicrophone]:
    with live_microphone() as microphone:
        yield microphone


def test_it_shows_every_block_of_sound_while_core_ml_holds_its_lock(
    microphone: LiveMicrophone, held_load: HeldLoad
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LISTENS],
        env={**os.environ, **microphone.environment}, capture_output=True, text=True, timeout=90,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    counted, end = done.stdout.splitlines()
    n_levels, sound_s = map(float, counted.split())
    assert n_levels / sound_s == pytest.approx(20, rel=0.05), "a second of sound"
    assert end == "nothing was said"
