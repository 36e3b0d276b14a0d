"""Recipes: files that say what each weight becomes. Ours, and Apple's mixed-bit recipes.

Ours names weights as the program does, part by part:

    {"format": 1, "parts": {"unet": {"conv_in_weight_to_fp16": "palette6", ...}, ...}}

Apple's (written by python_coreml_stable_diffusion.mixed_bit_compression_pre_analysis, published
at huggingface.co/apple/coreml-stable-diffusion-mixed-bit-palettization) holds several recipes for
the UNet, each with the bits of every layer by its name in PyTorch:

    {"model_version": "...", "recipes": {"recipe_4.50_bit_mixedpalette": {"conv_in": 8, ...}, ...}}

A converted program derives the names of its constants from the same names; so layers are found by
name, and no PyTorch model need be loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from audio2img.compression.operation import PALETTE_TYPES
from audio2img.errors import InputError, UsageError, reason_of
from audio2img.files import read_bounded
from audio2img.foreign_json import parse_json

RECIPE_FORMAT = 1
OTHER_RECIPE = "give the recipe.json of a compressed model, or one of Apple's"
MAX_RECIPE_BYTES = 1 << 26
UNCOMPRESSED_BITS = 16  # in Apple's: the layer stays as it is
CONSTANT_ENDINGS = ("_palettized", "_quantized", "_to_fp16")
UNET_PARTS = ("unet", "unet_chunk1", "unet_chunk2")
N_NAMED = 3  # how many of several names a message shows

Plan = Mapping[str, Mapping[str, int]]
"""Part -> weight -> bits of its palette; weights that are not named stay as they are."""


def palette_name(bits: int) -> str:
    """How recipes and reports write a palette: palette6."""
    return f"palette{bits}"


def parse_palette(text: str) -> int:
    """The bits that `palette_name` wrote. Raises UsageError for anything else."""
    bits = text.removeprefix("palette")
    if not text.startswith("palette") or not bits.isdecimal():
        raise UsageError(f"there is no way to compress called {text!r}", "try: palette6")
    return check_bits(int(bits))


def check_bits(bits: int) -> int:
    """`bits`, if there are palettes of that many. Raises UsageError."""
    if bits not in PALETTE_TYPES:
        choices = ", ".join(map(str, PALETTE_TYPES))
        raise UsageError(f"there are no palettes of {bits} bits", f"choose from: {choices}")
    return bits


def write_recipe(plan: Plan) -> str:
    """`plan` as the text of a recipe of our own."""
    parts = {part: {name: palette_name(bits) for name, bits in rows.items()} for part, rows in plan.items()}
    return json.dumps({"format": RECIPE_FORMAT, "parts": parts}, indent=1) + "\n"


def read_recipe(
    path: Path, weights: Mapping[str, Iterable[str]], name: str | None = None
) -> dict[str, dict[str, int]]:
    """What the recipe in `path` says of the model whose weights are given (part -> their names).

    name: which of several recipes in Apple's file. Raises InputError if the file cannot be read or
    is no recipe, UsageError if it is one for another model, or has no recipe of that name.
    """
    try:
        content = parse_json(read_bounded(path, MAX_RECIPE_BYTES))
        if not isinstance(content, dict):
            raise ValueError("it is no table")
    except (OSError, ValueError) as error:
        raise InputError(f"the recipe {path} cannot be read: {reason_of(error)}", OTHER_RECIPE) from error
    if isinstance(content.get("recipes"), dict):
        return _read_apple_recipe(path, content["recipes"], weights, name)
    if content.get("format") != RECIPE_FORMAT or not isinstance(content.get("parts"), dict):
        raise InputError(f"{path} is no recipe: neither ours nor Apple's", OTHER_RECIPE)
    return _read_own_recipe(path, content["parts"], weights)


def _read_own_recipe(
    path: Path, parts: Mapping[str, Any], weights: Mapping[str, Iterable[str]]
) -> dict[str, dict[str, int]]:
    known = {part: set(names) for part, names in weights.items()}
    plan: dict[str, dict[str, int]] = {}
    for part, rows in parts.items():
        if not isinstance(rows, dict) or not all(isinstance(text, str) for text in rows.values()):
            raise InputError(f"{path} is damaged: the part {part}", OTHER_RECIPE)
        _refuse_unknown(path, set(rows) - known.get(part, set()))
        plan[part] = {weight: parse_palette(text) for weight, text in rows.items()}
    return plan


def _read_apple_recipe(
    path: Path, recipes: Mapping[str, Any], weights: Mapping[str, Iterable[str]], name: str | None
) -> dict[str, dict[str, int]]:
    if name is None and len(recipes) == 1:
        (name,) = recipes
    if name is None or name not in recipes:
        problem = "holds several recipes" if name is None else f"has no recipe {name!r}"
        raise UsageError(f"{path} {problem}", f"choose one with --recipe-name: {', '.join(recipes)}")
    layers = recipes[name]
    if not isinstance(layers, dict) or not all(type(bits) is int for bits in layers.values()):
        raise InputError(f"{path} is damaged: the recipe {name}", OTHER_RECIPE)
    by_key = {layer.replace(".", "_"): (layer, bits) for layer, bits in layers.items()}
    found: set[str] = set()
    plan: dict[str, dict[str, int]] = {}
    for part in UNET_PARTS:
        for weight in weights.get(part, ()):
            key = _find_key(weight, by_key)
            if key is not None:
                found.add(key)
                bits = by_key[key][1]
                if bits != UNCOMPRESSED_BITS:
                    plan.setdefault(part, {})[weight] = check_bits(bits)
    _refuse_unknown(path, {layer for key, (layer, _) in by_key.items() if key not in found})
    return plan


def _find_key(weight: str, keys: Mapping[str, object]) -> str | None:
    """The longest of `keys` that the constant `weight` is the weight of, with or without a prefix."""
    stem = weight
    for ending in CONSTANT_ENDINGS:
        stem = stem.removesuffix(ending)
    if not stem.endswith("_weight"):
        return None
    words = stem.removesuffix("_weight").split("_")
    for start in range(len(words)):
        key = "_".join(words[start:])
        if key in keys:
            return key
    return None


def _refuse_unknown(path: Path, unknown: set[str]) -> None:
    if unknown:
        names = ", ".join(sorted(unknown)[:N_NAMED]) + (", ..." if len(unknown) > N_NAMED else "")
        raise UsageError(
            f"the recipe {path} is one for another model: {len(unknown)} layers are not here ({names})",
            "give the recipe of this very model",
        )
