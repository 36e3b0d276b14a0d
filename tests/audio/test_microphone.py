"""Recording through a real PortAudio from real ALSA devices, which ALSA's own file plug-in feeds."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from audio2img.audio.microphone import Device, _by_name, list_devices
from audio2img.errors import MachineError, UsageError
from audio2img.installation import how_to_repair

RATE = 48000

# A device that plays a file to whoever records from it. The null device behind it sets no pace,
# so ten seconds pass in a blink.
ALSA_DEVICE = """
pcm.{name} {{
    type plug
    slave {{
        pcm {{ type file slave.pcm {{ type null }} file /dev/null infile "{path}" format raw }}
        rate {rate} channels {channels} format S16_LE
    }}
}}
"""
A_CARD_THAT_IS_NOT_THERE = "pcm.gone { type hw card 31 }\n"


def portaudio_is_missing():
    try:
        import sounddevice  # noqa: F401
    except OSError:
        return True
    return False


needs_alsa = pytest.mark.skipif(
    not sys.platform.startswith("linux") or portaudio_is_missing(),
    reason="needs Linux with PortAudio: apt install libportaudio2",
)


@pytest.fixture(scope="module")
def microphones(tmp_path_factory):
    """An environment in which the machine has these: a stereo tone as the default, one that is silent."""
    folder = tmp_path_factory.mktemp("alsa")
    times = np.arange(RATE * 12) / RATE
    tone = (0.5 * np.sin(2 * np.pi * 1000 * times) * 32767).astype("<i2")
    (folder / "tone.raw").write_bytes(np.stack([tone, tone], 1).tobytes())
    (folder / "left.raw").write_bytes(np.stack([tone, np.zeros_like(tone)], 1).tobytes())
    (folder / "zero.raw").write_bytes(bytes(RATE * 2 * 12))
    known = {
        "!default": ("tone", 2),
        "usb_left": ("left", 2),
        "usb_muted": ("zero", 1),
        "interface": ("tone", 2),
    }
    (folder / "asound.conf").write_text(
        "".join(
            ALSA_DEVICE.format(name=name, path=folder / f"{file}.raw", rate=RATE, channels=channels)
            for name, (file, channels) in known.items()
        )
    )
    return {**os.environ, "ALSA_CONFIG_PATH": str(folder / "asound.conf")}


PRELUDE = """
import json, sys
import numpy as np
from audio2img.audio.microphone import find_device, list_devices, record_audio
from audio2img.errors import Audio2ImgError
"""


def run(microphones, code):
    """`code` in a process that has those microphones; what it prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code], env=microphones, capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refusal(microphones, call, before=""):
    code = f"""
{before}
try:
    {call}
    print(json.dumps(None))
except Audio2ImgError as error:
    print(json.dumps([error.exit_code, error.message, error.remedy]))
"""
    return run(microphones, code)


@needs_alsa
def test_the_microphones_are_listed_with_the_default(microphones):
    devices = run(
        microphones,
        "print(json.dumps([[d.index, d.name, d.host_api, d.channels > 0, d.sample_rate_hz > 0, d.is_default]"
        " for d in list_devices()]))",
    )
    names = [device[1] for device in devices]
    assert sorted(names) == ["default", "interface", "usb_left", "usb_muted"]
    assert all(device[2:5] == ["ALSA", True, True] for device in devices)
    assert [device[1] for device in devices if device[5]] == ["default"]


MEASURE = """
clip = record_audio({arguments}, progress=seen.append)
middle = clip.samples[1600:-1600].astype(np.float64)
middle = middle[: len(middle) // 160 * 160]
tone = abs(2 * np.mean(middle * np.exp(-2j * np.pi * 1000 * np.arange(len(middle)) / 16000)))
rest = np.sqrt(max(0.0, np.mean(middle ** 2) - tone ** 2 / 2))
print(json.dumps([clip.source, str(clip.samples.dtype), len(clip.samples), tone, rest, seen]))
"""


