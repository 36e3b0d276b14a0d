"""The mini model in all its forms, for comparison: diffusers folders, and the bundles made of them.

mini_layout(name) is a bundle, mini_layout_source(name) the diffusers folder it was made of:

    whole16       float16 packages, the UNet for a batch of 2
    batch1        the UNet for a batch of 1
    chunked       the UNet as two halves
    no_encoder    without the VAE encoder
    v             the UNet's answer taken for a velocity (its pictures show nothing, but the same nothing)
    safety        with a safety checker that finds nothing
    safety_flags  with a safety checker that finds everything
    sdxl          SDXL with random weights: two text encoders, time ids and pooled text
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]
DIFFUSERS_FOLDER = Path(os.environ.get("AUDIO2IMG_TEST_DIFFUSERS", ROOT / "models" / "mini" / "diffusers"))
Layouts = Callable[[str], Path]

SAFETY_THRESHOLDS = {"safety": 2.0, "safety_flags": -2.0}  # of cosines: never reached, always passed
OVERLAYS: dict[str, dict[str, Any]] = {  # layout -> what is converted anew beside the parts of whole16
    "batch1": {"parts": ("unet",), "batch": 1},
    "chunked": {"parts": ("unet",), "chunk_unet": True},
    "safety": {"parts": ("safety_checker",)},
    "safety_flags": {"parts": ("safety_checker",)},
}


@pytest.fixture(scope="session")
def mini_diffusers() -> Path:
    """The mini model as a diffusers folder."""
    if not (DIFFUSERS_FOLDER / "model_index.json").is_file():
        pytest.skip(f"needs a diffusers folder in {DIFFUSERS_FOLDER}")
    return DIFFUSERS_FOLDER


# The files that take longest begin first, so that no worker is left alone with one at the end.
LONGEST_FIRST = (
    "test_convert.py",
    "test_convert_command.py",
    "test_reference.py",
    "test_layouts.py",
    "test_compress.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run have in common."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "made-once"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def converted_mini(mini_diffusers: Path, shared_folder: Path) -> Callable[[int], Path]:
    """converted_mini(bits): the bundle that our own script makes of it, once per number of bits."""

    def convert(bits: int) -> Path:
        dest = shared_folder / f"coreml-{bits}" / "mini"
        with FileLock(shared_folder / f"coreml-{bits}.lock"):
            if not dest.exists():
                command = [sys.executable, str(ROOT / "scripts" / "convert_mini.py")]
                command += ["--source", str(mini_diffusers), "--dest", str(dest), "--bits", str(bits)]
                subprocess.run(command, check=True, timeout=800, stdout=subprocess.DEVNULL)
        return dest

    return convert


@pytest.fixture(scope="session")
def mini_layout_source(mini_diffusers: Path, tmp_path_factory: pytest.TempPathFactory) -> Layouts:
    """mini_layout_source(name): the diffusers folder of a layout."""
    folder = tmp_path_factory.mktemp("sources")

    def source(name: str) -> Path:
        if name not in ("v", "sdxl", *SAFETY_THRESHOLDS):
            return mini_diffusers
        path = folder / name
        if not path.exists():
            shutil.copytree(mini_diffusers, path)
            if name == "v":
                edit_json(path / "scheduler" / "scheduler_config.json", prediction_type="v_prediction")
            elif name == "sdxl":
                become_sdxl(path)
            else:
                add_safety_checker(path, SAFETY_THRESHOLDS[name])
        return path

    return source


@pytest.fixture(scope="session")
def mini_layout(
    converted_mini: Callable[[int], Path],
    mini_layout_source: Layouts,
    shared_folder: Path,
) -> Layouts:
    """mini_layout(name): the bundle of a layout, converted once.

    What a layout shares with whole16 is copied from there and not converted again.
    """

    def layout(name: str) -> Path:
        if name == "whole16":
            return converted_mini(16)
        path = shared_folder / name
        with FileLock(shared_folder / f"{name}.lock"):
            if not path.exists():
                make(name, path)
        return path

    def make(name: str, path: Path) -> None:
        if name == "sdxl":
            convert(mini_layout_source(name), path, name="tiny-sdxl")
            return
        work = path.with_name(f".{name}")
        shutil.copytree(converted_mini(16), work)
        if name == "no_encoder":
            shutil.rmtree(next(work.glob("*_vae_encoder.mlpackage")))
        elif name == "v":
            edit_json(work / "audio2img.json", prediction_type="v_prediction")
        else:
            overlay(mini_layout_source(name), work, OVERLAYS[name])
        work.rename(path)

    return layout


def convert(source: Path, dest: Path, **options: Any) -> Any:
    """The report of a conversion."""
    from audio2img.conversion import ConversionOptions, convert_model

    return convert_model(source, dest, ConversionOptions(**options))


def overlay(source: Path, bundle: Path, options: dict[str, Any]) -> None:
    """Convert some parts of `source` into the bundle, in place of those it has."""
    extra = bundle.with_name(f"{bundle.name}-parts")
    convert(source, extra, name="audio2img-mini", version="audio2img_mini", **options)
    for part in options["parts"]:
        for old in bundle.glob(f"*_{part}.mlpackage"):
            shutil.rmtree(old)
    for package in extra.glob("*.mlpackage"):
        package.rename(bundle / package.name)
    settings = json.loads((extra / "audio2img.json").read_text(encoding="utf-8"))
    if "safety_checker" in settings:
        edit_json(bundle / "audio2img.json", safety_checker=settings["safety_checker"])
    shutil.rmtree(extra)


def edit_json(path: Path, **changes: Any) -> None:
    table = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**table, **changes}, indent=2), encoding="utf-8")


def add_safety_checker(folder: Path, threshold: float) -> None:
    """A small safety checker with random weights, whose every concept has the same threshold."""
    import torch
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPVisionConfig

    torch.manual_seed(5)
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        image_size=32, patch_size=8, projection_dim=24,
    )  # fmt: skip
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision.to_dict(), projection_dim=24))
    with torch.no_grad():
        for name in ("concept_embeds", "special_care_embeds"):
            getattr(checker, name).copy_(torch.randn(getattr(checker, name).shape))
            getattr(checker, f"{name}_weights").fill_(threshold)
    checker.save_pretrained(folder / "safety_checker")
    settings = {
        "image_processor_type": "CLIPImageProcessor", "do_resize": True, "size": {"shortest_edge": 32},
        "resample": 3, "do_center_crop": True, "crop_size": {"height": 32, "width": 32},
        "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "do_convert_rgb": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }  # fmt: skip
    (folder / "feature_extractor").mkdir()
    text = json.dumps(settings, indent=2)
    (folder / "feature_extractor" / "preprocessor_config.json").write_text(text, encoding="utf-8")
    edit_json(
        folder / "model_index.json",
        safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
        feature_extractor=["transformers", "CLIPImageProcessor"],
        requires_safety_checker=True,
    )


def become_sdxl(folder: Path) -> None:
    """Put a random second text encoder and a random SDXL UNet into a copy of the mini model's folder."""
    import torch
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    torch.manual_seed(6)
    first = json.loads((folder / "text_encoder" / "config.json").read_text(encoding="utf-8"))
    marks = {key: first[key] for key in ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id")}
    second = CLIPTextConfig(
        **marks, hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=2,
        max_position_embeddings=77, projection_dim=64, hidden_act="gelu",
    )  # fmt: skip
    CLIPTextModelWithProjection(second).save_pretrained(folder / "text_encoder_2")
    shutil.copytree(folder / "tokenizer", folder / "tokenizer_2")
    for name in ("special_tokens_map.json", "tokenizer_config.json"):  # OpenCLIP fills with another token
        edit_json(folder / "tokenizer_2" / name, pad_token="!")
    shutil.rmtree(folder / "unet")
    UNet2DConditionModel(
        sample_size=16, block_out_channels=(32, 64), layers_per_block=1, norm_num_groups=32,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4), transformer_layers_per_block=(1, 2), use_linear_projection=True,
        cross_attention_dim=first["hidden_size"] + 64, addition_embed_type="text_time",
        addition_time_embed_dim=16, projection_class_embeddings_input_dim=64 + 6 * 16,
    ).save_pretrained(folder / "unet")  # fmt: skip
    (folder / "recommended.json").unlink()
    edit_json(
        folder / "scheduler" / "scheduler_config.json",
        _class_name="EulerDiscreteScheduler", timestep_spacing="leading",
    )  # fmt: skip
    edit_json(
        folder / "model_index.json",
        _class_name="StableDiffusionXLPipeline",
        scheduler=["diffusers", "EulerDiscreteScheduler"],
        text_encoder_2=["transformers", "CLIPTextModelWithProjection"],
        tokenizer_2=["transformers", "CLIPTokenizer"],
        force_zeros_for_empty_prompt=True,
    )
