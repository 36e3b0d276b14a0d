"""Conversion: every part agrees with torch, and a wrong one is found."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio2img.conversion import ConversionOptions, convert_model, open_source
from audio2img.conversion.converter import make_job
from audio2img.conversion.modules import load_component, make_signature
from audio2img.conversion.parity import answer_of_torch, check_part, run_packages
from audio2img.errors import ModelError
from audio2img.installation import how_to_repair
from audio2img.mlprogram import graph

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow, pytest.mark.timeout(900)]
Layouts = Callable[[str], Path]
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
    signature = make_signature(job)
    inputs, expected = answer_of_torch(signature)
    found = run_packages(job, inputs)
    decibels = {name: signal_db(found[name], expected[name]) for name in signature.outputs}
    print(layout, part, {name: round(value, 1) for name, value in decibels.items()})
    assert min(decibels.values()) > 70
    assert all(np.ptp(expected[name]) > 0 or part == "safety_checker" for name in signature.outputs)


@pytest.mark.parametrize(("layout", "flag"), [("safety", 0.0), ("safety_flags", 1.0)])
def test_a_safety_checker_finds_what_its_thresholds_say(
    mini_layout: Layouts, mini_layout_source: Layouts, layout: str, flag: float
) -> None:
    job = job_of(layout, "safety_checker", mini_layout_source(layout), mini_layout(layout))
    inputs, _ = answer_of_torch(make_signature(job))
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
    signature = make_signature(job_of("safety", "safety_checker", folder, tmp_path))
    for seed in range(8):
        inputs = signature.make_inputs(seed)
        with torch.no_grad():
            images, flagged, _ = signature.module(*inputs.values())
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
        check_part(make_signature(job), job)


def test_a_part_too_large_for_this_machine_is_said_to_be_unchecked(
    mini_layout: Layouts, mini_layout_source: Layouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "MAX_PARAMETERS", 1000)
    job = job_of("whole16", "vae_encoder", mini_layout_source("whole16"), mini_layout("whole16"))
    assert check_part(make_signature(job), job) == ({}, "not checked: too large for this machine")


def test_weights_of_unknown_names_are_refused(mini_diffusers: Path, tmp_path: Path) -> None:
    """from_pretrained would make them up."""
    from safetensors.numpy import load_file, save_file

    shutil.copytree(mini_diffusers / "text_encoder", tmp_path / "text_encoder")
    path = tmp_path / "text_encoder" / "model.safetensors"
    tensors = load_file(path)
    save_file({f"other.{name}": value for name, value in tensors.items()}, path, {"format": "pt"})
    with pytest.raises(ModelError, match="are not of this model") as caught:
        load_component(str(tmp_path), "text_encoder", None)
    assert how_to_repair("transformers", "diffusers") in caught.value.remedy


def test_the_map_for_previews_shows_the_picture(mini_layout: Layouts, mini_diffusers: Path) -> None:
    """On drawings that it was not fitted on, against what the decoder makes of their latents.

    Measured: 19.2 dB; the best linear map for such drawings has 21, the mean colour of each 16.
    """
    import torch

    from audio2img.prompt.mini_world import random_scene
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
