"""Small ggml Whisper files with random weights, written here by the format's description alone."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

# ftype of the file -> (type code of its matrices, numbers per block, bytes per block)
STORAGE = {
    0: (0, 1, 4), 1: (1, 1, 2), 2: (2, 32, 18), 3: (3, 32, 20), 7: (8, 32, 34), 8: (6, 32, 22),
    9: (7, 32, 24), 10: (10, 256, 84), 11: (11, 256, 110), 12: (12, 256, 144), 13: (13, 256, 176),
    14: (14, 256, 210),
}  # fmt: skip


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
