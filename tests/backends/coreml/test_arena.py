"""Arrays through shared memory: what one side writes, the other reads, in whatever order and size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from audio2img.backends.coreml.arena import GROWTH, Arena

Sides = tuple[Arena, Arena]


@pytest.fixture(scope="module")
def sides() -> Iterator[Sides]:
    """Two who map the same memory."""
    writer = Arena()
    reader = Arena(writer.descriptor)
    yield writer, reader
    writer.close()


DTYPES = st.sampled_from([np.dtype(name) for name in ("float16", "float32", "int32", "bool", "float64")])
ARRAYS = DTYPES.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0)))


@given(st.dictionaries(st.text(), ARRAYS, max_size=4))
def test_what_is_written_is_read(sides: Sides, arrays: dict[str, np.ndarray]) -> None:
    writer, reader = sides
    found = reader.read(writer.write(arrays))
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_arrays_arrive_contiguous_and_in_the_wanted_type(sides: Sides) -> None:
    """What the UNet is told is a transposed view."""
    writer, reader = sides
    states = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4).transpose(0, 2, 1)[:, :, None]
    assert not states.flags.c_contiguous
    found = reader.read(writer.write({"states": states}, {"states": np.dtype(np.float16)}))["states"]
    assert found.flags.c_contiguous
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, states)


def test_what_was_read_stays_as_it_was(sides: Sides) -> None:
    writer, reader = sides
    first = reader.read(writer.write({"x": np.ones(5)}))["x"]
    writer.write({"x": np.zeros(5)})
    assert first.tolist() == [1] * 5


def test_the_memory_grows_with_what_is_written(sides: Sides) -> None:
    writer, reader = sides
    small = np.arange(3)
    large = np.arange(GROWTH // 2)
    for arrays in ({"a": small}, {"a": small, "b": large}, {"b": large, "a": small}):
        for name, array in reader.read(writer.write(arrays)).items():
            np.testing.assert_array_equal(array, arrays[name])
