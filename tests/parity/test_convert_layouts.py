"""Every layout that can be converted is one that can be loaded, and says what it was made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from audio2img.mlprogram.mlpackage import Package, read_description

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow, pytest.mark.timeout(900)]
Layouts = Callable[[str], Path]

PARTS = ("text_encoder", "unet", "vae_decoder", "vae_encoder")
LAYOUTS = {
    "whole16": PARTS,
    "batch1": PARTS,
    "chunked": ("text_encoder", "unet_chunk1", "unet_chunk2", "vae_decoder", "vae_encoder"),
    "no_encoder": ("text_encoder", "unet", "vae_decoder"),
    "v": PARTS,
    "safety": (*PARTS, "safety_checker"),
    "safety_flags": (*PARTS, "safety_checker"),
    "sdxl": ("text_encoder", "text_encoder_2", "unet", "vae_decoder", "vae_encoder"),
}


def part_path(folder: Path, part: str) -> Path:
    (path,) = folder.glob(f"*_{part}.mlpackage")
    return path


def contract(folder: Path, part: str) -> dict[str, tuple[tuple[int, ...], str]]:
    """Name -> (shape, type) of what a part takes and gives."""
    description = Package(part_path(folder, part)).description
    return {spec.name: (spec.shape, spec.dtype.name) for spec in (*description.inputs, *description.outputs)}


def sidecar(folder: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((folder / "audio2img.json").read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_has_its_parts_and_nothing_else(mini_layout: Layouts, layout: str) -> None:
    folder = mini_layout(layout)
    packages = {path.name for path in folder.iterdir() if path.is_dir()}
    assert packages == {part_path(folder, part).name for part in LAYOUTS[layout]}
    files = {path.name for path in folder.iterdir() if path.is_file()}
    assert files == {"vocab.json", "merges.txt", "audio2img.json"}
    assert sidecar(folder)["kind"] == ("sdxl" if layout == "sdxl" else "sd")


def test_the_contract_is_apples(mini_layout: Layouts) -> None:
    folder = mini_layout("whole16")
    assert contract(folder, "text_encoder") == {
        "input_ids": ((1, 77), "float32"),
        "last_hidden_state": ((1, 77, 128), "float32"),
        "pooled_outputs": ((1, 128), "float32"),
    }
    assert contract(folder, "unet") == {
        "sample": ((2, 4, 16, 16), "float16"),
        "timestep": ((2,), "float16"),
        "encoder_hidden_states": ((2, 128, 1, 77), "float16"),
        "noise_pred": ((2, 4, 16, 16), "float32"),
    }
    assert contract(folder, "vae_decoder") == {
        "z": ((1, 4, 16, 16), "float16"),
        "image": ((1, 3, 128, 128), "float32"),
    }
    assert contract(folder, "vae_encoder") == {
        "x": ((1, 3, 128, 128), "float16"),
        "latent": ((1, 8, 16, 16), "float32"),
    }


def test_a_batch_of_one(mini_layout: Layouts) -> None:
    unet = contract(mini_layout("batch1"), "unet")
    assert unet["sample"] == ((1, 4, 16, 16), "float16")
    assert unet["timestep"] == ((1,), "float16")


def test_the_contract_of_the_safety_checker_is_apples(mini_layout: Layouts) -> None:
    assert contract(mini_layout("safety"), "safety_checker") == {
        "clip_input": ((1, 3, 32, 32), "float16"),
        "images": ((1, 128, 128, 3), "float16"),
        "adjustment": ((1,), "float16"),
        "filtered_images": ((1, 128, 128, 3), "float32"),
        "has_nsfw_concepts": ((1, 1, 1, 1), "float32"),
        "concept_scores": ((1, 17), "float32"),
    }


def test_the_contract_of_sdxl_is_apples(mini_layout: Layouts) -> None:
    folder = mini_layout("sdxl")
    assert contract(folder, "text_encoder") == {
        "input_ids": ((1, 77), "float32"),
        "hidden_embeds": ((1, 77, 128), "float32"),
        "pooled_outputs": ((1, 128), "float32"),
    }
    assert contract(folder, "text_encoder_2") == {
        "input_ids": ((1, 77), "float32"),
        "hidden_embeds": ((1, 77, 64), "float32"),
        "pooled_outputs": ((1, 64), "float32"),
    }
    assert contract(folder, "unet") == {
        "sample": ((2, 4, 16, 16), "float16"),
        "timestep": ((2,), "float16"),
        "encoder_hidden_states": ((2, 192, 1, 77), "float16"),
        "time_ids": ((2, 6), "float16"),
        "text_embeds": ((2, 64), "float16"),
        "noise_pred": ((2, 4, 16, 16), "float32"),
    }
    assert contract(folder, "vae_decoder")["z"] == ((1, 4, 16, 16), "float32")
    settings = sidecar(folder)
    assert (settings["pad_token"], settings["pad_token_2"]) == ("<|endoftext|>", "!")
    assert settings["zero_empty_negative"] is True


def test_the_halves_of_a_unet_fit_together(mini_layout: Layouts) -> None:
    folder = mini_layout("chunked")
    first, second = (read_description(part_path(folder, f"unet_chunk{number}")) for number in (1, 2))
    given = {spec.name for spec in (*first.inputs, *first.outputs)}
    assert {spec.name for spec in second.inputs} <= given
    assert [spec.name for spec in second.outputs] == ["noise_pred"]
    sizes = [
        sum(file.stat().st_size for file in part_path(folder, f"unet_chunk{number}").rglob("weight.bin"))
        for number in (1, 2)
    ]
    assert max(sizes) < 0.6 * sum(sizes)
