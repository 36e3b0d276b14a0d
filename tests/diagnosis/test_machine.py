"""What the system says of itself, in the words of real Macs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from audio2img.backends.coreml import apple, units
from audio2img.config import Settings
from audio2img.diagnosis import machine
from audio2img.diagnosis.machine import Gpu, parse_gpus
from audio2img.files import size_on_disk

M1 = {
    "SPDisplaysDataType": [
        {
            "_name": "Apple M1 Pro",
            "spdisplays_mtlgpufamilysupport": "spdisplays_metal3",
            "spdisplays_vendor": "sppci_vendor_Apple",
            "sppci_bus": "spdisplays_builtin",
            "sppci_cores": "16",
            "sppci_device_type": "spdisplays_gpu",
            "sppci_model": "Apple M1 Pro",
        }
    ]
}
TWO_CARDS = {
    "SPDisplaysDataType": [
        {"_name": "kHW_IntelUHDGraphics630Item", "sppci_model": "Intel UHD Graphics 630",
         "spdisplays_metalfamily": "spdisplays_metalfeaturesetfamily11"},
        {"_name": "kHW_AMDRadeonPro5300MItem", "sppci_model": "AMD Radeon Pro 5300M",
         "spdisplays_metal": "spdisplays_supported"},
    ]
}  # fmt: skip
VIRTUAL = {"SPDisplaysDataType": [{"_name": "Display", "spdisplays_metal": "spdisplays_notsupported"}]}


@pytest.mark.parametrize(
    ("answer", "cards"),
    [
        (M1, (Gpu("Apple M1 Pro", 16, "metal3"),)),
        (
            TWO_CARDS,
            (
                Gpu("Intel UHD Graphics 630", None, "metalfeaturesetfamily11"),
                Gpu("AMD Radeon Pro 5300M", None, "metal"),
            ),
        ),
        (VIRTUAL, (Gpu("Display", None, ""),)),
        ({"SPDisplaysDataType": []}, ()),
    ],
    ids=["m1", "intel", "virtual", "none"],
)
def test_graphics_cards(answer: object, cards: tuple[Gpu, ...]) -> None:
    assert parse_gpus(json.dumps(answer)) == cards


@pytest.mark.parametrize("answer", ["", "no json", "[]", "{}", '{"SPDisplaysDataType": [3]}'])
def test_other_words_are_a_value_error(answer: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_gpus(answer)


def program(path: Path, answer: str) -> str:
    """A program of the system that gives this answer."""
    (path.parent / "answer").write_text(answer, encoding="utf-8")
    path.write_text(f"#!/bin/sh\ncat {path.parent / 'answer'}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell, not Windows")
@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [
        (json.dumps(M1), "ok", "Apple M1 Pro (metal3, 16 cores)"),
        (json.dumps(VIRTUAL), "note", "Display, without Metal"),
        ("oops", "note", "does not say"),
    ],
    ids=["m1", "virtual", "garbage"],
)
def test_metal_as_the_system_profiler_tells_it(
    core_ml_stand_in: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    state: str,
    words: str,
) -> None:
    monkeypatch.setattr(machine, "SYSTEM_PROFILER", program(tmp_path / "system_profiler", answer))
    check = machine.check_gpu()
    assert check.state == state
    assert words in check.detail


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell, not Windows")
def test_the_chip_of_a_mac(core_ml_stand_in: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SYSCTL", program(tmp_path / "sysctl", "Apple M2 Max\n"))
    assert machine.chip_name() == "Apple M2 Max"


def test_without_a_mac_metal_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apple, "is_here", lambda: False)
    assert machine.check_gpu().state == "skip"
    assert machine.check_core_ml().state == "note"
    assert machine.check_compute(Settings()).state == "note"


@pytest.mark.parametrize(("cores", "chosen"), [(8, "CPU_AND_GPU"), (4, "CPU_AND_NE")])
def test_the_compute_choice_comes_with_its_reason(
    core_ml_stand_in: object, monkeypatch: pytest.MonkeyPatch, cores: int, chosen: str
) -> None:
    monkeypatch.setattr(units, "performance_cores", lambda: cores)
    monkeypatch.setattr(machine, "performance_cores", lambda: cores)
    check = machine.check_compute(Settings())
    assert check.figures["units"] == chosen
    assert check.detail.startswith(f"{chosen} and ")
    assert f"{cores} performance cores" in check.detail


@pytest.mark.parametrize(("size", "mode"), [(8 << 30, "on"), (16 << 30, "off")])
def test_low_memory_mode_by_the_size_of_memory(
    core_ml_stand_in: object, monkeypatch: pytest.MonkeyPatch, size: int, mode: str
) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: 4096 if name == "SC_PAGE_SIZE" else size // 4096)
    check = machine.check_memory(Settings())
    assert check.figures == {"size_bytes": size, "low_memory": mode == "on"}
    assert f"{size >> 30}.0 GiB; low memory mode is {mode}" in check.detail


def test_the_settings_decide_over_the_size(core_ml_stand_in: object) -> None:
    settings = Settings(low_memory=True, compute_units="CPU_ONLY")
    assert "low memory mode is on (set in the settings)" in machine.check_memory(settings).detail
    assert machine.check_compute(settings).detail.startswith("CPU_ONLY")


def test_the_compiled_cache_is_counted(core_ml_stand_in: object, mini_bundle: Path) -> None:
    from audio2img.backends.coreml.compiled import compile_once

    assert machine.check_compiled_cache().figures == {"models": 0, "size_bytes": 0}
    entry = compile_once(next(mini_bundle.glob("*_vae_encoder.mlpackage")))
    check = machine.check_compiled_cache()
    assert check.figures == {"models": 1, "size_bytes": size_on_disk(entry)}
    assert "models prune" in check.remedy
