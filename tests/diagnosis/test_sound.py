"""The microphone, through a real PortAudio from ALSA devices that play a file (as in tests/audio)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

RATE = 48000
CONFIG = """
pcm.!default {{
    type plug
    slave {{
        pcm {{ type file slave.pcm {{ type null }} file /dev/null infile "{path}" format raw }}
        rate {rate} channels 1 format S16_LE
    }}
}}
"""
CHECK = """
import json
from audio2img.diagnosis.sound import check_microphone
print(json.dumps(check_microphone().as_table()))
"""


def portaudio_is_missing() -> bool:
    try:
        import sounddevice  # noqa: F401
    except OSError:
        return True
    return False


needs_alsa = pytest.mark.skipif(
    not sys.platform.startswith("linux") or portaudio_is_missing(),
    reason="needs Linux with PortAudio: apt install libportaudio2",
)


def check_with(config: str, folder: Path) -> dict[str, object]:
    (folder / "asound.conf").write_text(config)
    environment = {**os.environ, "ALSA_CONFIG_PATH": str(folder / "asound.conf")}
    done = subprocess.run(
        [sys.executable, "-c", CHECK], env=environment, capture_output=True, text=True, check=True
    )
    table: dict[str, object] = json.loads(done.stdout)
    return table


@needs_alsa
@pytest.mark.parametrize(("amplitude", "state"), [(0.5, "ok"), (0.0, "note")], ids=["tone", "silence"])
def test_digital_silence_is_no_microphone(tmp_path: Path, amplitude: float, state: str) -> None:
    tone = amplitude * np.sin(2 * np.pi * 1000 * np.arange(RATE * 5) / RATE)
    (tmp_path / "sound.raw").write_bytes((tone * 32767).astype("<i2").tobytes())
    check = check_with(CONFIG.format(path=tmp_path / "sound.raw", rate=RATE), tmp_path)
    assert (check["state"], check["is_needed"]) == (state, False)
    assert str(check["detail"]).startswith("1 inputs, the default at ")
    if amplitude:
        assert check["figures"]["peak_dbfs"] == pytest.approx(-6.0, abs=0.3)  # type: ignore[index]
    else:
        assert "nothing but digital silence" in str(check["detail"])
        assert check["remedy"]


@needs_alsa
def test_no_microphone_is_no_failure(tmp_path: Path) -> None:
    check = check_with("pcm.gone { type hw card 31 }\n", tmp_path)
    assert (check["state"], check["detail"]) == ("note", "none found")
