"""Sound from a browser: every block arrives, in order, at 16 kHz, until the end."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio2img.errors import InputError, UsageError
from audio2img.server.incoming import MOST_WAITING_S, IncomingSound


@given(st.lists(st.binary(max_size=40).map(lambda block: block[: len(block) // 2 * 2]), max_size=20))
def test_what_is_put_is_what_is_heard(blocks: list[bytes]) -> None:
    sound = IncomingSound(16_000)
    for block in blocks:
        sound.put(block)
    sound.end()
    heard = np.concatenate([*sound.chunks(), np.zeros(0, np.float32)])
    samples = np.frombuffer(b"".join(blocks), "<i2")
    if np.any(samples):  # a channel that has carried nothing yet is let in over one block
        assert heard.size == samples.size
    else:
        assert not heard.any()


def test_a_tone_at_48_khz_is_the_same_tone_at_16_khz() -> None:
    sound = IncomingSound(48_000)
    tone = np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000) * 16_000
    writer = threading.Thread(
        target=lambda: [
            *(sound.put(part.astype("<i2").tobytes()) for part in np.array_split(tone, 20)),
            sound.end(),
        ]
    )
    writer.start()
    heard = np.concatenate(list(sound.chunks()))
    writer.join()
    expected = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000) * 16_000 / 32_768
    assert heard.size == 16_000
    np.testing.assert_allclose(heard[100:-100], expected[100:-100], atol=2e-3)


def test_nothing_is_taken_after_the_end() -> None:
    sound = IncomingSound(16_000)
    sound.put(b"\x01\x00" * 5)
    sound.end()
    sound.put(b"\x01\x00" * 5)
    assert sum(chunk.size for chunk in sound.chunks()) == 5


def test_half_a_sample_and_no_rate_are_refused() -> None:
    with pytest.raises(UsageError, match="16-bit"):
        IncomingSound(16_000).put(b"odd")
    for rate_hz in (0, 10, 10**9):
        with pytest.raises(InputError):
            IncomingSound(rate_hz)


def test_who_brings_more_than_is_heard_is_told_to_wait() -> None:
    sound = IncomingSound(16_000)
    for _ in range(2):  # two of any size may be too many, and many small ones few
        assert not sound.is_full
        sound.put(bytes(2 * int(MOST_WAITING_S * 16_000) // 2))
    assert sound.is_full
    next(sound.chunks())
    assert not sound.is_full
