"""Is this file a whole Whisper model that whisper.cpp can load?

whisper.cpp trusts its model files: an empty, cut or foreign one ends the process by a signal,
and one that lacks its last bytes is loaded without a word. So every file is checked here first:
the header, the mel filters, the vocabulary, and every tensor's name, shape, type and extent.
Only headers are read, so a 3 GB file takes as long as a small one.

The format is whisper.cpp's own, little-endian throughout (src/whisper.cpp, `whisper_model_load`
and `whisper_vad_init_with_params`):

    magic, 11 hyperparameters, mel filters, vocabulary, tensors
    tensor = n_dims, name length, type, n_dims sizes (fastest first), name, data
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

from audio2img.errors import ModelError, reason_of

MAGIC = 0x67676D6C  # "ggml"
N_FFT_BINS = 201  # 1 + 400 / 2: 25 ms windows at 16 kHz
ENCODER_FRAME_S = 0.02
QUANTIZATION_VERSION_FACTOR = 1000  # the file's ftype is 1000 * version + ftype

# The least vocabulary in which whisper.cpp's fixed special tokens are in bounds, the one from
# which it takes a model for multilingual, and the largest it has language names for.
MIN_VOCABULARY = 50364
MULTILINGUAL_VOCABULARY = 51865
MAX_VOCABULARY = 51866

MAX_AUDIO_CTX = 1500
MAX_TEXT_CTX = 8192
MAX_LAYERS = 128
MAX_WIDTH = 16384
MAX_TOKEN_BYTES = 4096
MAX_TENSOR_NAME = 128

Shape = tuple[int, ...]


@dataclass(frozen=True)
class TensorType:
    """A storage format of ggml: `block_bytes` bytes hold `block_size` consecutive numbers."""

    name: str
    code: int
    block_size: int
    block_bytes: int


F32 = TensorType("f32", 0, 1, 4)
F16 = TensorType("f16", 1, 1, 2)

# ggml_ftype of a file -> how it stores its matrices
MATRIX_TYPES = {
    1: F16,
    2: TensorType("q4_0", 2, 32, 18),
    3: TensorType("q4_1", 3, 32, 20),
    7: TensorType("q8_0", 8, 32, 34),
    8: TensorType("q5_0", 6, 32, 22),
    9: TensorType("q5_1", 7, 32, 24),
    10: TensorType("q2_k", 10, 256, 84),
    11: TensorType("q3_k", 11, 256, 110),
    12: TensorType("q4_k", 12, 256, 144),
    13: TensorType("q5_k", 13, 256, 176),
    14: TensorType("q6_k", 14, 256, 210),
}
FTYPE_F32 = 0

Expected = dict[str, tuple[Shape, TensorType]]


@dataclass(frozen=True)
class GgmlInfo:
    """What a Whisper file says about itself. n_audio_ctx: encoder frames of 20 ms that one window holds."""

    n_vocab: int
    n_audio_ctx: int
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int
    n_mels: int
    ftype: str
    size_bytes: int

    @property
    def multilingual(self) -> bool:
        return self.n_vocab >= MULTILINGUAL_VOCABULARY

    @property
    def n_languages(self) -> int:
        return self.n_vocab - 51766 if self.multilingual else 1

    @property
    def window_s(self) -> float:
        """Seconds of sound that the model hears at once: 30 for OpenAI's."""
        return self.n_audio_ctx * ENCODER_FRAME_S

    @property
    def writes_timestamps(self) -> bool:
        """whisper.cpp takes two decoder layers for a first-generation Distil model, which cannot."""
        return self.n_text_layer != 2 or self.n_vocab == MAX_VOCABULARY


def check_whisper_file(path: str | os.PathLike[str]) -> GgmlInfo:
    """Check the structure of a ggml Whisper file, to its last byte, without reading its weights.

    Raises ModelError: missing, not a file, unreadable, empty, cut, longer than it should be, of
    another kind, stored as f32 (which whisper.cpp aborts on), or inconsistent in itself.
    """
    with _open_model(Path(path)) as (file, size_bytes):
        reader = _Reader(file, size_bytes, Path(path))
        _check_magic(reader, "Whisper")
        info, matrix_type = _read_header(reader, size_bytes)
        _check_filters(reader, info)
        _check_vocabulary(reader, info)
        _check_tensors(reader, _whisper_tensors(info, matrix_type))
        return info