@needs_alsa
@pytest.mark.parametrize("seconds", [0.5, 3.0])
@pytest.mark.parametrize("device", [None, "interface", "USB_LEFT"])
def test_what_the_microphone_hears_is_recorded_at_its_level(microphones, seconds, device):
    code = "seen = []\n" + MEASURE.format(arguments=f"{seconds}, {device!r}")
    source, dtype, n_samples, tone, rest, seen = run(microphones, code)
    assert (source, dtype) == ("microphone", "float32")
    assert n_samples == seconds * 16000
    assert tone == pytest.approx(0.5, rel=0.01)
    assert rest < 0.01
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(seen) >= seconds * 10


@needs_alsa
def test_a_microphone_by_its_number(microphones):
    code = """
muted = find_device("muted")
print(json.dumps([find_device(muted.index).name, find_device(str(muted.index)).name, find_device().name]))
"""
    assert run(microphones, code) == ["usb_muted", "usb_muted", "default"]


@needs_alsa
@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("usb", ["several", "usb_left", "usb_muted"]),
        ("studio", ["no microphone", "interface"]),
        (999, ["999"]),
    ],
)
def test_an_unclear_or_unknown_microphone_lists_the_choices(microphones, device, words):
    exit_code, message, remedy = refusal(microphones, f"record_audio(1.0, {device!r})")
    assert exit_code == UsageError.exit_code
    assert all(word in message + remedy for word in words)


@needs_alsa
@pytest.mark.parametrize("seconds", [0.3, 10.0])
def test_digital_silence_is_a_missing_permission_or_a_switch(microphones, seconds):
    exit_code, message, remedy = refusal(microphones, f"record_audio({seconds}, 'muted')")
    assert exit_code == 5
    assert "digital silence" in message
    assert "muted" in remedy


@needs_alsa
def test_silence_is_told_before_the_time_is_over(microphones):
    code = """
seen = []
try:
    record_audio(10.0, "muted", progress=seen.append)
except Audio2ImgError:
    print(json.dumps(seen[-1]))
"""
    assert run(microphones, code) < 0.3


@needs_alsa
@pytest.mark.parametrize(
    ("program", "app"),
    [("iTerm.app", "allow iTerm under"), ("tmux", "allow the app you started this from under")],
)
def test_on_a_mac_the_app_that_needs_the_permission_is_named(microphones, program, app):
    """The words only: the machine says of itself that it is a Mac once the sound library is loaded."""
    before = "import sounddevice\nsys.platform = 'darwin'"
    asked = {**microphones, "TERM_PROGRAM": program}
    _, message, remedy = refusal(asked, "record_audio(1.0, 'muted')", before)
    assert "digital silence" in message
    assert app in remedy
    assert "Privacy_Microphone" in remedy


@needs_alsa
def test_digital_silence_is_noticed_within_a_second(microphones):
    """By the time of the sound: this device sets no pace."""
    code = """
import logging
from audio2img.audio.microphone import open_microphone
heard, told = [0], []
class Note(logging.Handler):
    def emit(self, record):
        told.append([heard[0] / 16000, record.getMessage()])
logging.getLogger("audio2img").addHandler(Note())
try:
    for chunk in open_microphone("muted"):
        heard[0] += len(chunk)
except Audio2ImgError as error:
    print(json.dumps([told, heard[0] / 16000, error.exit_code]))
"""
    told, refused_s, exit_code = run(microphones, code)
    [[told_s, words]] = told
    assert told_s < 1.0
    assert "digital silence" in words
    assert "check that it is not muted" in words
    assert 2.0 < refused_s < 3.0
    assert exit_code == 5


