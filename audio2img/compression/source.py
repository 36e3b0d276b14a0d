"""The model to compress, opened and checked, and what its weights are to become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from audio2img.compression import folders
from audio2img.compression.drawing import DEFAULT_PROMPTS
from audio2img.compression.package import check_package
from audio2img.compression.program import Weight, find_weights, has_infinity
from audio2img.compression.progress import Count, Progress
from audio2img.compression.recipes import UNET_PARTS, Plan, check_bits, read_recipe
from audio2img.errors import UsageError
from audio2img.mlprogram.mlpackage import Package

LATENT_PARTS = ("text_encoder", "text_encoder_2", *UNET_PARTS)
"""The parts that decide the latents which the decoder is given."""

WORDS_REMEDY = "ask for fewer bits, or start from the original"


@dataclass(frozen=True)
class CompressionWishes:
    """How to compress: one of bits, recipe and min_psnr_db says it.

    bits: the same for every weight; recipe: a file that says what each becomes (recipe_name: which
    of several in it); min_psnr_db: mixed bits that keep so much signal of the denoised latents.
    parts: the parts to compress; None for all, with min_psnr_db for the UNet. prompts: what is drawn to
    measure; measure: False draws nothing. n_workers: processes, None chooses.
    """

    bits: int | None = None
    recipe: Path | None = None
    recipe_name: str | None = None
    min_psnr_db: float | None = None
    parts: tuple[str, ...] | None = None
    prompts: tuple[str, ...] = DEFAULT_PROMPTS
    measure: bool = True
    n_workers: int | None = None


@dataclass(frozen=True)
class SourceModel:
    """folder: of the packages; packages: by part; weights: of each part, those that can be made smaller."""

    folder: Path
    hash: str
    packages: Mapping[str, Package]
    weights: Mapping[str, Mapping[str, Weight]]


def open_source(folder: Path, progress: Progress) -> SourceModel:
    """Open and check every part of the model in `folder`. Raises ModelError if one is damaged."""
    packages = {part: Package(path) for part, path in folders.find_packages(folder).items()}
    weights: dict[str, dict[str, Weight]] = {}
    count = Count(progress, "reading the model", len(packages))
    for part, package in packages.items():
        found = find_weights(package.load_function())
        weights[part] = {name: weight for name, weight in found.items() if not has_infinity(package, weight)}
        check_package(package)
        count.add()
    return SourceModel(folder, folders.hash_folder(folder), packages, weights)


def select_parts(source: SourceModel, options: CompressionWishes) -> dict[str, Mapping[str, Weight]]:
    """The parts to compress, with their weights. Raises UsageError for one that is not there."""
    wanted = options.parts
    unknown = set(wanted or ()) - source.packages.keys()
    if unknown:
        choices = ", ".join(source.packages)
        raise UsageError(f"the model has no part {sorted(unknown)[0]!r}", f"choose from: {choices}")
    if options.min_psnr_db is not None:
        if others := sorted(set(wanted or ()) - set(LATENT_PARTS)):
            raise UsageError(
                f"mixed bits go by the latents, which the {others[0].replace('_', ' ')} has no part in",
                "compress it on its own, with --bits",
            )
        wanted = wanted or tuple(part for part in UNET_PARTS if part in source.packages)
    selected = {part: source.weights[part] for part in source.packages if wanted is None or part in wanted}
    if not any(selected.values()):
        raise UsageError(f"there is nothing to compress in {source.folder}", WORDS_REMEDY)
    return selected


def choose_bits(source: SourceModel, options: CompressionWishes) -> dict[str, dict[str, int]]:
    """Part -> weight -> bits, by options.bits or options.recipe.

    Weights that would not get smaller are left out. Raises UsageError if none would, or the recipe
    is one for another model.
    """
    selected = select_parts(source, options)
    plan: Plan
    if options.recipe is not None:
        plan = read_recipe(options.recipe, source.weights, options.recipe_name)
    else:
        assert options.bits is not None
        plan = {part: dict.fromkeys(weights, check_bits(options.bits)) for part, weights in selected.items()}
    chosen: dict[str, dict[str, int]] = {}
    for part, rows in plan.items():
        weights = source.weights[part]
        smaller = {name: one for name, one in rows.items() if one < weights[name].bits}
        if smaller and part in selected:
            chosen[part] = smaller
    if not chosen:
        raise UsageError(f"nothing in {source.folder} would get smaller", WORDS_REMEDY)
    return chosen
