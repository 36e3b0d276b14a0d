"""Looking into a package: which operations it has, and values inside of it as outputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio2img.backends.coreml.bundle import load_bundle
from audio2img.diagnosis.ops import (
    PLACES_PER_KIND,
    choose_taps,
    count_kinds,
    snake_case,
    unknown_kinds,
    write_tapped,
)
from audio2img.diagnosis.parts import make_inputs
from audio2img.diffusion.hashing import hash_files
from audio2img.errors import ModelError
from audio2img.mlprogram.mlpackage import Package, read_description
from audio2img.mlprogram.ops import Array, Node
from audio2img.mlprogram.reference import ReferenceModel

PARTS = ("text_encoder", "unet", "vae_decoder", "vae_encoder")


def package_of(bundle: Path, part: str) -> Path:
    return next(bundle.glob(f"*_{part}.mlpackage"))


@pytest.mark.parametrize(
    ("compiled", "program"),
    [
        ("conv", "conv"),
        ("layerNorm", "layer_norm"),
        ("UpsampleNearestNeighbor", "upsample_nearest_neighbor"),
        ("constexprLutToDense", "constexpr_lut_to_dense"),
        ("SliceByIndex", "slice_by_index"),
    ],
)
def test_names_of_compiled_operations(compiled: str, program: str) -> None:
    assert snake_case(compiled) == program


def test_kinds_are_counted_without_constants(mini_bundle: Path) -> None:
    package = package_of(mini_bundle, "unet")
    kinds = count_kinds(package)
    assert kinds is not None
    operations = Package(package).load_function().operations
    assert kinds.total() == sum(operation.type != "const" for operation in operations)
    assert unknown_kinds(kinds) == []
    assert unknown_kinds([*kinds, "topk", "lstm"]) == ["lstm", "topk"]


@pytest.mark.parametrize("content", [None, "", "[]", "[{}]", '[{"mlProgramOperationTypeHistogram": 3}]'])
def test_a_compiled_model_that_does_not_list_its_operations(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "metadata.json").write_text(content)
    assert count_kinds(tmp_path) is None


def test_places_are_spread_over_the_program(mini_bundle: Path) -> None:
    function = Package(package_of(mini_bundle, "unet")).load_function()
    taps = choose_taps(function)
    convolutions = [op.outputs[0].name for op in function.operations if op.type == "conv"]
    chosen = [name for name, kind in taps.items() if kind == "conv"]
    assert (chosen[0], len(chosen)) == (convolutions[0], PLACES_PER_KIND)
    assert chosen[-1] in convolutions[-2:]  # the last may be the program's own output
    assert max(list(taps.values()).count(kind) for kind in taps.values()) == PLACES_PER_KIND
    order = [output.name for op in function.operations for output in op.outputs]
    assert list(taps) == sorted(taps, key=order.index)


@pytest.mark.parametrize("part", PARTS)
def test_tapped_values_are_those_that_the_program_computes(
    mini_bundle: Path, tmp_path: Path, part: str
) -> None:
    package = package_of(mini_bundle, part)
    before = hash_files(package)
    taps = choose_taps(Package(package).load_function())
    tapped = write_tapped(package, tmp_path / "tapped.mlpackage", tuple(taps))
    assert [spec.name for spec in read_description(tapped).outputs] == list(taps)
    assert read_description(tapped).inputs == read_description(package).inputs

    made = make_inputs(load_bundle(mini_bundle))
    inputs = {key.split("/")[1]: value for key, value in made.items() if key.startswith(f"{part}/")}
    seen: dict[str, Array] = {}

    def note(node: Node, operands: Sequence[Array], results: Sequence[Array]) -> None:
        seen.update(zip(node.outputs, (result.copy() for result in results), strict=True))

    ReferenceModel(Package(package)).predict(inputs, note)
    for name, value in ReferenceModel(Package(tapped)).predict(inputs).items():
        if name in seen:  # what depends on constants only is computed when the model is loaded
            np.testing.assert_array_equal(value, seen[name].astype(value.dtype))
    assert len(seen.keys() & taps.keys()) > 0.8 * len(taps)
    assert hash_files(package) == before  # its files may be linked, not copied


def test_values_that_are_not_there_are_refused(mini_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no value 'nothing'"):
        write_tapped(package_of(mini_bundle, "vae_encoder"), tmp_path / "x.mlpackage", ["nothing"])


def test_scalars_and_truth_values_are_left_out(mini_bundle: Path) -> None:
    function = Package(package_of(mini_bundle, "text_encoder")).load_function()
    types: dict[str, Any] = {out.name: out.type for op in function.operations for out in op.outputs}
    taps = choose_taps(function)
    assert all(types[name].shape and types[name].dtype.name != "BOOL" for name in taps)
