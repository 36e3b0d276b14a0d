from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio2img.diffusion.noise import GENERATOR_NAME, MAX_SEED, NoiseStream, initial_latents
from audio2img.errors import UsageError


def mersenne_twister_words(seed: int, count: int) -> list[int]:
    """The raw 32-bit output of MT19937 (Matsumoto & Nishimura 1998) seeded with one number."""
    state = [seed]
    for i in range(1, 624):
        state.append((1812433253 * (state[-1] ^ (state[-1] >> 30)) + i) & 0xFFFFFFFF)
    words = []
    while len(words) < count:
        for i in range(624):
            y = (state[i] & 0x80000000) | (state[(i + 1) % 624] & 0x7FFFFFFF)
            state[i] = state[(i + 397) % 624] ^ (y >> 1) ^ (0x9908B0DF if y & 1 else 0)
        for y in state:
            y ^= y >> 11
            y ^= (y << 7) & 0x9D2C5680
            y ^= (y << 15) & 0xEFC60000
            words.append(y ^ (y >> 18))
    return words


def normals_as_in_swift(seed: int, count: int) -> list[float]:
    """The polar Box-Muller normals of NumPy's legacy generator, written out as Apple's Swift has them."""
    words = iter(mersenne_twister_words(seed, 100 * count + 100))

    def uniform() -> float:
        high, low = next(words) >> 5, next(words) >> 6
        return (high * 67108864.0 + low) / 9007199254740992.0

    normals: list[float] = []
    while len(normals) < count:
        x, y = 2 * uniform() - 1, 2 * uniform() - 1
        r2 = x * x + y * y
        if 0 < r2 < 1:
            f = float(np.sqrt(-2 * np.log(r2) / r2))
            normals += [f * y, f * x]
    return normals[:count]


@pytest.mark.parametrize("seed", [0, 1, 42, 93, MAX_SEED])
def test_the_stream_is_that_of_the_written_out_generator(seed: int) -> None:
    expected = np.array(normals_as_in_swift(seed, 40))
    np.testing.assert_allclose(initial_latents(seed, (40,)), expected, rtol=1e-6, atol=1e-8)


def test_golden_numbers() -> None:
    # np.random.RandomState(42).standard_normal(4), printed by NumPy of every version since 1.0
    expected = [0.4967141530112327, -0.13826430117118466, 0.6476885381006925, 1.5230298564080254]
    np.testing.assert_allclose(initial_latents(42, (1, 4, 1, 1)).ravel(), expected, rtol=1e-7)


def test_draws_continue_one_stream() -> None:
    stream = NoiseStream(5)
    parts = [stream.draw((3,)), stream.draw((2, 2)), stream.draw((1,))]
    np.testing.assert_array_equal(np.concatenate([p.ravel() for p in parts]), initial_latents(5, (8,)))


def test_shape_dtype_and_statistics() -> None:
    noise = initial_latents(0, (1, 4, 64, 64))
    assert noise.shape == (1, 4, 64, 64)
    assert noise.dtype == np.float32
    assert abs(float(noise.mean())) < 0.03
    assert abs(float(noise.std()) - 1) < 0.03


@given(st.integers(0, MAX_SEED))
def test_a_seed_repeats_itself(seed: int) -> None:
    np.testing.assert_array_equal(initial_latents(seed, (4,)), initial_latents(seed, (4,)))


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1, 1.5, "7", None])
def test_bad_seeds_are_refused(seed: object) -> None:
    with pytest.raises(UsageError, match="seed"):
        initial_latents(seed, (4,))  # type: ignore[arg-type]


def test_numpy_integers_are_seeds() -> None:
    np.testing.assert_array_equal(initial_latents(np.uint32(7), (4,)), initial_latents(7, (4,)))  # type: ignore[arg-type]


def test_the_generator_has_a_name_for_the_record() -> None:
    assert GENERATOR_NAME == "numpy-mt19937"
