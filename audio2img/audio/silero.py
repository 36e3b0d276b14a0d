"""Silero VAD in NumPy: how likely it is that somebody speaks, 32 ms by 32 ms, as the sound comes in.

The network is Silero VAD v6 (github.com/snakers4/silero-vad) for 16 kHz, the weights those of the
ggml file that whisper.cpp uses (ggml-org/whisper-vad; the format is that of whisper.cpp's
whisper_vad_init_with_params). It hears 512 new samples behind 64 old ones: a spectrogram by
convolution, four convolutions over it, one LSTM cell that carries the state on, one output.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from audio2img.errors import ModelError, reason_of
from audio2img.files import regular_size

Floats = NDArray[np.float32]

FRAME_SAMPLES = 512
CONTEXT_SAMPLES = 64
STFT_SAMPLES, STFT_HOP = 256, 128
STRIDES = (1, 2, 2, 1)
HIDDEN = 128
MAGIC = b"lmgg"  # 0x67676d6c, little-endian
MODEL_TYPE = b"silero-16k"
MAX_FILE_BYTES = 16 << 20
REMEDY = "get it again, or leave it out: without it the loudness decides"

SHAPES: dict[str, tuple[int, ...]] = {
    "_model.stft.forward_basis_buffer": (258, 1, STFT_SAMPLES),
    "_model.encoder.0.reparam_conv.weight": (128, 129, 3),
    "_model.encoder.0.reparam_conv.bias": (128,),
    "_model.encoder.1.reparam_conv.weight": (64, 128, 3),
    "_model.encoder.1.reparam_conv.bias": (64,),
    "_model.encoder.2.reparam_conv.weight": (64, 64, 3),
    "_model.encoder.2.reparam_conv.bias": (64,),
    "_model.encoder.3.reparam_conv.weight": (128, 64, 3),
    "_model.encoder.3.reparam_conv.bias": (128,),
    "_model.decoder.rnn.weight_ih": (4 * HIDDEN, HIDDEN),
    "_model.decoder.rnn.weight_hh": (4 * HIDDEN, HIDDEN),
    "_model.decoder.rnn.bias_ih": (4 * HIDDEN,),
    "_model.decoder.rnn.bias_hh": (4 * HIDDEN,),
    "_model.decoder.decoder.2.weight": (HIDDEN,),
    "_model.decoder.decoder.2.bias": (),
}
"""Every tensor of the file, with its shape in C order."""


def read_weights(path: Path) -> dict[str, Floats]:
    """The tensors of a Silero VAD ggml file, by name, in the shapes of SHAPES.

    Raises ModelError if the file is missing, cut, or of another kind.
    """
    try:
        if regular_size(path) > MAX_FILE_BYTES:
            raise ModelError(f"{path} is no Silero VAD model: it is too large", REMEDY)
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"the voice activity model {path} cannot be read: {reason_of(error)}", REMEDY
        ) from error
    try:
        return _parse(data)
    except (ValueError, struct.error, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is no Silero VAD model, or damaged: {error}", REMEDY) from error


def _parse(data: bytes) -> dict[str, Floats]:
    position = 0

    def numbers(count: int) -> tuple[int, ...]:
        nonlocal position
        values = struct.unpack_from(f"<{count}i", data, position)
        position += 4 * count
        return values

    if data[:4] != MAGIC:
        raise ValueError("it has another magic number")
    position = 4
    (length,) = numbers(1)
    kind = data[position : position + max(0, length)]
    position += max(0, length)
    if kind != MODEL_TYPE:
        raise ValueError(f"it is of the kind {kind[:20]!r}")
    _major, _minor, _patch, window, context, n_layers = numbers(6)
    if (window, context, n_layers) != (FRAME_SAMPLES, CONTEXT_SAMPLES, len(STRIDES)):
        raise ValueError(f"it hears {window} samples after {context}, in {n_layers} layers")
    numbers(3 * n_layers + 4)  # the widths, which the shapes of the tensors tell again
    tensors: dict[str, Floats] = {}
    while position < len(data):
        n_dims, name_length, kind_code = numbers(3)
        if not 0 <= n_dims <= 4 or not 0 < name_length < 200 or kind_code not in (0, 1):
            raise ValueError("a tensor has an impossible header")
        shape = numbers(n_dims)[::-1]
        name = data[position : position + name_length].decode()
        position += name_length
        if SHAPES.get(name) != shape:
            raise ValueError(f"the tensor {name!r} has the shape {list(shape)}")
        dtype, count = np.dtype("<f2" if kind_code else "<f4"), math.prod(shape)
        tensors[name] = np.frombuffer(data, dtype, count, position).reshape(shape).astype(np.float32)
        position += count * dtype.itemsize
    if missing := SHAPES.keys() - tensors.keys():
        raise ValueError(f"it lacks {min(missing)}")
    return tensors


class SileroVad:
    """A detector with its state: one for each stream of sound."""

    def __init__(self, weights: dict[str, Floats]) -> None:
        self._basis = np.ascontiguousarray(weights["_model.stft.forward_basis_buffer"][:, 0].T)
        self._layers = [
            (
                np.ascontiguousarray(kernel.transpose(2, 1, 0).reshape(-1, len(kernel))),
                weights[f"_model.encoder.{number}.reparam_conv.bias"],
                stride,
            )
            for number, stride in enumerate(STRIDES)
            for kernel in [weights[f"_model.encoder.{number}.reparam_conv.weight"]]
        ]
        self._from_input = np.ascontiguousarray(weights["_model.decoder.rnn.weight_ih"].T)
        self._from_state = np.ascontiguousarray(weights["_model.decoder.rnn.weight_hh"].T)
        self._bias = weights["_model.decoder.rnn.bias_ih"] + weights["_model.decoder.rnn.bias_hh"]
        self._out = weights["_model.decoder.decoder.2.weight"]
        self._out_bias = float(weights["_model.decoder.decoder.2.bias"])
        self.reset()

    @classmethod
    def load(cls, path: Path) -> SileroVad:
        """Raises ModelError if there is no such model in the file."""
        return cls(read_weights(path))

    def reset(self) -> None:
        """Forget what was heard."""
        self._hidden = np.zeros(HIDDEN, dtype=np.float32)
        self._cell = np.zeros(HIDDEN, dtype=np.float32)
        self._context = np.zeros(CONTEXT_SAMPLES, dtype=np.float32)

    def hear(self, frame: Floats) -> float:
        """The probability of speech, 0 to 1, in the next (512,) float32 samples at 16 kHz."""
        heard = np.concatenate([self._context, frame])
        self._context = heard[-CONTEXT_SAMPLES:]
        mirrored = np.concatenate([heard, heard[-2 : -2 - CONTEXT_SAMPLES : -1]])
        spectrum = sliding_window_view(mirrored, STFT_SAMPLES)[::STFT_HOP] @ self._basis
        half = spectrum.shape[1] // 2
        features = np.hypot(spectrum[:, :half], spectrum[:, half:])
        for kernel, bias, stride in self._layers:
            padded = np.pad(features, ((1, 1), (0, 0)))
            rows = [padded[start : start + 3].ravel() for start in range(0, len(padded) - 2, stride)]
            features = np.maximum(np.stack(rows) @ kernel + bias, 0)
        gates = features[0] @ self._from_input + self._hidden @ self._from_state + self._bias
        enter, forget, new, leave = np.split(gates, 4)
        self._cell = _sigmoid(forget) * self._cell + _sigmoid(enter) * np.tanh(new)
        self._hidden = _sigmoid(leave) * np.tanh(self._cell)
        score = float(np.maximum(self._hidden, 0) @ self._out) + self._out_bias
        return 1 / (1 + math.exp(-max(-60.0, min(60.0, score))))


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-values)), dtype=np.float32)
