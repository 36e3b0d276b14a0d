"""Small model files with made-up weights: ggml Whispers, and TFLite classifiers.

The first are written by the format's description alone, the second with LiteRT's own schema.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest

# ftype of the file -> (type code of its matrices, numbers per block, bytes per block)
STORAGE = {
    0: (0, 1, 4), 1: (1, 1, 2), 2: (2, 32, 18), 3: (3, 32, 20), 7: (8, 32, 34), 8: (6, 32, 22),
    9: (7, 32, 24), 10: (10, 256, 84), 11: (11, 256, 110), 12: (12, 256, 144), 13: (13, 256, 176),
    14: (14, 256, 210),
}  # fmt: skip


@dataclass(frozen=True)
class ModelFile:
    """What the tables of recognizers need to know of a model."""

    path: Path
    name: str = "test"
    format: str = "ggml"
    vocabulary: str = ""
    min_probability: float | None = None


class WriteWhisper(Protocol):
    def __call__(
        self, path: Path, *, n_vocab: int = 50364, width: int = 32, ftype: int = 1, audio_ctx: int = 1500,
        text_layers: int = 1,
    ) -> Path: ...  # fmt: skip


def _write_whisper(
    path: Path,
    *,
    n_vocab: int = 50364,
    width: int = 32,
    ftype: int = 1,
    audio_ctx: int = 1500,
    text_layers: int = 1,
) -> Path:
    rng = np.random.default_rng(5)
    code, block, block_bytes = STORAGE[ftype]
    text_ctx = 64
    out = [struct.pack("<I", 0x67676D6C)]
    out.append(
        struct.pack("<11i", n_vocab, audio_ctx, width, 2, 1, text_ctx, width, 2, text_layers, 80, ftype)
    )
    out.append(struct.pack("<2i", 80, 201) + np.abs(rng.standard_normal(80 * 201)).astype("<f4").tobytes())
    words = [b" ", *(f" word{number}".encode() for number in range(50255))]
    out.append(struct.pack("<i", len(words)))
    out += [struct.pack("<I", len(word)) + word for word in words]

    def tensor(name: str, shape: tuple[int, ...], kind: str = "f32") -> None:
        n_numbers = int(np.prod(shape))
        if kind == "matrix" and ftype not in (0, 1):
            data, written = bytes(n_numbers // block * block_bytes), code
        elif kind == "f32" or (kind == "matrix" and ftype == 0):
            data, written = (rng.standard_normal(n_numbers) * 0.05).astype("<f4").tobytes(), 0
        else:
            data, written = (rng.standard_normal(n_numbers) * 0.05).astype("<f2").tobytes(), 1
        out.append(struct.pack("<3i", len(shape), len(name), written))
        out.append(struct.pack(f"<{len(shape)}i", *shape) + name.encode() + data)

    def norm(name: str) -> None:
        tensor(f"{name}.weight", (width,))
        tensor(f"{name}.bias", (width,))

    def layer(name: str, attentions: tuple[str, ...]) -> None:
        for attention in attentions:
            norm(f"{name}.{attention}_ln")
            for part in ("query", "key", "value", "out"):
                tensor(f"{name}.{attention}.{part}.weight", (width, width), "matrix")
                if part != "key":
                    tensor(f"{name}.{attention}.{part}.bias", (width,))
        norm(f"{name}.mlp_ln")
        tensor(f"{name}.mlp.0.weight", (width, 4 * width), "matrix")
        tensor(f"{name}.mlp.0.bias", (4 * width,))
        tensor(f"{name}.mlp.2.weight", (4 * width, width), "matrix")
        tensor(f"{name}.mlp.2.bias", (width,))

    tensor("encoder.positional_embedding", (width, audio_ctx))
    tensor("encoder.conv1.weight", (3, 80, width), "conv")
    tensor("encoder.conv1.bias", (1, width))
    tensor("encoder.conv2.weight", (3, width, width), "conv")
    tensor("encoder.conv2.bias", (1, width))
    layer("encoder.blocks.0", ("attn",))
    norm("encoder.ln_post")
    tensor("decoder.positional_embedding", (width, text_ctx))
    tensor("decoder.token_embedding.weight", (width, n_vocab), "matrix")
    for number in range(text_layers):
        layer(f"decoder.blocks.{number}", ("attn", "cross_attn"))
    norm("decoder.ln")
    path.write_bytes(b"".join(out))
    return path


@pytest.fixture(scope="session")
def write_whisper() -> WriteWhisper:
    return _write_whisper


@pytest.fixture(scope="session")
def random_whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """English only, of full context."""
    return _write_whisper(tmp_path_factory.mktemp("ggml") / "random.bin")


class WriteTflite(Protocol):
    def __call__(
        self, path: Path, *, shape: tuple[int, ...] = (1, 15600), n_scores: int = 521, is_free: bool = False,
        has_sigmoid: bool = True, labels: Sequence[str] = (),
    ) -> Path: ...  # fmt: skip


def _write_tflite(
    path: Path,
    *,
    shape: tuple[int, ...] = (1, 15600),
    n_scores: int = 521,
    is_free: bool = False,
    has_sigmoid: bool = True,
    labels: Sequence[str] = (),
) -> Path:
    """A classifier of one layer, whose later scores grow with the first ten samples.

    is_free: its input has no length of its own. labels: appended as TFLite's metadata is, in a zip.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def tensor(name: str, size: Sequence[int], buffer: int = 0) -> Any:
        one = schema.TensorT()
        one.name, one.shape, one.buffer = name.encode(), np.array(size, np.int32), buffer
        one.type = schema.TensorType.FLOAT32
        return one

    def operator(code: int, inputs: Sequence[int], output: int) -> Any:
        one = schema.OperatorT()
        one.opcodeIndex = code
        one.inputs, one.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        return one

    def operator_code(code: int) -> Any:
        one = schema.OperatorCodeT()
        one.deprecatedBuiltinCode = one.builtinCode = code
        one.version = 1
        return one

    weights = np.zeros((n_scores, shape[-1]), np.float32)
    weights[:, :10] = np.linspace(0, 1, n_scores)[:, None]
    filled = schema.BufferT()
    filled.data = np.frombuffer(weights.tobytes(), np.uint8)
    graph = schema.SubGraphT()
    graph.tensors = [
        tensor("sound", [1, 1] if is_free else shape),
        tensor("weights", weights.shape, 1),
        tensor("logits", (1, n_scores)),
        tensor("scores", (1, n_scores)),
    ]
    if is_free:
        graph.tensors[0].shapeSignature = np.array([1, -1], np.int32)
    layer = operator(0, [0, 1, -1], 2)
    layer.builtinOptions = schema.FullyConnectedOptionsT()
    layer.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    graph.operators = [layer, operator(1, [2], 3)] if has_sigmoid else [layer]
    graph.inputs = np.array([0], np.int32)
    graph.outputs = np.array([3 if has_sigmoid else 2], np.int32)
    model = schema.ModelT()
    model.version = 3
    model.subgraphs = [graph]
    model.buffers = [schema.BufferT(), filled]
    model.operatorCodes = [
        operator_code(schema.BuiltinOperator.FULLY_CONNECTED),
        operator_code(schema.BuiltinOperator.LOGISTIC),
    ]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    if labels:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("labels.txt", "\n".join(labels) + "\n")
    return path


@pytest.fixture(scope="session")
def write_tflite() -> WriteTflite:
    return _write_tflite
