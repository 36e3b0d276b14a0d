"""A program that nobody here has made, of something that is no picture: Basic Pitch, which hears notes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audio2img.mlprogram.mlpackage import Package, read_description
from audio2img.mlprogram.reference import ReferenceModel

N_SAMPLES = 43844  # two seconds at 22,050 Hz

# What LiteRT makes of the same network in TFLite's form (nmp.tflite of the package basic-pitch 0.4.0) from
# `two_tones`: output -> (time step, likeliest pitch, its likelihood, the mean of all pitches). All of it is
# 81 to 88 dB from ours (psnr_db of each output).
EXPECTED = {
    "Identity": [
        (10, 145, 0.440420, 0.102821), (60, 145, 0.427460, 0.102932), (120, 145, 0.328224, 0.103368),
    ],
    "Identity_1": [
        (10, 48, 0.538615, 0.105862), (60, 48, 0.576421, 0.106220), (120, 48, 0.475601, 0.109977),
    ],
    "Identity_2": [
        (10, 22, 0.128346, 0.103427), (60, 48, 0.129502, 0.102400), (120, 55, 0.168694, 0.102160),
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def package(shared_data: Path) -> Path:
    return shared_data / "foreign-coreml" / "nmp.mlpackage"


def two_tones() -> np.ndarray:
    """An A, an E above it from the second second on, and some noise: (1, 43844, 1) float32."""
    times_s = np.arange(N_SAMPLES) / 22050
    sound = 0.3 * np.sin(2 * np.pi * 440 * times_s) + 0.2 * np.sin(2 * np.pi * 660 * times_s) * (times_s > 1)
    noise = 0.01 * np.random.RandomState(7).standard_normal(N_SAMPLES)
    return (sound + noise).astype(np.float32)[None, :, None]


def test_it_is_described_as_it_was_made(package: Path) -> None:
    description = read_description(package)
    assert [(spec.name, spec.shape, spec.dtype.name) for spec in description.inputs] == [
        ("input_2", (1, N_SAMPLES, 1), "float32")
    ]
    assert [(spec.name, spec.shape) for spec in description.outputs] == [
        ("Identity", (1, 172, 264)), ("Identity_1", (1, 172, 88)), ("Identity_2", (1, 172, 88)),
    ]  # fmt: skip


def test_it_hears_what_another_engine_hears(package: Path) -> None:
    outputs = ReferenceModel(Package(package)).predict({"input_2": two_tones()})
    assert set(outputs) == set(EXPECTED)
    for name, rows in EXPECTED.items():
        for step, pitch, likelihood, mean in rows:
            row = outputs[name][0, step]
            assert int(row.argmax()) == pitch
            assert row[pitch] == pytest.approx(likelihood, abs=5e-4)
            assert row.mean() == pytest.approx(mean, abs=5e-4)
