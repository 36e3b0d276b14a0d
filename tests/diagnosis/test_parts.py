"""Part by part on stand-ins: outputs, operations, and what cannot be compared."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from audio2img.backends.coreml.bundle import load_bundle
from audio2img.diagnosis.checks import Check
from audio2img.diagnosis.child import Workshop
from audio2img.diagnosis.draws import Subject
from audio2img.diagnosis.parts import check_parts, make_inputs
from audio2img.mlprogram.signal import MOST_DB

pytestmark = pytest.mark.slow

Mac = Callable[..., None]
PARTS = ("text encoder", "unet", "vae decoder", "vae encoder")


def by_name(workshop: Workshop, subject: Subject, units: str = "ALL") -> dict[str, Check]:
    return {check.name: check for check in check_parts(workshop, subject, units)}


def test_inputs_are_those_of_the_contract_and_always_the_same(mini_bundle: Path) -> None:
    bundle = load_bundle(mini_bundle)
    first, second = make_inputs(bundle), make_inputs(bundle)
    wanted = {f"{part.name}/{spec}" for part in bundle.parts.values() for spec in part.inputs}
    assert set(first) == wanted
    for key, value in first.items():
        part, name = key.split("/")
        spec = bundle.parts[part].inputs[name]
        assert (value.shape, value.dtype) == (spec.shape, spec.dtype)
        np.testing.assert_array_equal(value, second[key])
    assert len(np.unique(first["text_encoder/input_ids"])) > 20


def test_without_a_mac_the_parts_run_and_nothing_is_claimed(workshop: Workshop, subject: Subject) -> None:
    checks = by_name(workshop, subject)
    assert set(checks) == {f"mini: {part}{more}" for part in PARTS for more in ("", ", operations")}
    for part in PARTS:
        check = checks[f"mini: {part}"]
        assert (check.state, check.is_needed) == ("ok", True)
        assert check.figures["unknown_operations"] == []
        assert check.figures["call_s"] > 0
        assert "outputs_db" not in check.figures
        assert checks[f"mini: {part}, operations"].state == "skip"
    assert checks["mini: unet"].figures["operations"]["conv"] > 10


@pytest.mark.slow
def test_a_right_stand_in_agrees_in_every_output_and_operation(
    mac: Mac, workshop: Workshop, subject: Subject
) -> None:
    mac()
    checks = by_name(workshop, subject)
    assert {check.state for check in checks.values()} == {"ok"}
    assert checks["mini: unet"].figures["outputs_db"] == {"noise_pred": MOST_DB}
    kinds = checks["mini: unet, operations"].figures["least_db"]
    assert {"conv", "matmul", "softmax", "silu", "layer_norm"} <= set(kinds)
    assert set(kinds.values()) == {MOST_DB}


@pytest.mark.slow
def test_a_stand_in_that_is_wrong_shows_in_outputs_and_operations(
    mac: Mac, workshop: Workshop, subject: Subject
) -> None:
    mac(CPU_AND_GPU="wrong")
    checks = by_name(workshop, subject, "CPU_AND_GPU")
    for part in PARTS:
        decibels = checks[f"mini: {part}"].figures["outputs_db"].values()
        assert 30 < min(decibels) <= max(decibels) < 80
        operations = checks[f"mini: {part}, operations"].figures["least_db"].values()
        assert 20 < min(operations) < 80  # indices, whole numbers, come out right all the same


@pytest.mark.slow
@pytest.mark.parametrize(
    ("behaviour", "words"),
    [("nan", "gives no numbers in"), ("no-load", "cannot load")],
)
def test_a_broken_stand_in_fails_each_part(
    mac: Mac, workshop: Workshop, subject: Subject, behaviour: str, words: str
) -> None:
    mac(ALL=behaviour)
    checks = by_name(workshop, subject)
    for part in PARTS:
        check = checks[f"mini: {part}"]
        assert (check.state, check.is_needed) == ("fail", True)
        assert words in check.detail
    operations = checks["mini: unet, operations"]
    if behaviour == "nan":
        assert (operations.state, operations.is_needed) == ("fail", False)
        assert operations.figures["first_lost"] in operations.detail
    else:
        assert operations.state == "skip"


def test_a_compiled_model_is_compared_with_core_ml_on_the_processor(
    mac: Mac, workshop: Workshop, mini_bundle: Path, as_compiled: Callable[[Path, Path], Path], tmp_path: Path
) -> None:
    mac(CPU_AND_NE="wrong")
    folder = as_compiled(mini_bundle, tmp_path / "compiled")
    add_histogram(folder / "Unet.mlmodelc", {"Ios16.layerNorm": 4, "Concat": 3, "Ios16.topk": 1})
    checks = by_name(workshop, Subject("mine", folder, 2, is_mini=False), "CPU_AND_NE")
    unet = checks["mine: unet"]
    assert unet.figures["against"] == "CPU_ONLY"
    assert 30 < unet.figures["outputs_db"]["noise_pred"] < 80
    assert unet.figures["operations"] == {"concat": 3, "layer_norm": 4, "topk": 1}
    assert unet.figures["unknown_operations"] == ["topk"]
    assert checks["mine: unet, operations"].state == "skip"
    assert "its operations are not listed" in checks["mine: vae decoder"].detail


def add_histogram(compiled: Path, histogram: dict[str, int]) -> None:
    path = compiled / "metadata.json"
    (content,) = json.loads(path.read_text(encoding="utf-8"))
    content["mlProgramOperationTypeHistogram"] = histogram
    path.write_text(json.dumps([content]), encoding="utf-8")


@pytest.mark.slow
def test_what_is_too_large_for_the_reference_is_compared_with_core_ml_on_the_processor(
    mac: Mac, workshop: Workshop, subject: Subject
) -> None:
    mac(ALL="wrong", max_parameters="1000")
    checks = by_name(workshop, subject)
    assert checks["mini: unet"].figures["against"] == "CPU_ONLY"
    assert checks["mini: unet"].figures["outputs_db"]["noise_pred"] < 80
    operations = checks["mini: unet, operations"]
    assert operations.state == "skip"
    assert "million parameters" in operations.detail


def test_a_bundle_that_is_none_fails_as_a_whole(workshop: Workshop, tmp_path: Path) -> None:
    (check,) = check_parts(workshop, Subject("mine", tmp_path, 2, is_mini=False), "ALL")
    assert (check.name, check.state, check.is_needed) == ("parts of mine", "fail", True)
    assert check.remedy


def test_a_damaged_part_of_an_installed_model_fails_anywhere(
    workshop: Workshop, mini_bundle: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(mini_bundle, tmp_path / "model"))
    weights = next(folder.glob("*_unet.mlpackage")) / "Data/com.apple.CoreML/weights/weight.bin"
    weights.write_bytes(weights.read_bytes()[:1000])
    checks = by_name(workshop, Subject("mine", folder, 2, is_mini=False))
    assert (checks["mine: unet"].state, checks["mine: unet"].is_needed) == ("fail", True)
    assert checks["mine: vae decoder"].state == "ok"


@pytest.mark.skipif(sys.platform == "darwin", reason="needs Linux or Windows")
def test_a_model_for_macs_is_no_failure_elsewhere(
    workshop: Workshop, mini_bundle: Path, as_compiled: Callable[[Path, Path], Path], tmp_path: Path
) -> None:
    folder = as_compiled(mini_bundle, tmp_path / "compiled")
    checks = by_name(workshop, Subject("mine", folder, 2, is_mini=False))
    assert checks["mine: unet"].state == "skip"
    assert "not compiled models" in checks["mine: unet"].detail
