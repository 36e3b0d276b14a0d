"""Silero VAD in NumPy against the published ONNX model, and files that are none."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from audio2img.audio.decode import decode_audio
from audio2img.audio.silero import FRAME_SAMPLES, SHAPES, SileroVad, read_weights
from audio2img.errors import ModelError

# silero_vad.onnx of the package silero-vad 6.2.3, run by onnxruntime: every twelfth probability of
# jfk.wav, and of RandomState-free noise (default_rng(7), .1 standard deviation, 3 s).
JFK = [
    0.0017, 0.9329, 0.9909, 0.9922, 0.9952, 0.9987, 0.0607, 0.0152, 0.0106, 0.9955, 0.2066, 0.995,
    0.0284, 0.0358, 0.0374, 0.9999, 0.9988, 0.9995, 0.9989, 0.9999, 0.0742, 0.0563, 0.9989, 0.9996,
    0.9988, 0.9998, 0.999, 0.9757, 0.0747,
]  # fmt: skip
NOISE = [0.00956, 0.01871, 0.01177, 0.00845, 0.00845, 0.00419, 0.00517, 0.00643]


@pytest.fixture(scope="module")
def model_file(shared_data: Path) -> Path:
    return shared_data / "silero-v6.2.0-ggml.bin"


def probabilities(vad: SileroVad, samples: np.ndarray) -> np.ndarray:
    vad.reset()
    starts = range(0, len(samples) - FRAME_SAMPLES + 1, FRAME_SAMPLES)
    return np.array([vad.hear(samples[start : start + FRAME_SAMPLES]) for start in starts])


def test_it_hears_what_the_onnx_model_hears(model_file: Path, shared_data: Path) -> None:
    """The ggml file holds the convolutions as float16, which is all of the difference."""
    vad = SileroVad.load(model_file)
    spoken = probabilities(vad, decode_audio(shared_data / "jfk.wav").samples)[::12]
    noise = (np.random.default_rng(7).standard_normal(48000) * 0.1).astype(np.float32)
    np.testing.assert_allclose(spoken, JFK, atol=3e-3)
    assert np.abs(spoken - JFK).mean() < 5e-4
    np.testing.assert_allclose(probabilities(vad, noise)[::12], NOISE, atol=1e-4)


def test_a_reset_forgets(model_file: Path) -> None:
    vad = SileroVad.load(model_file)
    noise = (np.random.default_rng(1).standard_normal(16000) * 0.1).astype(np.float32)
    first = probabilities(vad, noise)
    np.testing.assert_array_equal(probabilities(vad, noise), first)


def test_the_tensors_have_their_shapes(model_file: Path) -> None:
    weights = read_weights(model_file)
    assert {name: tensor.shape for name, tensor in weights.items()} == SHAPES
    assert all(tensor.dtype == np.float32 for tensor in weights.values())


@pytest.mark.parametrize("size", [0, 3, 4, 20, 100, 5_000, 600_000, 885_097])
def test_a_file_cut_short_is_refused(model_file: Path, tmp_path: Path, size: int) -> None:
    path = tmp_path / "cut.bin"
    path.write_bytes(model_file.read_bytes()[:size])
    with pytest.raises(ModelError, match=r"cut\.bin") as caught:
        read_weights(path)
    assert caught.value.remedy


@pytest.mark.parametrize("position", [0, 5, 8, 18, 30, 34, 94, 98, 102, 106, 130])
def test_a_damaged_header_is_refused_or_harmless(model_file: Path, tmp_path: Path, position: int) -> None:
    data = bytearray(model_file.read_bytes())
    data[position] ^= 0x55
    path = tmp_path / "bad.bin"
    path.write_bytes(bytes(data))
    with contextlib.suppress(ModelError):
        assert read_weights(path).keys() == SHAPES.keys()


def test_other_files_are_refused(tmp_path: Path, mini_whisper: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        read_weights(tmp_path / "none.bin")
    with pytest.raises(ModelError, match="no Silero"):
        read_weights(mini_whisper)
