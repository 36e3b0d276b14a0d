"""Palettes: as good as they can be, the same on every run, and every weight at its nearest entry."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from audio2img.compression.kmeans import Histogram, count_values, find_centers
from audio2img.compression.operation import PALETTE_TYPES
from audio2img.compression.palettes import (
    assign,
    make_palette,
    measure,
    pack_bits,
    palettize,
)
from audio2img.mlprogram.weights import unpack_bits

FLOATS = {
    np.float16: st.floats(-60000, 60000, width=16),
    np.float32: st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False),
}


def heavy_tailed(seed: int, *shape: int) -> np.ndarray:
    """Weights as networks have them: mostly small, some far out; float16."""
    return (np.random.default_rng(seed).standard_t(3, shape) * 0.02).astype(np.float16)


def cost(histogram: Histogram, centers: np.ndarray) -> float:
    distance = np.abs(histogram.values[:, None] - centers[None, :]).min(axis=1)
    return float((histogram.counts * distance**2).sum())


def least_cost(histogram: Histogram, n_clusters: int) -> float:
    """By trying every way to cut the values into intervals."""
    best = np.inf
    n = len(histogram)
    for cuts in itertools.combinations(range(1, n), n_clusters - 1):
        centers = [
            np.average(histogram.values[start:end], weights=histogram.counts[start:end])
            for start, end in itertools.pairwise((0, *cuts, n))
        ]
        best = min(best, cost(histogram, np.array(centers)))
    return best


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.integers(-1000, 1000), min_size=5, max_size=14, unique=True),
    counts=st.lists(st.integers(1, 50), min_size=14, max_size=14),
    n_clusters=st.integers(2, 4),
)
def test_few_values_get_the_best_centers(values: list[int], counts: list[int], n_clusters: int) -> None:
    histogram = Histogram(np.sort(np.array(values, float)), np.array(counts[: len(values)], float))
    found = cost(histogram, find_centers(histogram, n_clusters))
    assert found <= least_cost(histogram, n_clusters) * (1 + 1e-9) + 1e-9


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("bits", PALETTE_TYPES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_every_weight_has_its_nearest_entry(dtype: type, bits: int, data: st.DataObject) -> None:
    weights = data.draw(arrays.arrays(dtype, st.integers(1, 400), elements=FLOATS[dtype]))
    palette = make_palette(count_values(weights), bits, weights.dtype)
    assert palette.shape == (1 << bits,)
    assert palette.dtype == dtype
    chosen = palette[assign(weights, palette)].astype(np.float64)
    distance = np.abs(weights.astype(np.float64)[:, None] - palette.astype(np.float64)[None, :])
    np.testing.assert_array_equal(np.abs(weights - chosen), distance.min(axis=1))


def test_what_fits_into_the_palette_is_kept_exactly() -> None:
    weights = np.random.default_rng(0).choice(heavy_tailed(1, 64), 5000)
    palette = make_palette(count_values(weights), 6, weights.dtype)
    np.testing.assert_array_equal(palette[assign(weights, palette)], weights)


def test_more_bits_are_nearer() -> None:
    histogram = count_values(heavy_tailed(2, 50_000))
    snrs = [
        measure(histogram, make_palette(histogram, bits, np.dtype(np.float16))).snr_db
        for bits in PALETTE_TYPES
    ]
    assert snrs == sorted(snrs)
    assert snrs[-1] > snrs[0] + 30


def test_the_measure_is_that_of_the_elements() -> None:
    weights = heavy_tailed(3, 30_000)
    histogram = count_values(weights)
    palette = make_palette(histogram, 4, weights.dtype)
    error = weights.astype(np.float64) - palette[assign(weights, palette)]
    fit = measure(histogram, palette)
    assert fit.error == pytest.approx(float((error**2).sum()), rel=1e-9)
    assert fit.signal == pytest.approx(float((weights.astype(np.float64) ** 2).sum()), rel=1e-9)


def test_the_same_weights_give_the_same_bytes() -> None:
    weights = heavy_tailed(4, 64, 320)
    first, second = palettize(weights, 6), palettize(weights.copy(), 6)
    np.testing.assert_array_equal(first.indices, second.indices)
    np.testing.assert_array_equal(first.palette, second.palette)


@pytest.mark.parametrize("bits", PALETTE_TYPES)
@pytest.mark.parametrize("count", [1, 7, 8, 24, 1001])
def test_packed_bits_come_back(bits: int, count: int) -> None:
    numbers = np.random.default_rng(count).integers(0, 1 << bits, count).astype(np.uint8)
    packed = pack_bits(numbers, bits)
    assert len(packed) == -(-count * bits // 8)
    np.testing.assert_array_equal(unpack_bits(packed, bits, count), numbers)
