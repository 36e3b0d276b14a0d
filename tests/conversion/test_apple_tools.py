"""What Apple's package is asked, and what is made of its answer; the package itself is not here."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio2img.backends.coreml.bundle import load_bundle
from audio2img.conversion import ConversionOptions, Source, converter, open_source
from audio2img.conversion.apple_tools import driver, environment, legacy, oracle
from audio2img.conversion.apple_tools.converter import apple_arguments, convert_with_apple
from audio2img.diffusion.schedulers import SchedulerConfig
from audio2img.errors import MachineError, ModelError, UsageError
from audio2img.types import ImageRequest

MINI = Path(__file__).resolve().parents[2] / "models" / "mini" / "diffusers"


@pytest.fixture(scope="session")
def mini_source() -> Source:
    return open_source(MINI)


def test_what_the_converter_is_asked(mini_source: Source, tmp_path: Path) -> None:
    arguments = apple_arguments(mini_source, tmp_path, ConversionOptions(), "SPLIT_EINSUM_V2")
    assert arguments == [
        "--model-version", str(MINI), "-o", str(tmp_path),
        "--convert-text-encoder", "--convert-unet", "--convert-vae-decoder", "--convert-vae-encoder",
        "--attention-implementation", "SPLIT_EINSUM_V2", "--latent-h", "16", "--latent-w", "16",
        "--compute-unit", "CPU_AND_NE",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"batch": 1}, ["--unet-batch-one"]),
        ({"chunk_unet": True}, ["--chunk-unet"]),
        ({"bits": 6}, ["--quantize-nbits", "6"]),
        ({"size": (192, 128)}, ["--latent-h", "16", "--latent-w", "24"]),
    ],
)
def test_options_of_the_converter(
    mini_source: Source, tmp_path: Path, options: dict[str, Any], wanted: list[str]
) -> None:
    arguments = apple_arguments(mini_source, tmp_path, ConversionOptions(**options), "ORIGINAL")
    assert " ".join(wanted) in " ".join(arguments)
    assert arguments[arguments.index("--compute-unit") + 1] == "CPU_AND_GPU"


def test_sdxl_is_told_and_its_text_encoders_asked_for_once(mini_source: Source, tmp_path: Path) -> None:
    sdxl = replace(mini_source, kind="sdxl", parts=("text_encoder", "text_encoder_2", "unet"))
    arguments = apple_arguments(sdxl, tmp_path, ConversionOptions(), "ORIGINAL")
    assert "--xl-version" in arguments
    assert arguments.count("--convert-text-encoder") == 1


def test_what_the_converter_cannot_do(mini_source: Source, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="only a whole UNet"):
        apple_arguments(mini_source, tmp_path, ConversionOptions(bits=8, chunk_unet=True), "ORIGINAL")


STAND_IN = """
import shutil, sys
from pathlib import Path
_, module, *arguments = sys.argv[1:]
given = dict(zip(arguments, arguments[1:]))
model, folder = given["--model-version"], Path(given["-o"])
assert (Path(model) / "model_index.json").is_file(), model
for package in Path({bundle!r}).glob("*.mlpackage"):
    part = package.stem.split("audio2img_mini_")[1]
    name = f"Stable_Diffusion_version_{{model}}_{{part}}.mlpackage".replace("/", "_")
    shutil.copytree(package, folder / name)
    if part == "unet" and {chunked}:
        for number in (1, 2):
            shutil.copytree(package, folder / name.replace("unet", f"unet_chunk{{number}}"))
print("words of the converter")
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mini_bundle: Path) -> Callable[[bool], None]:
    """An environment whose Python, whatever it is called with, leaves what Apple's converter would leave."""

    def make(chunked: bool) -> None:
        (tmp_path / "env" / "bin").mkdir(parents=True)
        script = tmp_path / "stand_in.py"
        script.write_text(STAND_IN.format(bundle=str(mini_bundle), chunked=chunked), encoding="utf-8")
        python = tmp_path / "env" / "bin" / "python"
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n', encoding="utf-8")
        python.chmod(0o755)
        monkeypatch.setenv(environment.ENVIRONMENT_VARIABLE, str(tmp_path / "env"))
        monkeypatch.setattr(converter, "REQUIRED_PACKAGES", ("no_such_package",))

    return make


