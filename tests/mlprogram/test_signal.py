"""The self-check on a UNet in two halves: the second is given what the first hands over."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from audio2img.diagnosis.child import Workshop
from audio2img.diagnosis.draws import Subject, draw_on, draw_reference
from audio2img.diagnosis.parts import check_parts
from audio2img.mlprogram.signal import MOST_DB

STAND_IN = Path(__file__).parents[1] / "stand_in"


@pytest.mark.slow
def test_both_halves_are_run_and_compared(
    core_ml_stand_in: object, mini_bundle: Path, tmp_path: Path, tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(mini_bundle, tmp_path / "model"))
    unet = next(folder.glob("*_unet.mlpackage"))
    stem = unet.name.removesuffix("_unet.mlpackage")
    halves = [folder / f"{stem}_unet_chunk{number}.mlpackage" for number in (1, 2)]
    tools.split_package(unet, *halves)
    shutil.rmtree(unet)
    (tmp_path / "work").mkdir()
    workshop = Workshop(tmp_path / "work")
    subject = Subject("halves", folder, 2, is_mini=False)
    monkeypatch.setenv("PYTHONPATH", str(STAND_IN))
    monkeypatch.setenv("STAND_IN", json.dumps({"CPU_AND_NE": "wrong"}))

    checks = {check.name: check for check in check_parts(workshop, subject, "CPU_AND_NE")}
    for half in ("unet chunk1", "unet chunk2"):
        decibels = checks[f"halves: {half}"].figures["outputs_db"]
        assert 30 < min(decibels.values()) < 80
    assert set(checks["halves: unet chunk2"].figures["outputs_db"]) == {"noise_pred"}
    assert 20 < min(checks["halves: unet chunk2, operations"].figures["least_db"].values()) < 80

    reference = draw_reference(workshop, subject)[1]
    check, _ = draw_on(workshop, subject, "ALL", reference)
    assert check.figures["picture_db"] == MOST_DB
