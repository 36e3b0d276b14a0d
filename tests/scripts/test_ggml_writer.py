"""The ggml writer: its files pass the program's own check, and its quantization is ggml's."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from audio2img.recognition.ggml import check_whisper_file
from scripts.mini.ggml_writer import Format, WhisperSizes, quantize_q5_1, quantize_q8_0, write_ggml
from scripts.mini.mel_filters import mel_filterbank

SIZES = WhisperSizes(50364, 256, 32, 1, 1, 32, 32, 1, 1)


def attention(prefix: str) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for part in ("query", "key", "value", "out"):
        shapes[f"{prefix}.{part}.weight"] = (32, 32)
        if part != "key":
            shapes[f"{prefix}.{part}.bias"] = (32,)
    return shapes | {f"{prefix}_ln.weight": (32,), f"{prefix}_ln.bias": (32,)}


def layer(prefix: str) -> dict[str, tuple[int, ...]]:
    return attention(f"{prefix}.attn") | {
        f"{prefix}.mlp.0.weight": (128, 32), f"{prefix}.mlp.0.bias": (128,),
        f"{prefix}.mlp.2.weight": (32, 128), f"{prefix}.mlp.2.bias": (32,),
        f"{prefix}.mlp_ln.weight": (32,), f"{prefix}.mlp_ln.bias": (32,),
    }  # fmt: skip


def random_tensors() -> dict[str, NDArray[np.float32]]:
    shapes = {
        "encoder.positional_embedding": (256, 32),
        "encoder.conv1.weight": (32, 80, 3), "encoder.conv1.bias": (32,),
        "encoder.conv2.weight": (32, 32, 3), "encoder.conv2.bias": (32,),
        "encoder.ln_post.weight": (32,), "encoder.ln_post.bias": (32,),
        "decoder.positional_embedding": (32, 32), "decoder.token_embedding.weight": (50364, 32),
        "decoder.ln.weight": (32,), "decoder.ln.bias": (32,),
    }  # fmt: skip
    shapes |= layer("encoder.blocks.0") | layer("decoder.blocks.0")
    shapes |= attention("decoder.blocks.0.cross_attn")
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("fmt", ["f16", "q8_0", "q5_1"])
def test_a_written_model_passes_the_check_of_the_program(tmp_path: Path, fmt: Format) -> None:
    path = tmp_path / "model.bin"
    write_ggml(path, SIZES, mel_filterbank(), [b" ", b"", b" house"], random_tensors(), fmt)
    check_whisper_file(path)
    assert list(tmp_path.iterdir()) == [path]


def test_the_check_would_see_a_wrong_header(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    sizes = replace(SIZES, n_audio_layer=2)
    write_ggml(path, sizes, mel_filterbank(), [b" "], random_tensors(), "f16")
    with pytest.raises(Exception, match=r"."):
        check_whisper_file(path)


def test_q8_0_is_right_to_half_a_step() -> None:
    values = np.random.default_rng(1).standard_normal((4, 64)).astype(np.float32)
    packed = np.frombuffer(quantize_q8_0(values), np.dtype([("scale", "<f2"), ("codes", "i1", 32)]))
    restored = packed["scale"].astype(np.float32)[:, None] * packed["codes"]
    steps = np.abs(values.reshape(-1, 32)).max(axis=1, keepdims=True) / 127
    assert np.all(np.abs(restored - values.reshape(-1, 32)) <= 0.57 * steps)


def test_q5_1_is_right_to_half_a_step() -> None:
    """Unpacked the way ggml's dequantize_row_q5_1 does, one value at a time."""
    values = np.random.default_rng(2).standard_normal((2, 64)).astype(np.float32)
    content = quantize_q5_1(values)
    for number, block in enumerate(values.reshape(-1, 32)):
        step, low, fifth = struct.unpack_from("<eeI", content, 24 * number)
        nibbles = content[24 * number + 8 : 24 * number + 24]
        for place, value in enumerate(block):
            byte = nibbles[place % 16]
            code = (byte & 15 if place < 16 else byte >> 4) | ((fifth >> place & 1) << 4)
            assert abs(code * step + low - value) <= 0.53 * (block.max() - block.min()) / 31


def test_a_block_of_equal_values_keeps_them() -> None:
    step, low, _ = struct.unpack_from("<eeI", quantize_q5_1(np.full(32, 0.5, np.float32)))
    assert (step, low) == (0.0, 0.5)


def test_mel_filters_have_unit_area_and_no_gaps() -> None:
    filters = mel_filterbank()
    assert filters.shape == (80, 201)
    assert np.all(filters[:, 1:-1].sum(axis=0) > 0)
    # bins are 40 Hz apart; wide filters integrate to 1, narrow ones are sampled too coarsely
    assert np.allclose(filters[40:].sum(axis=1) * 40, 1, atol=0.08)


def test_mel_filters_equal_whispers(shared_data: Path) -> None:
    content = (shared_data / "for-tests-ggml-tiny.en.bin").read_bytes()
    theirs = np.frombuffer(content, "<f4", 80 * 201, offset=56).reshape(80, 201)
    assert np.abs(theirs - mel_filterbank()).max() < 1e-8
