"""Compressed constants: the examples of coremltools' documentation, and what contradicts itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from audio2img.errors import ModelError
from audio2img.mlprogram.constexpr import materialize

MASK = np.array(
    [[1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 1], [0, 1, 1, 0, 1, 0], [0, 0, 0, 1, 0, 0]], dtype=np.uint8
)
INDICES = np.array([0, 1, 1, 0, 1, 1, 0, 0, 1], dtype=np.uint8)


def dense(kind: str, **parameters: Any) -> Any:
    (result,) = materialize(kind, parameters)
    return result


def u32(*sizes: int) -> np.ndarray:
    return np.array(sizes, dtype=np.uint32)


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8])
def test_packed_palette(tools: Any, bits: int) -> None:
    rng = np.random.default_rng(bits)
    lut = rng.standard_normal(2**bits).astype(np.float16)
    indices = rng.integers(0, 2**bits, 3 * 5 * 7)
    packed = np.frombuffer(tools.pack_bits(indices.tolist(), bits), dtype=np.uint8)
    found = dense("constexpr_lut_to_dense", lut=lut, indices=packed, shape=u32(3, 5, 7))
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, [[[lut[indices[i * 35 + j * 7 + k]] for k in range(7)]
                                           for j in range(5)] for i in range(3)])  # fmt: skip


def test_palettes_by_group() -> None:
    indices = np.array([[2, 3], [3, 0], [1, 0], [3, 0], [2, 1], [0, 3]], dtype=np.uint8)
    lut = np.array([1, 5, 9, 13, 2, 10, 18, 26], dtype=np.float16).reshape(2, 1, 4, 1)
    expected = [[9, 13], [13, 1], [5, 1], [26, 2], [18, 10], [2, 26]]
    np.testing.assert_array_equal(dense("constexpr_lut_to_dense", indices=indices, lut=lut), expected)


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        (1, [[["a0", "a0"], ["a1", "a1"], ["a2", "a2"], ["b0", "a0"], ["b1", "a1"], ["b2", "a2"]],
             [["b0", "b0"], ["b1", "b1"], ["b2", "b2"], ["a0", "a0"], ["a1", "a1"], ["a2", "a2"]]]),
        (2, [[["a0", "a1", "a2", "a0", "a1", "a2"], ["b0", "b1", "b2", "a0", "a1", "a2"]],
             [["b0", "b1", "b2", "b0", "b1", "b2"], ["a0", "a1", "a2", "a0", "a1", "a2"]]]),
    ],
)  # fmt: skip
def test_palettes_of_vectors(axis: int, expected: Any) -> None:
    names = {name: index for index, name in enumerate(["a0", "a1", "a2", "b0", "b1", "b2"])}
    indices = np.array([[[0, 0], [1, 0]], [[1, 1], [0, 0]]], dtype=np.uint8)
    lut = np.arange(6, dtype=np.int8).reshape(1, 1, 1, 2, 3)
    numbers = np.vectorize(names.__getitem__)(expected)
    for sign in (axis, axis - 3):
        found = dense("constexpr_lut_to_dense", indices=indices, lut=lut, vector_axis=np.array(sign))
        np.testing.assert_array_equal(found, numbers)


def test_affine_along_an_axis() -> None:
    data = np.array([[0, 128, 255], [1, 2, 3]], dtype=np.uint8)
    scale, zero = np.array([0.5, 2], dtype=np.float16), np.array([128, 1], dtype=np.uint8)
    found = dense("constexpr_affine_dequantize", quantized_data=data, scale=scale, zero_point=zero,
                  axis=np.array(0))  # fmt: skip
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, [[-64, 0, 63.5], [0, 2, 4]])


def test_blocks_of_scales() -> None:
    data = np.array([[1, 2, 3, 4], [5, 6, 7, -8]], dtype=np.int8)
    scale = np.array([[1, 10], [100, 1000]], dtype=np.float32)
    offset = np.array([[0, 1], [2, 3]], dtype=np.int8)
    found = dense("constexpr_blockwise_shift_scale", data=data, scale=scale, offset=offset)
    np.testing.assert_array_equal(found, [[1, 2, 20, 30], [300, 400, 4000, -11000]])
    np.testing.assert_array_equal(
        dense("constexpr_blockwise_shift_scale", data=data, scale=scale)[1], [500, 600, 7000, -8000]
    )


def test_sparse_of_both_forms() -> None:
    values = np.array([7, 8], dtype=np.float16)
    packed = dense("constexpr_sparse_to_dense", nonzero_data=values, mask=np.array([0b01100], np.uint8),
                   shape=u32(5))  # fmt: skip
    plain = dense("constexpr_sparse_to_dense", nonzero_data=values, mask=np.array([[0, 0, 1], [1, 0, 0]]))
    np.testing.assert_array_equal(packed, [0, 0, 7, 8, 0])
    np.testing.assert_array_equal(plain, [[0, 0, 7], [8, 0, 0]])


def test_sparse_palette_of_scalars_and_vectors() -> None:
    lut = np.array([2, 3], dtype=np.float16).reshape(1, 1, 2, 1)
    parameters = {"indices_mask": MASK, "indices_nonzero_data": INDICES}
    mask, values = materialize("constexpr_lut_to_sparse", {**parameters, "lut": lut})
    np.testing.assert_array_equal(mask, MASK)
    np.testing.assert_array_equal(values, [2, 3, 3, 2, 3, 3, 2, 2, 3])
    pairs = np.array([[2, 2], [3, 3]], dtype=np.float16).reshape(1, 1, 2, 2)
    mask, values = materialize(
        "constexpr_lut_to_sparse", {**parameters, "lut": pairs, "vector_axis": np.array(0)}
    )
    np.testing.assert_array_equal(mask, np.repeat(MASK, 2, axis=0))
    assert values.tolist() == [2, 3, 2, 3, 3, 2, 3, 3, 2, 3, 3, 2, 2, 3, 2, 2, 3, 3]


def test_sparse_scales_by_column() -> None:
    mask = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0]], dtype=np.uint8)
    _, values = materialize(
        "constexpr_sparse_blockwise_shift_scale",
        {
            "data_mask": mask,
            "nonzero_data": np.array([10, 11, 3, 4, 5, 6, 7, 8, 9], dtype=np.int8),
            "scale": np.array([[0.1, 0.2, 0.3, 0.4]], dtype=np.float32),
            "offset": np.array([[1, 2, 3, 4]], dtype=np.int8),
        },
    )
    np.testing.assert_allclose(values, [0.9, 1.8, 0.2, 0.4, 0.6, 0.9, 1.2, 0.7, 1.4], rtol=1e-6)


def test_cast_keeps_every_value() -> None:
    source = np.array([65504, 6e-8, -0.0], dtype=np.float16)
    found = dense("constexpr_cast", source_val=source, output_dtype="fp32")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, source.astype(np.float32))


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("constexpr_lut_to_dense", {"lut": np.zeros(3), "indices": np.zeros(1, np.uint8), "shape": u32(4)}),
        ("constexpr_lut_to_dense", {"lut": np.zeros(4), "indices": np.zeros(2, np.uint8), "shape": u32(4)}),
        ("constexpr_lut_to_dense", {"lut": np.zeros(4), "indices": np.zeros(1, np.uint8),
                                    "shape": u32(2**31, 2**31)}),
        ("constexpr_lut_to_dense", {"lut": np.zeros((1, 2, 1)), "indices": np.array([2], np.uint8)}),
        ("constexpr_lut_to_dense", {"lut": np.zeros((2, 2, 1)), "indices": np.zeros(3, np.uint8)}),
        ("constexpr_lut_to_dense", {"lut": np.zeros((1, 2, 2)), "indices": np.zeros(3, np.uint8)}),
        ("constexpr_lut_to_dense", {"indices": np.zeros(3, np.uint8)}),
        ("constexpr_affine_dequantize", {"quantized_data": np.zeros((2, 2), np.uint8), "scale": np.ones(3),
                                         "zero_point": np.zeros(()), "axis": np.array(0)}),
        ("constexpr_affine_dequantize", {"quantized_data": np.zeros((2, 2), np.uint8), "scale": np.ones(2),
                                         "zero_point": np.zeros(()), "axis": np.array(2)}),
        ("constexpr_blockwise_shift_scale", {"data": np.zeros((3, 2)), "scale": np.ones((2, 1))}),
        ("constexpr_sparse_to_dense", {"nonzero_data": np.ones(2), "mask": np.ones(3, np.uint8)}),
        ("constexpr_cast", {"source_val": np.zeros(1), "output_dtype": "int4"}),
        ("constexpr_unheard_of", {}),
    ],
)  # fmt: skip
def test_contradictions_are_refused(kind: str, parameters: dict[str, Any]) -> None:
    with pytest.raises(ModelError):
        materialize(kind, parameters)
