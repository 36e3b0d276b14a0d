"""Blocks from a source elsewhere become the chunks that listening takes, whatever their rate and channels."""

from __future__ import annotations

import numpy as np
import pytest

from audio2img.audio.resampling import Mixer, to_16_khz
from audio2img.errors import InputError

HZ = 1000


def int16_tone(rate, duration_s=1.0, amplitude=0.5):
    times = np.arange(int(rate * duration_s)) / rate
    return np.round(amplitude * 32768 * np.sin(2 * np.pi * HZ * times)).astype(np.int16)


def in_blocks(samples, n=1024):
    return [samples[start : start + n] for start in range(0, len(samples), n)]


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_level_pitch_and_time_stay(rate, dtype):
    sound = int16_tone(rate) if dtype is np.int16 else (int16_tone(rate) / 32768).astype(np.float32)
    chunks = list(to_16_khz(in_blocks(sound), rate))
    assert all(chunk.dtype == np.float32 and chunk.ndim == 1 for chunk in chunks)
    heard = np.concatenate(chunks)
    expected = int16_tone(16000) / 32768
    assert len(heard) == 16000
    assert np.abs(heard - expected)[400:-400].max() < 1e-3


def test_a_chunk_comes_for_every_block_and_one_for_the_end():
    """A live source waits for nothing: the sound of a block is there before the next one."""
    given = []

    def blocks():
        for block in in_blocks(int16_tone(48000), 2400):
            given.append(len(block))
            yield block

    chunks = to_16_khz(blocks(), 48000)
    heard_s = 0.0
    for n_blocks in range(1, 21):
        heard_s += len(next(chunks)) / 16000
        assert len(given) == n_blocks
        assert heard_s > n_blocks * 0.05 - 0.05
    assert len(list(chunks)) == 1


def test_stereo_is_averaged():
    left = int16_tone(16000)
    heard = np.concatenate(list(to_16_khz(in_blocks(np.stack([left, left // 2], 1)), 16000)))
    assert np.abs(heard - 0.75 * left / 32768).max() < 1e-4


@pytest.mark.parametrize("rate", [-1, 0, 14, 10**9])
def test_a_rate_that_no_sound_has(rate):
    with pytest.raises(InputError, match="samples a second"):
        next(to_16_khz([], rate))


# The mix

TONE = np.sin(2 * np.pi * HZ * np.arange(960) / 48000).astype(np.float32) / 2
ZERO = np.zeros_like(TONE)


def mixed(*blocks):
    mixer = Mixer()
    return [mixer.mix(np.stack(channels, 1)) for channels in blocks]


def test_an_empty_second_input_does_not_halve_the_first():
    for block in mixed(*[(TONE, ZERO)] * 3, (ZERO, ZERO), (TONE, ZERO)):
        assert np.array_equal(block, TONE) or not block.any()


def test_a_second_channel_that_pauses_changes_no_level():
    """As a headset does with a noise gate: the mean of both from the first block on, whatever is zero."""
    blocks = mixed((TONE, TONE), (TONE, ZERO), (TONE, TONE), (ZERO, ZERO), (ZERO, TONE))
    assert [float(np.abs(block).max().round(3)) for block in blocks] == [0.5, 0.25, 0.5, 0.0, 0.25]


def test_a_channel_that_comes_later_is_let_in_without_a_step():
    before, joining, after = mixed((TONE, ZERO), (TONE, TONE * 0.01), (TONE, TONE * 0.01))
    assert np.array_equal(before, TONE)
    assert np.abs(joining[:10] - TONE[:10]).max() < 0.01
    assert np.abs(joining[-10:] - TONE[-10:] * 0.505).max() < 0.01
    assert np.allclose(after, TONE * 0.505, atol=1e-6)


def test_silence_stays_silence():
    (block,) = mixed((ZERO, ZERO))
    assert block.shape == TONE.shape
    assert not block.any()