def test_what_the_converter_leaves_is_collected(
    stand_in: Callable[[bool], None], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stand_in(False)
    report = convert_with_apple(MINI, tmp_path / "new" / "mini", ConversionOptions(name="a/b"))
    bundle = load_bundle(tmp_path / "new" / "mini")
    assert bundle.parts["unet"].path.name == "Stable_Diffusion_version_a_b_unet.mlpackage"
    assert bundle.settings.name == "a/b"
    assert [part.part for part in report.parts] == ["text_encoder", "unet", "vae_decoder", "vae_encoder"]
    assert all(part.unchecked.startswith("not checked") for part in report.parts)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mini"]
    out, err = capfd.readouterr()
    assert out == ""
    assert "words of the converter" in err


def test_of_a_unet_in_halves_only_the_halves_are_kept(
    stand_in: Callable[[bool], None], tmp_path: Path
) -> None:
    stand_in(True)
    convert_with_apple(MINI, tmp_path / "new", ConversionOptions(chunk_unet=True, name="m"))
    names = {path.name for path in (tmp_path / "new").glob("*unet*")}
    assert names == {f"Stable_Diffusion_version_m_unet_chunk{number}.mlpackage" for number in (1, 2)}


def test_a_part_that_the_converter_did_not_make(stand_in: Callable[[bool], None], tmp_path: Path) -> None:
    stand_in(False)
    with pytest.raises(ModelError, match="made no unet chunk1"):
        convert_with_apple(MINI, tmp_path / "new", ConversionOptions(chunk_unet=True))
    assert not (tmp_path / "new").exists()


def test_the_pre_analysis_is_asked(tmp_path: Path) -> None:
    assert environment.pre_analysis_arguments("a/b", tmp_path, 8, 3) == [
        "--model-version", "a/b", "-o", str(tmp_path), "--default-nbits", "8", "--num-recipes", "3",
    ]  # fmt: skip


def test_without_an_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment.ENVIRONMENT_VARIABLE, str(tmp_path))
    with pytest.raises(MachineError) as caught:
        environment.run_module("anything", [])
    assert caught.value.remedy == "make it: python scripts/apple_env.py"


def test_a_module_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an environment that has a Python but not Apple's package, as a broken one may."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.setenv(environment.ENVIRONMENT_VARIABLE, str(tmp_path))
    with pytest.raises(ModelError, match=r"torch2coreml failed with exit code 1"):
        environment.run_module(environment.CONVERTER, ["--help"])


@pytest.mark.parametrize(
    ("component", "names", "renamed"),
    [
        ("text_encoder", ["encoder.x", "y"], {"encoder.x": "text_model.encoder.x", "y": "text_model.y"}),
        ("text_encoder", ["text_model.embeddings.x"], {}),
        ("safety_checker", ["vision_model.a", "concepts"], {"vision_model.a": "vision_model.vision_model.a"}),
        ("safety_checker", ["vision_model.vision_model.a", "concept_embeds"], {}),
        ("unet", ["embeddings.x"], {}),
    ],
)  # fmt: skip
def test_old_names(component: str, names: list[str], renamed: dict[str, str]) -> None:
    assert legacy.old_names(component, names) == renamed


