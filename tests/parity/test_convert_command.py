"""Whole conversions, most of them by the command: what is said, and that nothing half-made is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from audio2img.conversion import ConversionOptions, convert_model

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow, pytest.mark.timeout(900)]
ENTRY = (sys.executable, "-m", "audio2img", "models", "convert")


def call(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ENTRY, *map(str, arguments)], capture_output=True, text=True, timeout=600, check=False, **options
    )


def test_damaged_weights_are_refused(mini_diffusers: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(mini_diffusers, source)
    weights = source / "unet" / "diffusion_pytorch_model.safetensors"
    os.truncate(weights, weights.stat().st_size - 100)
    done = call(source, tmp_path / "new")
    assert done.returncode == 4, done.stderr
    assert "diffusion_pytorch_model.safetensors is damaged" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"source"}


@pytest.mark.parametrize("exists", [False, True])
def test_an_interrupted_conversion_leaves_nothing(mini_diffusers: Path, tmp_path: Path, exists: bool) -> None:
    dest = tmp_path / "new"
    if exists:
        dest.mkdir()
        (dest / "audio2img.json").write_text("{}", encoding="utf-8")
    process = subprocess.Popen(
        [*ENTRY, str(mini_diffusers), str(dest), "--replace"], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".audio2img-*.part/*.mlpackage")) and time.monotonic() < deadline:
        time.sleep(0.05)  # until the first part is there
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=60)
    assert process.returncode == 130, words
    assert words.splitlines()[-1] == "audio2img: stopped"
    assert [path.name for path in tmp_path.iterdir()] == (["new"] if exists else [])
    if exists:
        assert (dest / "audio2img.json").read_text(encoding="utf-8") == "{}"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_conversions_give_the_same_bytes(mini_diffusers: Path, tmp_path: Path) -> None:
    options = ConversionOptions(bits=8, parts=("text_encoder", "vae_decoder"))
    first, second = (convert_model(mini_diffusers, tmp_path / name, options).folder for name in "ab")
    assert contents(first) == contents(second)


def test_palettized_halves_agree_and_are_small(mini_diffusers: Path, tmp_path: Path) -> None:
    options = ConversionOptions(bits=6, parts=("unet",), chunk_unet=True)
    report = convert_model(mini_diffusers, tmp_path / "new", options)
    (part,) = report.parts
    assert part.size_bytes < 0.6 * 8_000_000
    assert part.least_db is not None
    assert part.least_db > 30


def test_another_size_by_the_command_line(mini_diffusers: Path, tmp_path: Path) -> None:
    """A UNet for wide pictures; stdout is one JSON object, stderr says what goes on."""
    dest = tmp_path / "wide"
    done = call(mini_diffusers, dest, "--parts", "unet", "--size", "192x128", "--batch", "1", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["folder"] == str(dest)
    assert report["parts"][0]["psnr_db"] > 70
    assert report["latent_rgb_db"] is None
    assert "[1/1] converting the unet" in done.stderr
    from audio2img.mlprogram.mlpackage import read_description

    shapes = {spec.name: spec.shape for spec in read_description(next(dest.glob("*.mlpackage"))).inputs}
    assert shapes["sample"] == (1, 4, 16, 24)


def test_quiet_prints_the_folder_alone(mini_diffusers: Path, tmp_path: Path) -> None:
    done = call(mini_diffusers, tmp_path / "new", "--parts", "text_encoder", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{tmp_path / 'new'}\n", "")


def test_a_hub_model_in_the_cache_with_float16_files(mini_diffusers: Path, tmp_path: Path) -> None:
    """Offline, as all tests are: the snapshot that an earlier download left."""
    repository = tmp_path / "hub" / "models--someone--tiny"
    snapshot = repository / "snapshots" / ("0" * 40)
    shutil.copytree(mini_diffusers, snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40, encoding="utf-8")
    weights = snapshot / "text_encoder" / "model.safetensors"
    weights.rename(weights.with_name("model.fp16.safetensors"))
    env = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub")}
    done = call("someone/tiny", tmp_path / "new", "--parts", "text_encoder", env=env)
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert "Stable_Diffusion_version_someone_tiny_text_encoder.mlpackage" in names