def check_vad_file(path: str | os.PathLike[str]) -> None:
    """The same for a Silero voice activity model in whisper.cpp's format. Raises ModelError."""
    with _open_model(Path(path)) as (file, size_bytes):
        reader = _Reader(file, size_bytes, Path(path))
        _check_magic(reader, "Silero voice activity")
        kind = reader.take(reader.integer("length of name", 1, 64))
        if not kind.startswith(b"silero"):
            raise reader.wrong("it is not a Silero voice activity model")
        reader.skip(5 * 4)  # version major, minor, patch; window and context in samples
        n_layers = reader.integer("number of layers", 4, 4)
        layers = [_vad_sizes(reader, 3) for _ in range(n_layers)]  # (in, out, kernel) of each convolution
        _lstm_input, lstm_hidden, final_in, _final_out = _vad_sizes(reader, 4)
        _check_tensors(reader, _vad_tensors(layers, lstm_hidden, final_in))


class _open_model:  # noqa: N801  # used like a function, in a with statement
    """Open a model file and know its size, or say as a ModelError why not."""

    def __init__(self, path: Path) -> None:
        remedy = "see which there are with: audio2img models list"
        try:
            if not path.exists():
                raise ModelError(f"there is no model file at {path}", remedy)
            if not path.is_file():
                raise ModelError(f"{path} is not a file", remedy)
            self._file = path.open("rb")
            self._size_bytes = os.fstat(self._file.fileno()).st_size
        except (OSError, ValueError) as error:
            raise ModelError(f"the model {path} cannot be opened: {reason_of(error)}", remedy) from None

    def __enter__(self) -> tuple[BinaryIO, int]:
        return self._file, self._size_bytes

    def __exit__(self, *_error: object) -> None:
        self._file.close()


class _Reader:
    """Reads forward through a model file and never beyond its end."""

    def __init__(self, file: BinaryIO, size_bytes: int, path: Path) -> None:
        self._file = file
        self._path = path
        self.left = size_bytes

    def wrong(self, why: str) -> ModelError:
        return ModelError(
            f"the model {self._path} is damaged or of another kind: {why}",
            "copy or download it again; what can be used is listed by: audio2img models list",
        )

    def take(self, n_bytes: int) -> bytes:
        if n_bytes > self.left:
            raise self.wrong("it has been cut off")
        try:
            data = self._file.read(n_bytes)
        except OSError as error:
            raise self.wrong(f"it cannot be read ({reason_of(error)})") from None
        if len(data) != n_bytes:
            raise self.wrong("it became shorter while it was read")
        self.left -= n_bytes
        return data

    def skip(self, n_bytes: int) -> None:
        if n_bytes > self.left:
            raise self.wrong("it has been cut off")
        self._file.seek(n_bytes, os.SEEK_CUR)
        self.left -= n_bytes

    def integer(self, what: str, least: int, most: int) -> int:
        (value,) = struct.unpack("<i", self.take(4))
        if not least <= value <= most:
            allowed = str(least) if least == most else f"{least} to {most}"
            raise self.wrong(f"its {what} is {value}, where {allowed} can be")
        return int(value)


def _vad_sizes(reader: _Reader, n_sizes: int) -> Shape:
    return tuple(reader.integer("layer size", 1, 4096) for _ in range(n_sizes))


def _check_magic(reader: _Reader, kind: str) -> None:
    if reader.left == 0:
        raise reader.wrong("it is empty")
    if reader.left < 4 or struct.unpack("<I", reader.take(4))[0] != MAGIC:
        raise reader.wrong(f"it is not a ggml {kind} model")