@needs_alsa
def test_what_was_heard_before_the_plug_was_pulled_is_kept(microphones):
    """The stream is PortAudio's own; it stops in the middle, as it does when a device goes away."""
    code = """
import sounddevice
real = sounddevice.InputStream
def short_lived(callback, **options):
    blocks = []
    def once(data, *rest):
        callback(data, *rest)
        blocks.append(1)
        if len(blocks) == 30:
            raise sounddevice.CallbackAbort
    return real(callback=once, **options)
sounddevice.InputStream = short_lived
clip = record_audio(8.0, "interface")
print(json.dumps([len(clip.samples) / 16000, float(abs(clip.samples).max())]))
"""
    seconds, peak = run(microphones, code)
    assert seconds == pytest.approx(1.5, abs=0.05)
    assert peak == pytest.approx(0.5, rel=0.05)


@needs_alsa
@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_time_that_is_none(microphones, seconds):
    assert refusal(microphones, f"record_audio(float('{seconds}'))")[0] == 2


@needs_alsa
def test_ctrl_c_cancels_and_leaves_the_microphone_free(microphones):
    code = """
def interrupt(done):
    raise KeyboardInterrupt
try:
    record_audio(3.0, progress=interrupt)
except Audio2ImgError as error:
    print(json.dumps([error.exit_code, len(record_audio(1.0).samples)]))
"""
    assert run(microphones, code) == [130, 16000]


@needs_alsa
def test_a_stale_device_is_looked_for_again(microphones):
    """PortAudio is made to fail once, as it does for a device that was plugged in anew."""
    code = """
import sounddevice
real, failures = sounddevice.InputStream, []
def stale(*arguments, **options):
    if not failures:
        failures.append(1)
        raise sounddevice.PortAudioError("Error opening InputStream: Internal PortAudio error [-9986]", -9986)
    return real(*arguments, **options)
sounddevice.InputStream = stale
print(json.dumps([len(record_audio(1.0, "interface").samples), len(failures)]))
"""
    assert run(microphones, code) == [16000, 1]


@needs_alsa
def test_a_device_that_cannot_be_opened_is_named(microphones):
    before = """
import sounddevice
def busy(**options):
    raise sounddevice.PortAudioError("Device unavailable", -9985)
sounddevice.InputStream = busy
"""
    exit_code, message, remedy = refusal(microphones, "record_audio(1.0)", before)
    assert exit_code == 5
    assert "Device unavailable" in message
    assert "devices" in remedy


@needs_alsa
def test_a_machine_without_microphone(microphones, tmp_path):
    (tmp_path / "none.conf").write_text(A_CARD_THAT_IS_NOT_THERE)
    bare = {**microphones, "ALSA_CONFIG_PATH": str(tmp_path / "none.conf")}
    assert run(bare, "print(json.dumps(list_devices()))") == []
    exit_code, message, remedy = refusal(bare, "record_audio(1.0)")
    assert exit_code == 5
    assert "no microphone" in message
    assert remedy


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="needs Linux: elsewhere PortAudio comes along"
)
def test_a_missing_portaudio_is_named_with_its_package():
    """The search for the library finds nothing, as where it is not installed."""
    before = "import ctypes.util\nctypes.util.find_library = lambda name: None"
    exit_code, message, remedy = refusal(dict(os.environ), "list_devices()", before)
    assert exit_code == 5
    assert "PortAudio" in message
    assert "libportaudio2" in remedy


# Without a device


def devices(*names):
    return tuple(
        Device(number, name, host, 1, 48000.0, number == 0) for number, (name, host) in enumerate(names)
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [("macbook", [0]), ("usb", [1, 3]), ("usb mic", [1]), ("air", [4]), ("x", [])],
)
def test_names_are_narrowed_down_as_a_person_would(text, found):
    """The last two are one and the same: Windows shows a microphone once for each interface."""
    known = devices(
        ("MacBook Microphone", "A"), ("USB Mic", "A"), ("Line", "A"), ("USB Mic Pro", "A"), ("AirPods", "A"),
        ("AirPods", "B"),
    )  # fmt: skip
    assert [device.index for device in _by_name(known, text)] == found


def test_a_missing_package_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MachineError, match="the microphone cannot be used") as caught:
        list_devices()
    assert caught.value.remedy == how_to_repair("sounddevice")
