"""Conversion: every part agrees with torch, damage is found, and nothing half-made is left behind."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio2img.coreml import graph
from audio2img.coreml.conversion import ConversionOptions, convert_model, open_source
from audio2img.coreml.conversion.converter import make_job
from audio2img.coreml.conversion.modules import load_component, make_contract
from audio2img.coreml.conversion.parity import answer_of_torch, check_part, run_packages
from audio2img.errors import ModelError

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow, pytest.mark.timeout(900)]
Layouts = Callable[[str], Path]
ENTRY = (sys.executable, "-m", "audio2img", "models", "convert")
NAMES = {"sdxl": {"name": "tiny-sdxl"}}  # of the packages in the layouts that conftest makes
MINI_NAMES = {"name": "audio2img-mini", "version": "audio2img_mini"}
CASES = (
    ("batch1", "unet"), ("chunked", "unet"), ("whole16", "text_encoder"), ("whole16", "unet"),
    ("whole16", "vae_decoder"), ("whole16", "vae_encoder"), ("safety", "safety_checker"),
    ("safety_flags", "safety_checker"), ("sdxl", "text_encoder"), ("sdxl", "text_encoder_2"),
    ("sdxl", "unet"), ("sdxl", "vae_decoder"), ("sdxl", "vae_encoder"),
)  # fmt: skip


def job_of(layout: str, part: str, source: Path, bundle: Path) -> Any:
    """The PartJob whose packages a layout has."""
    options = ConversionOptions(
        batch=1 if layout == "batch1" else 2, chunk_unet=layout == "chunked", **NAMES.get(layout, MINI_NAMES)
    )
    return make_job(open_source(source), part, options, bundle)


def signal_db(found: np.ndarray, expected: np.ndarray) -> float:
    """Range of what is expected over the root mean square error, in dB."""
    error = np.sqrt(np.mean((found.astype(np.float64) - expected) ** 2))
    return float(20 * np.log10((np.ptp(expected) or 1.0) / max(error, 1e-12)))


@pytest.mark.parametrize(("layout", "part"), CASES)
def test_every_part_of_every_layout_agrees_with_torch(
    mini_layout: Layouts, mini_layout_source: Layouts, layout: str, part: str
) -> None:
    job = job_of(layout, part, mini_layout_source(layout), mini_layout(layout))
    contract = make_contract(job)
    inputs, expected = answer_of_torch(contract)
    found = run_packages(job, inputs)
    decibels = {name: signal_db(found[name], expected[name]) for name in contract.outputs}
    print(layout, part, {name: round(value, 1) for name, value in decibels.items()})
    assert min(decibels.values()) > 70
    assert all(np.ptp(expected[name]) > 0 or part == "safety_checker" for name in contract.outputs)


@pytest.mark.parametrize(("layout", "flag"), [("safety", 0.0), ("safety_flags", 1.0)])
def test_a_safety_checker_finds_what_its_thresholds_say(
    mini_layout: Layouts, mini_layout_source: Layouts, layout: str, flag: float
) -> None:
    job = job_of(layout, "safety_checker", mini_layout_source(layout), mini_layout(layout))
    inputs, _ = answer_of_torch(make_contract(job))
    found = run_packages(job, inputs)
    assert found["has_nsfw_concepts"].item() == flag
    assert np.array_equal(found["filtered_images"], inputs["images"] * (1 - flag))


@pytest.mark.parametrize("threshold", [0.0, 0.15, 0.3])
def test_the_safety_checker_is_diffusers(
    mini_layout_source: Layouts, tmp_path: Path, threshold: float
) -> None:
    """Scores and verdict of diffusers' own forward, thresholds near the scores, special care included."""
    import torch

    checker = load_component(str(mini_layout_source("safety")), "safety_checker", None)
    with torch.no_grad():
        checker.concept_embeds_weights.fill_(threshold + 0.005)  # within the reach of special care
        checker.special_care_embeds_weights.fill_(threshold)
    folder = tmp_path / "source"
    shutil.copytree(mini_layout_source("safety"), folder)
    checker.save_pretrained(folder / "safety_checker")
    contract = make_contract(job_of("safety", "safety_checker", folder, tmp_path))
    for seed in range(8):
        inputs = contract.make_inputs(seed)
        with torch.no_grad():
            images, flagged, _ = contract.module(*inputs.values())
            expected_images, expected = checker.forward_onnx(inputs["clip_input"], inputs["images"].clone())
        assert bool(flagged.item()) == bool(expected.item())
        assert torch.equal(images, expected_images)