def _read_header(reader: _Reader, size_bytes: int) -> tuple[GgmlInfo, TensorType]:
    n_vocab = reader.integer("vocabulary", MIN_VOCABULARY, MAX_VOCABULARY)
    n_audio_ctx = reader.integer("audio context", 1, MAX_AUDIO_CTX)
    n_audio_state = reader.integer("encoder width", 1, MAX_WIDTH)
    n_audio_head = reader.integer("number of encoder heads", 1, n_audio_state)
    n_audio_layer = reader.integer("number of encoder layers", 1, MAX_LAYERS)
    n_text_ctx = reader.integer("text context", 16, MAX_TEXT_CTX)
    # The decoder attends to what the encoder says, so they are of one width.
    n_text_state = reader.integer("decoder width", n_audio_state, n_audio_state)
    n_text_head = reader.integer("number of decoder heads", 1, n_text_state)
    n_text_layer = reader.integer("number of decoder layers", 1, MAX_LAYERS)
    n_mels = reader.integer("number of mel bands", 1, 512)
    ftype = reader.integer("number format", 0, 100 * QUANTIZATION_VERSION_FACTOR)
    ftype %= QUANTIZATION_VERSION_FACTOR
    if n_audio_state % n_audio_head or n_text_state % n_text_head:
        raise reader.wrong("its width is no multiple of its number of attention heads")
    if ftype == FTYPE_F32:
        raise ModelError(
            "this model is stored as f32, which whisper.cpp cannot run",
            "convert it to f16 or q8_0, or choose another: audio2img models list",
        )
    if ftype not in MATRIX_TYPES:
        known = ", ".join(kind.name for kind in MATRIX_TYPES.values())
        raise reader.wrong(f"its number format {ftype} is unknown (known: {known})")
    matrix_type = MATRIX_TYPES[ftype]
    info = GgmlInfo(
        n_vocab, n_audio_ctx, n_audio_state, n_audio_head, n_audio_layer, n_text_ctx, n_text_state,
        n_text_head, n_text_layer, n_mels, matrix_type.name, size_bytes,
    )  # fmt: skip
    return info, matrix_type


def _check_filters(reader: _Reader, info: GgmlInfo) -> None:
    n_mels = reader.integer("number of mel filters", info.n_mels, info.n_mels)
    n_bins = reader.integer("number of frequencies", N_FFT_BINS, N_FFT_BINS)
    reader.skip(n_mels * n_bins * 4)


def _check_vocabulary(reader: _Reader, info: GgmlInfo) -> None:
    has_space = False
    for _ in range(reader.integer("number of tokens", 1, info.n_vocab)):
        (n_bytes,) = struct.unpack("<I", reader.take(4))
        if n_bytes > MAX_TOKEN_BYTES:
            raise reader.wrong("its vocabulary is garbled")
        has_space |= reader.take(n_bytes) == b" "
    if not has_space:
        # whisper.cpp looks this token up to suppress blanks, and aborts where it is missing.
        raise reader.wrong("its vocabulary has no token for a space")


