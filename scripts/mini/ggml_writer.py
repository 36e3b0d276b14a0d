"""Write a Whisper in whisper.cpp's ggml format.

The file, as `whisper_model_load` in whisper.cpp reads it (all little-endian int32 and float32):

    magic 0x67676d6c; the eleven sizes of `WhisperSizes`, the last one the file type
    n_mels, n_bins, the mel filters
    number of tokens; for each its length in bytes and its bytes
    for each tensor: number of dimensions, length of the name, tensor type,
    dimensions (innermost first), the name, the data

Matrices are stored in the file's format, convolutions as float16, all else as float32.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Format = Literal["f16", "q8_0", "q5_1"]

MAGIC = 0x67676D6C
BLOCK = 32  # values that share a scale
_FLOAT32, _FLOAT16 = 0, 1
# format -> (ftype of the file, type of its tensors), ggml.h
_TYPES: dict[Format, tuple[int, int]] = {"f16": (1, 1), "q8_0": (7, 8), "q5_1": (9, 7)}


@dataclass(frozen=True)
class WhisperSizes:
    """The sizes in the header of a ggml Whisper, in the file's order."""

    n_vocab: int
    n_audio_ctx: int
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int
    n_mels: int = 80


def quantize_q8_0(values: NDArray[np.float32]) -> bytes:
    """ggml's q8_0: per block of 32 a float16 scale and 32 int8."""
    blocks = values.reshape(-1, BLOCK).astype(np.float32)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / 127
    codes = np.rint(np.divide(blocks, scale, out=np.zeros_like(blocks), where=scale > 0))
    packed = np.empty(len(blocks), np.dtype([("scale", "<f2"), ("codes", "i1", BLOCK)]))
    packed["scale"] = scale[:, 0]
    packed["codes"] = codes
    return packed.tobytes()


def quantize_q5_1(values: NDArray[np.float32]) -> bytes:
    """ggml's q5_1: per block of 32 a float16 step and minimum, 32 fifth bits, 32 low nibbles.

    Values i and i + 16 share a byte of nibbles.
    """
    blocks = values.reshape(-1, BLOCK).astype(np.float32)
    low = blocks.min(axis=1, keepdims=True)
    step = (blocks.max(axis=1, keepdims=True) - low) / 31
    scaled = np.divide(blocks - low, step, out=np.zeros_like(blocks), where=step > 0)
    codes = np.clip(np.rint(scaled), 0, 31).astype(np.uint8)
    layout = [("step", "<f2"), ("low", "<f2"), ("fifth", "<u4"), ("nibbles", "u1", BLOCK // 2)]
    packed = np.empty(len(blocks), np.dtype(layout))
    packed["step"] = step[:, 0]
    packed["low"] = low[:, 0]
    packed["fifth"] = ((codes >> 4).astype(np.uint32) << np.arange(BLOCK, dtype=np.uint32)).sum(
        axis=1, dtype=np.uint32
    )
    packed["nibbles"] = (codes[:, : BLOCK // 2] & 15) | ((codes[:, BLOCK // 2 :] & 15) << 4)
    return packed.tobytes()


def _encode(name: str, array: NDArray[np.float32], fmt: Format) -> tuple[int, bytes]:
    """The tensor type and the bytes of one tensor."""
    if array.ndim == 3:
        return _FLOAT16, array.astype("<f2").tobytes()
    if array.ndim == 1 or name.endswith(("positional_embedding", "conv1.bias", "conv2.bias")):
        return _FLOAT32, array.astype("<f4").tobytes()
    if fmt == "f16":
        return _FLOAT16, array.astype("<f2").tobytes()
    return _TYPES[fmt][1], quantize_q8_0(array) if fmt == "q8_0" else quantize_q5_1(array)


def write_ggml(
    path: Path,
    sizes: WhisperSizes,
    mel_filters: NDArray[np.float32],
    vocabulary: Sequence[bytes],
    tensors: Mapping[str, NDArray[np.float32]],
    fmt: Format,
) -> None:
    """Write the model, whole or not at all.

    `tensors` are named as in OpenAI's checkpoints; the biases of the two convolutions are
    turned into columns here. `vocabulary` holds the bytes of tokens 0, 1, ...; whisper.cpp
    names the tokens above it itself.
    """
    partial = path.with_suffix(".part")
    with partial.open("wb") as file:
        file.write(struct.pack("<12i", MAGIC, *astuple(sizes), _TYPES[fmt][0]))
        file.write(struct.pack("<2i", *mel_filters.shape) + mel_filters.astype("<f4").tobytes())
        file.write(struct.pack("<i", len(vocabulary)))
        for token in vocabulary:
            file.write(struct.pack("<i", len(token)) + token)
        for name, tensor in tensors.items():
            is_column = name in ("encoder.conv1.bias", "encoder.conv2.bias")
            array = tensor.reshape(-1, 1) if is_column else tensor
            kind, content = _encode(name, array, fmt)
            label = name.encode()
            file.write(struct.pack("<3i", array.ndim, len(label), kind))
            file.write(struct.pack(f"<{array.ndim}i", *reversed(array.shape)) + label + content)
    os.replace(partial, path)