def test_a_wrong_part_is_found(mini_layout: Layouts, mini_layout_source: Layouts, tmp_path: Path) -> None:
    """Weights that are a little off, and weights that are not there at all."""
    bundle = tmp_path / "bundle"
    shutil.copytree(mini_layout("whole16"), bundle)
    job = job_of("whole16", "vae_decoder", mini_layout_source("whole16"), bundle)
    weights = Path(job.package) / "Data" / "com.apple.CoreML" / "weights" / "weight.bin"
    content = bytearray(weights.read_bytes())
    middle = len(content) // 2
    halves = np.frombuffer(content, dtype=np.float16)[middle // 2 : middle // 2 + 4096]
    content[middle : middle + 8192] = (halves * np.float16(1.5)).tobytes()
    weights.write_bytes(bytes(content))
    with pytest.raises(ModelError, match="the converted vae_decoder is wrong: its image is"):
        check_part(make_contract(job), job)


def test_a_part_too_large_for_this_machine_is_said_to_be_unchecked(
    mini_layout: Layouts, mini_layout_source: Layouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "MAX_PARAMETERS", 1000)
    job = job_of("whole16", "vae_encoder", mini_layout_source("whole16"), mini_layout("whole16"))
    assert check_part(make_contract(job), job) == ({}, "not checked: too large for this machine")


def test_weights_of_unknown_names_are_refused(mini_diffusers: Path, tmp_path: Path) -> None:
    """from_pretrained would make them up."""
    from safetensors.numpy import load_file, save_file

    shutil.copytree(mini_diffusers / "text_encoder", tmp_path / "text_encoder")
    path = tmp_path / "text_encoder" / "model.safetensors"
    tensors = load_file(path)
    save_file({f"other.{name}": value for name, value in tensors.items()}, path, {"format": "pt"})
    with pytest.raises(ModelError, match="are not of this model"):
        load_component(str(tmp_path), "text_encoder", None)


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
    while not list(tmp_path.glob(".new-*/*.mlpackage")) and time.monotonic() < deadline:
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
    from audio2img.coreml.mlpackage import read_description

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


def test_the_map_for_previews_shows_the_picture(mini_layout: Layouts, mini_diffusers: Path) -> None:
    """On drawings that it was not fitted on, against what the decoder makes of their latents.

    Measured: 19.2 dB; the best linear map for such drawings has 21, the mean colour of each 16.
    """
    import torch

    from audio2img.mini_world import random_scene
    from scripts.mini import scenes

    table = json.loads((mini_layout("whole16") / "audio2img.json").read_text(encoding="utf-8"))["latent_rgb"]
    matrix, bias = np.array(table["matrix"]), np.array(table["bias"])
    assert (matrix.shape, bias.shape) == ((4, 3), (3,))
    vae = load_component(str(mini_diffusers), "vae", None)
    rng = random.Random(3)
    errors, spread = [], []
    for _ in range(8):
        drawing = scenes.draw_scene(random_scene(rng, 0.0), rng).picture.astype(np.float32) / 255
        with torch.no_grad():
            latents = vae.encode(torch.from_numpy(drawing.transpose(2, 0, 1)[None] * 2 - 1)).latent_dist.mean
            shown = torch.nn.functional.avg_pool2d(vae.decode(latents).sample / 2 + 0.5, 8).clamp(0, 1)[0]
        guess = np.clip(np.tensordot(latents[0].numpy(), matrix, (0, 0)) + bias, 0, 1)
        colours = shown.numpy().transpose(1, 2, 0)
        errors.append(np.mean((guess - colours) ** 2))
        spread.append(np.mean((colours - colours.mean((0, 1))) ** 2))
    print(
        f"{-10 * np.log10(np.mean(errors)):.1f} dB, the mean colour {-10 * np.log10(np.mean(spread)):.1f} dB"
    )
    assert -10 * np.log10(np.mean(errors)) > 17
    assert np.mean(errors) < 0.6 * np.mean(spread)


def test_the_architecture_of_stable_diffusion_1(mini_diffusers: Path, tmp_path: Path) -> None:
    """What 2.x has otherwise: convolutions around attention, heads by number, quick GELU, old end mark."""
    import torch
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(8)
    source = tmp_path / "source"
    shutil.copytree(mini_diffusers, source)
    text = CLIPTextConfig(
        vocab_size=702, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=77, hidden_act="quick_gelu", eos_token_id=2, bos_token_id=0, pad_token_id=1,
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=16, cross_attention_dim=64, attention_head_dim=8, layers_per_block=2,
        block_out_channels=(32, 64), down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), use_linear_projection=False,
    )  # fmt: skip
    for component, model in {"text_encoder": CLIPTextModel(text), "unet": unet}.items():
        shutil.rmtree(source / component)
        model.save_pretrained(source / component)
    options = ConversionOptions(parts=("text_encoder", "unet"))
    report = convert_model(source, tmp_path / "new", options)
    assert [part.least_db is not None and part.least_db > 60 for part in report.parts] == [True, True]