def _check_tensors(reader: _Reader, expected: Expected) -> None:
    """Every expected tensor once, in any order, and the end of the file right after the last."""
    missing = dict(expected)
    while reader.left:
        name, shape, code = _read_tensor_header(reader)
        if name not in missing:
            raise reader.wrong(f"it holds {'a second' if name in expected else 'an unknown'} tensor {name!r}")
        right_shape, right_type = missing.pop(name)
        if _four(shape) != _four(right_shape):
            raise reader.wrong(f"its tensor {name!r} has the shape {shape} and not {right_shape}")
        if code != right_type.code:
            raise reader.wrong(f"its tensor {name!r} is not stored as {right_type.name}")
        if right_shape[0] % right_type.block_size:
            raise reader.wrong(f"its tensor {name!r} does not fill whole blocks of {right_type.name}")
        reader.skip(prod(shape) // right_type.block_size * right_type.block_bytes)
    if missing:
        some = next(iter(missing))
        raise reader.wrong(f"{len(missing)} of its {len(expected)} tensors are missing, among them {some!r}")


def _four(shape: Shape) -> Shape:
    """Sizes as ggml compares them: a scalar has none, and ones at the end do not count."""
    return shape + (1,) * (4 - len(shape))


def _read_tensor_header(reader: _Reader) -> tuple[str, Shape, int]:
    n_dims = reader.integer("number of tensor dimensions", 0, 4)
    name_bytes = reader.integer("length of tensor name", 1, MAX_TENSOR_NAME)
    code = reader.integer("tensor format", 0, 255)
    shape = tuple(reader.integer("tensor size", 1, 2**31 - 1) for _ in range(n_dims))
    return reader.take(name_bytes).decode("ascii", "backslashreplace"), shape, code


def _whisper_tensors(info: GgmlInfo, matrix: TensorType) -> Expected:
    """Every tensor that whisper.cpp asks for: name -> (sizes, fastest first; storage)."""
    width, vocabulary = info.n_audio_state, info.n_vocab
    tensors: Expected = {
        "encoder.positional_embedding": ((width, info.n_audio_ctx), F32),
        "encoder.conv1.weight": ((3, info.n_mels, width), F16),
        "encoder.conv1.bias": ((1, width), F32),
        "encoder.conv2.weight": ((3, width, width), F16),
        "encoder.conv2.bias": ((1, width), F32),
        "decoder.positional_embedding": ((width, info.n_text_ctx), F32),
        "decoder.token_embedding.weight": ((width, vocabulary), matrix),
    }
    tensors.update(_norm("encoder.ln_post", width))
    tensors.update(_norm("decoder.ln", width))
    for layer in range(info.n_audio_layer):
        tensors.update(_block(f"encoder.blocks.{layer}", width, matrix, ("attn",)))
    for layer in range(info.n_text_layer):
        tensors.update(_block(f"decoder.blocks.{layer}", width, matrix, ("attn", "cross_attn")))
    return tensors


def _norm(name: str, width: int) -> Iterator[tuple[str, tuple[Shape, TensorType]]]:
    yield f"{name}.weight", ((width,), F32)
    yield f"{name}.bias", ((width,), F32)


def _block(
    name: str, width: int, matrix: TensorType, attentions: tuple[str, ...]
) -> Iterator[tuple[str, tuple[Shape, TensorType]]]:
    """One transformer block: its attentions (the key has no bias) and its MLP, four times as wide."""
    for attention in attentions:
        yield from _norm(f"{name}.{attention}_ln", width)
        for part in ("query", "key", "value", "out"):
            yield f"{name}.{attention}.{part}.weight", ((width, width), matrix)
            if part != "key":
                yield f"{name}.{attention}.{part}.bias", ((width,), F32)
    yield from _norm(f"{name}.mlp_ln", width)
    yield f"{name}.mlp.0.weight", ((width, 4 * width), matrix)
    yield f"{name}.mlp.0.bias", ((4 * width,), F32)
    yield f"{name}.mlp.2.weight", ((4 * width, width), matrix)
    yield f"{name}.mlp.2.bias", ((width,), F32)


def _vad_tensors(layers: list[tuple[int, ...]], lstm_hidden: int, final_in: int) -> Expected:
    tensors: Expected = {
        "_model.stft.forward_basis_buffer": ((256, 1, 258), F16),
        "_model.decoder.rnn.weight_ih": ((lstm_hidden, 4 * lstm_hidden), F32),
        "_model.decoder.rnn.weight_hh": ((lstm_hidden, 4 * lstm_hidden), F32),
        "_model.decoder.rnn.bias_ih": ((4 * lstm_hidden,), F32),
        "_model.decoder.rnn.bias_hh": ((4 * lstm_hidden,), F32),
        "_model.decoder.decoder.2.weight": ((final_in,), F16),
        "_model.decoder.decoder.2.bias": ((1,), F32),
    }
    for number, (n_in, n_out, kernel) in enumerate(layers):
        tensors[f"_model.encoder.{number}.reparam_conv.weight"] = ((kernel, n_in, n_out), F16)
        tensors[f"_model.encoder.{number}.reparam_conv.bias"] = ((n_out,), F32)
    return tensors