def read_tensors(path: Path) -> dict[str, bytes]:
    """Name -> type, shape and bytes of a safetensors file's tensors."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    body = data[8 + length :]
    return {
        name: f"{entry['dtype']}{entry['shape']}".encode() + body[slice(*entry["data_offsets"])]
        for name, entry in header.items()
    }


def test_a_folder_as_older_packages_read_it(tmp_path: Path) -> None:
    view = tmp_path / "view"
    legacy.view_folder(MINI, view)
    assert {path.name for path in view.iterdir()} == {path.name for path in MINI.iterdir()}
    before = read_tensors(MINI / "text_encoder" / "model.safetensors")
    after = read_tensors(view / "text_encoder" / "model.safetensors")
    assert all(name.startswith("text_model.") for name in after)
    assert {name.removeprefix("text_model."): value for name, value in after.items()} == {
        name.removeprefix("text_model."): value for name, value in before.items()
    }
    assert (view / "unet" / "config.json").read_bytes() == (MINI / "unet" / "config.json").read_bytes()


@pytest.mark.parametrize(
    "content", [b"", b"12345678", struct.pack("<Q", 2**60), struct.pack("<Q", 2) + b"[]"]
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    shutil.copytree(MINI, tmp_path / "source")
    (tmp_path / "source" / "text_encoder" / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="is damaged"):
        legacy.view_folder(tmp_path / "source", tmp_path / "view")


def test_the_task_of_the_driver(mini_bundle: Path, tmp_path: Path) -> None:
    bundle = load_bundle(mini_bundle)
    request = ImageRequest("a red house", "night", seed=3, steps=8, guidance_scale=4.0)
    task = oracle.make_task(bundle, request, "CPU_ONLY", tmp_path)
    assert json.loads(json.dumps(task)) == task
    assert set(task["parts"]) == {"text_encoder", "unet", "vae_decoder"}
    assert all(Path(path).is_dir() for path in task["parts"].values())
    assert (Path(task["tokenizer"]) / "vocab.json").is_file()
    assert (task["prompt"], task["negative_prompt"]) == ("a red house", "night")
    assert (task["steps"], task["guidance_scale"], task["compute_unit"]) == (8, 4.0, "CPU_ONLY")
    assert (task["scaling_factor"], task["pad_token"]) == (1.0, "<|endoftext|>")
    assert task["scheduler_class"] == "DPMSolverMultistepScheduler"
    assert task["scheduler"]["beta_schedule"] == "scaled_linear"


def test_what_apples_pipeline_cannot_draw(mini_bundle: Path, tmp_path: Path) -> None:
    bundle = load_bundle(mini_bundle)
    with pytest.raises(UsageError, match="euler-a"):
        oracle.make_task(bundle, ImageRequest("x", scheduler="euler-a"), "ALL", tmp_path)
    parts = {name: part for name, part in bundle.parts.items() if name != "unet"}
    with pytest.raises(UsageError, match="whole UNet"):
        oracle.make_task(replace(bundle, parts=parts), ImageRequest("x"), "ALL", tmp_path)


@pytest.mark.parametrize("name", oracle.SCHEDULER_CLASSES)
def test_the_scheduler_of_the_driver_has_no_empty_settings(name: str) -> None:
    table = oracle.scheduler_config(name, SchedulerConfig(prediction_type="v_prediction"))
    assert table["prediction_type"] == "v_prediction"
    assert None not in table.values()
    assert ("algorithm_type" in table) == (name == "dpmpp-2m")


def test_the_driver_says_when_apples_package_is_missing(mini_bundle: Path, tmp_path: Path) -> None:
    """Run as it is run there: by path, in a Python that has no audio2img on its way."""
    task = oracle.make_task(load_bundle(mini_bundle), ImageRequest("x"), "ALL", tmp_path)
    (tmp_path / "task.json").write_text(json.dumps(task), encoding="utf-8")
    command = [sys.executable, "-I", driver.__file__, tmp_path / "task.json", tmp_path / "report.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    with pytest.raises(ModelError, match="Apple's package cannot be imported"):
        oracle.read_drawing(tmp_path, done.stderr)


def test_what_the_driver_drew_is_read(tmp_path: Path) -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    np.save(tmp_path / "picture.npy", pixels)
    timings = driver.timings(1.0, 3.0, [5.0, 5.5, 6.0], 7.0)
    (tmp_path / "report.json").write_text(json.dumps({"timings_s": timings}), encoding="utf-8")
    drawing = oracle.read_drawing(tmp_path, "")
    np.testing.assert_array_equal(drawing.pixels, pixels)
    assert drawing.timings_s == {"load": 2.0, "first_step": 2.0, "step": 0.5, "total": 6.0}


def test_a_driver_that_died_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="died: Killed: 9"):
        oracle.read_drawing(tmp_path, "loading\nKilled: 9\n")
