"""Whether there is a microphone, and whether this program may listen to it."""

from __future__ import annotations

from audio2img.audio.level import to_dbfs
from audio2img.audio.microphone import list_devices, record_audio
from audio2img.diagnosis.checks import Check
from audio2img.errors import MachineError

LISTEN_S = 0.5
WAKING_S = 2.5  # a device that was asleep may be silent for up to two seconds


def check_microphone() -> Check:
    """Half a second of the default microphone must not be digital silence. The sound is not kept.

    Device names, which tell whose they are, stay out of the table.
    """
    import numpy as np

    devices = list_devices()
    if not devices:
        return Check("microphone", "note", "none found", "give a file: audio2img run AUDIO")
    default = next((device for device in devices if device.is_default), devices[0])
    described = f"{len(devices)} inputs, the default at {default.sample_rate_hz:.0f} Hz"
    try:
        clip = record_audio(LISTEN_S)
    except MachineError:
        try:
            clip = record_audio(WAKING_S)
        except MachineError as error:
            reason = error.message.replace(repr(default.name), "by default")
            return Check("microphone", "note", f"{described}; {reason}", error.remedy)
    peak = to_dbfs(float(np.abs(clip.samples).max(initial=0)))
    figures = {"inputs": len(devices), "sample_rate_hz": default.sample_rate_hz, "peak_dbfs": peak}
    return Check("microphone", "ok", f"{described}; heard a signal, peak {peak:.0f} dBFS", figures=figures)
