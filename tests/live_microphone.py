"""A microphone that the tests speak into: PulseAudio's pipe source, heard through a real PortAudio."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE = 48_000
BLOCK_S = 0.02
NOISE = 3e-4  # about -70 dBFS: a quiet room, and no digital silence
ASOUND_CONF = "pcm.!default { type pulse }\nctl.!default { type pulse }\n"


class LiveMicrophone:
    """environment: for a process that is to hear it. It hears a quiet room until `say` is called."""

    def __init__(self, environment: dict[str, str], fifo: Path) -> None:
        self.environment = environment
        self._speech = np.zeros(0, "<i2")
        self._speaking = threading.Lock()
        self._unplugged = threading.Event()
        self._fifo = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        self._feeder = threading.Thread(target=self._feed, daemon=True)
        self._feeder.start()

    def say(self, samples: NDArray[np.float32]) -> None:
        """Play samples: (n,) float32 at 16 kHz, from now on; comes back at once."""
        times = np.arange(samples.size * 3) / 3
        loud = np.interp(times, np.arange(samples.size), samples)
        with self._speaking:
            self._speech = np.concatenate([self._speech, (loud * 32767).astype("<i2")])

    def hush(self) -> None:
        """Say no more of what is being said."""
        with self._speaking:
            self._speech = np.zeros(0, "<i2")

    def unplug(self) -> None:
        """No more sound, not even noise."""
        self._unplugged.set()
        self._feeder.join()

    def _feed(self) -> None:
        rng = np.random.default_rng(5)
        n_block = int(RATE * BLOCK_S)
        due = time.monotonic()
        while not self._unplugged.is_set():
            noise = (rng.standard_normal(n_block) * NOISE * 32767).astype("<i2")
            with self._speaking:
                noise[: self._speech.size] += self._speech[:n_block]
                self._speech = self._speech[n_block:]
            with contextlib.suppress(BlockingIOError):  # nobody listens, so nothing is lost
                os.write(self._fifo, noise.tobytes())
            due += BLOCK_S
            time.sleep(max(0.0, due - time.monotonic()))

    def close(self) -> None:
        self.unplug()
        os.close(self._fifo)


@contextmanager
def live_microphone() -> Iterator[LiveMicrophone]:
    """Start a sound server of our own with one microphone."""
    program = shutil.which("pulseaudio")
    assert program is not None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "asound.conf").write_text(ASOUND_CONF)
        own = {"HOME": name, "XDG_RUNTIME_DIR": name, "PULSE_RUNTIME_PATH": name, "PULSE_STATE_PATH": name}
        modules = (
            f"module-native-protocol-unix socket={folder / 'native'} auth-anonymous=1",
            f"module-pipe-source source_name=mic file={folder / 'fifo'} format=s16le rate={RATE} channels=1",
            "module-null-sink sink_name=loudspeaker",  # without one, Firefox hears nothing
        )
        loads = [part for module in modules for part in ("-L", module)]
        options = ("-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes")
        server = subprocess.Popen(
            [program, *options, *loads],
            env={**os.environ, **own},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_for(folder / "fifo", server)
            heard_at = {
                "PULSE_SERVER": f"unix:{folder / 'native'}",
                "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
            }
            microphone = LiveMicrophone(heard_at, folder / "fifo")
            try:
                yield microphone
            finally:
                microphone.close()
        finally:
            server.terminate()
            server.wait(10)


def _wait_for(path: Path, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert server.poll() is None, "pulseaudio ended"
        assert time.monotonic() < deadline, "pulseaudio does not start"
        time.sleep(0.05)
    time.sleep(0.3)  # it still has to open its socket
