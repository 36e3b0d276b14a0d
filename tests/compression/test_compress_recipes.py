"""Recipes: ours, which come back as they were, and Apple's, whose layers are found by their names."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from audio2img.compression.job import compress
from audio2img.compression.recipes import palette_name, parse_palette, read_recipe, write_recipe
from audio2img.compression.source import CompressionWishes
from audio2img.errors import InputError, UsageError

WEIGHTS = {
    "text_encoder": ["embeddings_weight_to_fp16"],
    "unet": [
        "unet_conv_in_weight_to_fp16",
        "unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0_weight_to_fp16",
        "unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_out_0_weight_to_fp16",
        "unet_conv_out_weight_to_fp16_palettized",
        "unet_conv_in_bias_to_fp16",
    ],
}
APPLE = {
    "conv_in": 8,
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0": 4,
    "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0": 16,
    "conv_out": 1,
}


def save(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8])
def test_names_of_palettes_come_back(bits: int) -> None:
    assert parse_palette(palette_name(bits)) == bits


@pytest.mark.parametrize(
    "text", ["", "palette", "palette5", "palette3", "palette4/16", "linear8", "6", "palette-4"]
)
def test_what_is_no_palette_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_palette(text)


def test_our_recipe_comes_back(tmp_path: Path) -> None:
    plan: dict[str, dict[str, int]] = {
        "text_encoder": {"embeddings_weight_to_fp16": 8},
        "unet": {"unet_conv_in_weight_to_fp16": 4},
    }
    assert read_recipe(save(tmp_path / "r.json", write_recipe(plan)), WEIGHTS) == plan


def test_apples_layers_are_found_by_name(tmp_path: Path) -> None:
    path = save(
        tmp_path / "r.json", {"model_version": "x", "recipes": {"recipe_4.50_bit_mixedpalette": APPLE}}
    )
    names = WEIGHTS["unet"]
    assert read_recipe(path, WEIGHTS) == {"unet": {names[0]: 8, names[1]: 4, names[3]: 1}}


def test_apples_layers_are_found_in_both_halves_of_a_unet(tmp_path: Path) -> None:
    path = save(tmp_path / "r.json", {"recipes": {"one": APPLE}})
    names = WEIGHTS["unet"]
    plan = read_recipe(path, {"unet_chunk1": names[:2], "unet_chunk2": names[2:]})
    assert plan == {
        "unet_chunk1": {names[0]: 8, names[1]: 4},
        "unet_chunk2": {names[3]: 1},
    }


def test_one_of_several_recipes_is_chosen(tmp_path: Path) -> None:
    path = save(tmp_path / "r.json", {"recipes": {"small": {"conv_in": 2}, "large": {"conv_in": 8}}})
    with pytest.raises(UsageError, match="several") as caught:
        read_recipe(path, WEIGHTS)
    assert "small, large" in caught.value.remedy
    with pytest.raises(UsageError, match="'medium'"):
        read_recipe(path, WEIGHTS, "medium")
    assert read_recipe(path, WEIGHTS, "large")["unet"] == {"unet_conv_in_weight_to_fp16": 8}


def test_a_recipe_for_another_model_is_refused(tmp_path: Path) -> None:
    apple = save(tmp_path / "a.json", {"recipes": {"one": {**APPLE, "up_blocks.7.conv": 4}}})
    ours = save(tmp_path / "o.json", {"format": 1, "parts": {"unet": {"other_weight": "palette4"}}})
    parts = save(tmp_path / "p.json", {"format": 1, "parts": {"prior": {"w": "palette4"}}})
    for path, word in ((apple, "up_blocks.7.conv"), (ours, "other_weight"), (parts, "w")):
        with pytest.raises(UsageError, match="another model") as caught:
            read_recipe(path, WEIGHTS)
        assert word in caught.value.message


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "{", "{}", '{"format": 2, "parts": {}}', '{"format": 1, "parts": []}',
        '{"format": 1, "parts": {"unet": []}}',
        '{"format": 1, "parts": {"unet": {"unet_conv_in_weight": 6}}}',
        '{"recipes": {"one": []}}', '{"recipes": {"one": {"conv_in": "8"}}}', "[" * 100_000,
    ],
)  # fmt: skip
def test_a_damaged_recipe_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises((InputError, UsageError)):
        read_recipe(save(tmp_path / "r.json", content), WEIGHTS)


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json"):
        read_recipe(tmp_path / "none.json", WEIGHTS)


def test_bits_that_there_are_not_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "r.json", {"recipes": {"one": {"conv_in": 5}}})
    with pytest.raises(UsageError, match="5 bits"):
        read_recipe(path, WEIGHTS)


def test_a_model_made_by_its_own_recipe_is_the_same(mini_bundle: Path, tmp_path: Path) -> None:
    def run(dest: str, options: CompressionWishes) -> dict[str, str]:
        compress(mini_bundle, tmp_path / dest, options, lambda label, done: None)
        packages = (tmp_path / dest).glob("*_vae_encoder.mlpackage/**/*")
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in packages if path.is_file()
        }

    first = run("first", CompressionWishes(2, parts=("vae_encoder",), measure=False))
    recipe = tmp_path / "first" / "compression" / "recipe.json"
    assert run("second", CompressionWishes(recipe=recipe, measure=False)) == first
    assert len(first) == 3


def test_apples_recipe_on_the_mini_unet(mini_bundle: Path, tmp_path: Path) -> None:
    layers = {"conv_in": 4, "mid_block.attentions.0.transformer_blocks.0.attn1.to_q": 2, "conv_out": 16}
    recipe = save(tmp_path / "recipe.json", {"recipes": {"one": layers}})
    result = compress(
        mini_bundle,
        tmp_path / "small",
        CompressionWishes(recipe=recipe, measure=False),
        lambda label, done: None,
    )
    (part,) = result.parts
    assert part.name == "unet"
    changed = {layer.name: layer.treatment for layer in part.layers if layer.treatment}
    assert len(changed) == 2
    assert sorted(changed.values()) == ["palette2", "palette4"]
    assert any("conv_in" in name for name in changed)
    assert any("mid_block" in name and "to_q" in name for name in changed)
