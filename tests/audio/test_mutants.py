"""Damaged recordings of many containers: each gives a clip or an InputError, and nothing else happens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audio2img.audio import decode_audio
from audio2img.audio.decode import ALWAYS_ALLOWED_S, BLOCK_SAMPLES, LEAST_BYTES_PER_S
from audio2img.audio.resampling import MIN_RATE_HZ
from audio2img.errors import InputError

RATE = 22050
KINDS = [  # file, codec, channels
    ("a.wav", "pcm_s16le", 2),
    ("b.wav", "pcm_f32le", 1),
    ("a.w64", "pcm_s16le", 1),
    ("a.caf", "pcm_s16le", 1),
    ("a.aiff", "pcm_s16be", 1),
    ("a.au", "pcm_s16be", 1),
    ("a.flac", "flac", 8),
    ("a.wv", "wavpack", 8),
    ("a.tta", "tta", 1),
    ("a.mp3", "libmp3lame", 1),
    ("a.m4a", "aac", 8),
    ("b.m4a", "alac", 1),
    ("a.mov", "adpcm_ima_qt", 1),
    ("a.avi", "adpcm_ms", 1),
    ("a.ogg", "libopus", 2),
    ("a.webm", "libopus", 8),
    ("a.mkv", "pcm_s16le", 1),
]
MUTANTS_OF_EACH = 24
EXTREMES = [0, 1, 8, 14, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


def mutate(data: bytes, chance: np.random.Generator) -> bytes:
    """`data` with some of it changed, most of all where the sizes and rates are: in front and behind."""
    mutant = bytearray(data)
    for _ in range(int(chance.integers(1, 8))):
        reach = len(mutant) if chance.random() < 0.4 else min(512, len(mutant))
        at = int(chance.integers(0, max(1, reach)))
        at = len(mutant) - 1 - at if chance.random() < 0.25 else at
        match int(chance.integers(0, 6)):
            case 0 if mutant:
                mutant[at] = int(chance.integers(0, 256))
            case 1 if mutant:
                mutant[at] ^= 1 << int(chance.integers(0, 8))
            case 2 | 3:
                width = int(chance.choice([1, 2, 4, 8]))
                value = EXTREMES[int(chance.integers(0, len(EXTREMES)))] & ((1 << 8 * width) - 1)
                order = "big" if chance.random() < 0.5 else "little"
                mutant[at : at + width] = value.to_bytes(width, order)
            case 4:
                del mutant[at : at + int(chance.integers(1, 64))]
            case 5:
                end = int(chance.integers(0, len(mutant) + 1))
                mutant = mutant[:end] if chance.random() < 0.3 else mutant[:at] + mutant[at:end] + mutant[at:]
    return bytes(mutant)


def assert_harmless(path: Path) -> None:
    """`path` is decoded or refused, and never into more than its size allows."""
    try:
        samples = decode_audio(path).samples
    except InputError:
        return
    assert np.isfinite(samples).all()
    block_s = BLOCK_SAMPLES / MIN_RATE_HZ
    assert samples.size / 16000 <= ALWAYS_ALLOWED_S + path.stat().st_size / LEAST_BYTES_PER_S + block_s


@pytest.mark.parametrize(("name", "codec", "n_channels"), KINDS, ids=[row[0] for row in KINDS])
def test_a_damaged_recording_is_decoded_or_refused(tmp_path, capfd, encode, tone, name, codec, n_channels):
    """From real files, since only these refuse to seek anywhere."""
    path = tmp_path / name
    channels = np.stack([tone(440, 0.5, RATE, 0.3)] * n_channels)
    encode(path, channels, 48000 if "opus" in codec else RATE, codec)
    data = path.read_bytes()
    chance = np.random.default_rng([7, *name.encode()])
    for _ in range(MUTANTS_OF_EACH):
        path.write_bytes(mutate(data, chance) or b"\0")
        assert_harmless(path)
    assert capfd.readouterr() == ("", "")  # of PyAV and FFmpeg
