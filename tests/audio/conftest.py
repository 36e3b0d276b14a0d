"""Real recordings, encoded with FFmpeg's own encoders from tones whose level is known exactly."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
from numpy.typing import NDArray

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1", 16: "hexadecagonal"}


class Encode(Protocol):
    def __call__(
        self, target: Path | io.BytesIO, channels: NDArray[np.float64], rate: int, codec: str,
        container: str | None = None, video: bool = False,
    ) -> None: ...  # fmt: skip


def _encode(
    target: Path | io.BytesIO,
    channels: NDArray[np.float64],
    rate: int,
    codec: str,
    container: str | None = None,
    video: bool = False,
) -> None:
    """Write channels: (n_channels, n) in [-1, 1] as an audio track, behind a few video frames if asked."""
    import av

    layout = LAYOUTS[len(channels)]
    out = av.open(str(target) if isinstance(target, Path) else target, "w", format=container)
    with out:
        picture = out.add_stream("mpeg4", rate=10) if video else None
        stream = out.add_stream(codec, rate=rate)
        stream.layout = layout
        if codec == "wavpack":  # 8 bit otherwise
            stream.format = "s16p"
        if picture is not None:
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
            for _ in range(10):
                image = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
                for packet in picture.encode(image):
                    out.mux(packet)
            for packet in picture.encode(None):
                out.mux(packet)
        step = stream.codec_context.frame_size or 4096
        for start in range(0, channels.shape[1], step):
            block = np.ascontiguousarray(channels[:, start : start + step].T).reshape(1, -1)
            kind = "dbl" if codec == "pcm_f64le" else "flt"
            frame = av.AudioFrame.from_ndarray(
                block.astype(np.float64 if kind == "dbl" else np.float32), format=kind, layout=layout
            )
            frame.sample_rate, frame.pts = rate, start
            for packet in stream.encode(frame):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)


@pytest.fixture(scope="session")
def encode() -> Encode:
    return _encode


@pytest.fixture(scope="session")
def tone() -> Callable[..., NDArray[np.float64]]:
    def make(
        frequency_hz: float, amplitude: float, rate: int, duration_s: float = 1.0
    ) -> NDArray[np.float64]:
        times = np.arange(int(rate * duration_s)) / rate
        return amplitude * np.sin(2 * np.pi * frequency_hz * times)

    return make
