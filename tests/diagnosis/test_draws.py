"""Pictures on stand-ins that are right, wrong, broken: each shows in its check as what it is."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from audio2img.backends.coreml.compiled import compiled_dir
from audio2img.diagnosis.child import Measurement, Workshop
from audio2img.diagnosis.draws import GOOD_DB, LEAST_DB, Subject, compare_memory, draw_on, draw_reference
from audio2img.diagnosis.memory import peak_memory_bytes
from audio2img.mlprogram.signal import MOST_DB, psnr_db

pytestmark = pytest.mark.slow

Mac = Callable[..., None]


def test_the_reference_draws_and_is_timed(workshop: Workshop, subject: Subject) -> None:
    check, outcome = draw_reference(workshop, subject)
    assert (check.state, check.is_needed) == ("ok", sys.platform != "darwin")
    assert outcome.arrays["pixels"].shape == (128, 128, 3)
    assert outcome.arrays["latents"].ndim == 4
    times = [check.figures[name] for name in ("load_s", "first_step_s", "step_s", "encode_s", "decode_s")]
    assert min(times) > 0
    assert check.figures["first_step_s"] > check.figures["encode_s"]


def test_a_right_stand_in_draws_the_same(
    mac: Mac, workshop: Workshop, subject: Subject, reference: Measurement, tmp_path: Path
) -> None:
    mac()
    check, _ = draw_on(workshop, subject, "CPU_AND_NE", reference, is_needed=True)
    assert (check.state, check.is_needed) == ("ok", True)
    assert (check.figures["picture_db"], check.figures["latents_db"]) == (MOST_DB, MOST_DB)
    assert check.figures["load_cold_s"] > 0
    assert check.figures["load_warm_s"] > 0
    compiled = list((tmp_path / "workshop" / "caches" / "mini-CPU_AND_NE" / "compiled").iterdir())
    assert len(compiled) == 3  # the encoder of pictures is not needed; the second load made none anew
    assert not compiled_dir().exists()  # the user's own


def test_a_stand_in_that_is_slightly_wrong_shows_in_decibels(
    mac: Mac, workshop: Workshop, subject: Subject, reference: Measurement
) -> None:
    mac(CPU_AND_GPU="wrong")
    check, _ = draw_on(workshop, subject, "CPU_AND_GPU", reference)
    assert LEAST_DB < check.figures["picture_db"] < 60
    assert LEAST_DB < check.figures["latents_db"] < 60
    assert check.state == ("ok" if check.figures["picture_db"] >= GOOD_DB else "note")
    assert f"picture {check.figures['picture_db']:.1f} dB" in check.detail


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("garbage", "dB"),
        ("nan", "no numbers"),
        ("no-load", "cannot load"),
        ("no-predict", "Core ML failed in"),
        pytest.param(
            "abort",
            "crashed (SIGABRT)",
            marks=pytest.mark.skipif(sys.platform == "win32", reason="needs signals, not Windows"),
        ),
    ],
)
def test_a_broken_stand_in_fails_as_what_it_is(
    mac: Mac, workshop: Workshop, subject: Subject, reference: Measurement, behaviour: str, words: str
) -> None:
    mac(ALL=behaviour)
    check, _ = draw_on(workshop, subject, "ALL", reference)
    assert check.state == "fail"
    assert words in check.detail
    assert not check.is_needed


def test_a_compiler_that_fails_is_said(
    mac: Mac, workshop: Workshop, subject: Subject, reference: Measurement
) -> None:
    mac(compile="no-load")
    check, _ = draw_on(workshop, subject, "ALL", reference)
    assert (check.state, "cannot compile" in check.detail) == ("fail", True)


def test_what_hangs_is_stopped(mac: Mac, subject: Subject, reference: Measurement, tmp_path: Path) -> None:
    mac(ALL="hang")
    check, _ = draw_on(Workshop(tmp_path, limit_s=4), subject, "ALL", reference)
    assert (check.state, check.detail) == ("fail", "stopped after 4 s")


def test_a_damaged_model_fails_with_its_part(workshop: Workshop, subject: Subject, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(subject.folder, tmp_path / "model"))
    weights = next(folder.glob("*_unet.mlpackage")) / "Data/com.apple.CoreML/weights/weight.bin"
    weights.write_bytes(weights.read_bytes()[:1000])
    check, outcome = draw_reference(workshop, Subject("mine", folder, 2, is_mini=True))
    assert check.state == "fail"
    assert "unet" in check.detail
    assert outcome.arrays == {}


def test_one_part_at_a_time_needs_less_memory_and_draws_the_same(
    workshop: Workshop, subject: Subject, reference: Measurement
) -> None:
    if peak_memory_bytes() is None:
        pytest.skip("needs Linux or macOS, not Windows")
    check = compare_memory(workshop, subject, "ALL", reference)
    assert check.state == "ok"
    assert check.figures["picture_db"] == MOST_DB
    assert check.figures["low_peak_bytes"] < check.figures["peak_bytes"]
    assert check.figures["ratio"] == pytest.approx(
        check.figures["low_peak_bytes"] / check.figures["peak_bytes"]
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux, not Windows or macOS")
def test_the_peak_is_what_was_held_at_most() -> None:
    before = peak_memory_bytes()
    assert before is not None
    size = 64 << 20
    block = np.ones(before + size, np.uint8)  # more than was ever held
    del block
    after = peak_memory_bytes()
    assert after is not None
    assert after >= before + size


def test_psnr_against_a_figure_worked_out_by_hand() -> None:
    expected = np.array([0.0, 100.0])
    assert psnr_db(expected + 1, expected) == pytest.approx(40.0)
    assert psnr_db(expected + 1, expected, peak=10.0) == pytest.approx(20.0)
    assert psnr_db(expected, expected) == MOST_DB
    assert psnr_db(np.array([np.nan, 0.0]), expected) == -MOST_DB
    assert psnr_db(np.zeros(3), expected) == -MOST_DB
    mask = np.array([0.0, -np.inf, 10.0])
    assert psnr_db(mask, mask) == MOST_DB
    assert psnr_db(np.array([0.0, -1e4, 10.0]), mask) == -MOST_DB
    assert psnr_db(np.full(2, 3.0), np.full(2, 2.0)) == pytest.approx(20 * np.log10(2))
