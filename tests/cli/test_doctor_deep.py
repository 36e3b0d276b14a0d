"""`audio2img doctor --deep` as a process: here, and on Macs that the reference runtime stands in for."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Doctor = Callable[..., subprocess.CompletedProcess[str]]

STAND_IN = Path(__file__).parents[1] / "stand_in"
LIMIT_S = 580  # dozens of processes, each of which imports what drawing needs
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    """`audio2img doctor --deep` with these options, in an environment with more in it."""

    def call(*options: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "audio2img", "doctor", "--deep", *options],
            env={**os.environ, **(env or {})},
            cwd=tmp_path,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            timeout=LIMIT_S,
        )

    return call


def mac(**plan: str) -> dict[str, str]:
    """The environment of a Mac that does as `plan` says."""
    return {"PYTHONPATH": str(STAND_IN), "STAND_IN": json.dumps(plan)}


def rows(markdown: str) -> dict[str, tuple[str, str]]:
    """name -> (result, what was found) of the one table that `markdown` is."""
    lines = markdown.splitlines()
    assert lines[:2] == ["| check | result | found |", "| --- | --- | --- |"]
    cells = [re.split(r"(?<!\\) \| ", line[2:-2]) for line in lines[2:]]
    assert all(len(row) == 3 for row in cells)
    return {name: (result, found) for name, result, found in cells}


@pytest.mark.skipif(sys.platform == "darwin", reason="needs Linux or Windows")
def test_without_a_mac_it_does_what_it_can_and_lists_the_rest(doctor: Doctor) -> None:
    done = doctor("--against-apple")
    assert done.returncode == 0, done.stderr
    table = rows(done.stdout)
    for name in ("speech", "draw mini, reference", "low memory, mini", "mini: unet", "mini: vae decoder"):
        assert table[name][0] == "ok", (name, table[name])
    skipped = {name: found for name, (result, found) in table.items() if result == "skip"}
    units = {f"draw mini, {units}" for units in ("CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE", "ALL")}
    assert {*units, "metal", "mini: unet, operations", "against apple"} <= skipped.keys()
    assert "python scripts/apple_env.py" in skipped.pop("against apple")
    assert all("needs macOS" in found for found in skipped.values())
    assert "microphone" in table
    assert re.findall(r"^\[\d/7\]", done.stderr, re.MULTILINE) == [f"[{n}/7]" for n in range(1, 8)]


def test_a_mac_that_works_compares_everything(
    doctor: Doctor,
    private_home: Path,
    as_compiled: Callable[[Path, Path], Path],
    mini_bundle: Path,
    tmp_path: Path,
) -> None:
    """With an installed model: compiled, so that only its outputs are seen."""
    folder = as_compiled(mini_bundle, tmp_path / "mine" / "split_einsum" / "compiled")
    done = doctor("--model", str(folder), "--json", "--quiet", env=mac(macos="26.1"))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr + done.stdout
    table = {check["name"]: check for check in json.loads(done.stdout)}
    for units in ("CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE", "ALL"):
        check = table[f"draw mini, {units}"]
        assert check["state"] == "ok"
        assert check["figures"]["picture_db"] == check["figures"]["latents_db"] == 150.0
        assert {"load_cold_s", "load_warm_s", "step_s", "peak_bytes"} <= check["figures"].keys()
        assert check["is_needed"] == (units == "ALL")
    assert "macOS 26.1" in table["core ml"]["detail"]
    assert table["draw compiled, reference"]["state"] == "skip"
    assert table["draw compiled, ALL"]["detail"].startswith("nothing to compare with; step ")
    assert table["compiled: unet"]["figures"]["against"] == "CPU_ONLY"
    assert table["compiled: unet"]["figures"]["outputs_db"] == {"noise_pred": 150.0}
    assert table["compiled: unet, operations"]["state"] == "skip"
    assert not list(private_home.rglob("*.mlmodelc"))  # nothing of the user's own cache was touched


def test_a_mac_in_trouble_says_what_is_wrong_where(doctor: Doctor) -> None:
    plan = {"CPU_ONLY": "wrong", "CPU_AND_GPU": "garbage", "CPU_AND_NE": "no-load", "ALL": "nan"}
    done = doctor(env=mac(**plan))
    assert done.returncode == 5
    table = rows(done.stdout)
    found = re.match(r"picture ([\d.]+) dB", table["draw mini, CPU_ONLY"][1])
    assert found is not None
    assert 20 < float(found[1]) < 60
    assert table["draw mini, CPU_AND_GPU"][0] == "**fail**"
    assert "cannot load" in table["draw mini, CPU_AND_NE"][1]
    assert "no numbers" in table["draw mini, ALL"][1]
    assert "no numbers" in table["mini: vae decoder"][1]
    assert table["low memory, mini"][0] == "skip"
    assert "draw mini, ALL" in done.stderr.splitlines()[-1]
    assert "CPU_AND_GPU" not in done.stderr.splitlines()[-1]  # nothing is drawn on it
