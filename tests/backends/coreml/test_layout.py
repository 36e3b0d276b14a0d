"""Finding a model in the folders that Apple publishes, its converter writes, and zips unpack to."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audio2img.backends.coreml.bundle import load_bundle
from audio2img.backends.coreml.layout import find_layout
from audio2img.errors import ModelError

Compile = Callable[[Path, Path], Path]


@pytest.fixture(scope="module")
def repository(mini_bundle: Path, as_compiled: Compile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both attentions, each as packages and compiled, the way Apple's repositories have them."""
    root = tmp_path_factory.mktemp("hub") / "coreml-stable-diffusion-2-1-base"
    for attention in ("original", "split_einsum"):
        as_compiled(mini_bundle, root / attention / "compiled")
        packages = root / attention / "packages"
        shutil.copytree(mini_bundle, packages, ignore=shutil.ignore_patterns("vocab.json", "merges.txt"))
    (root / "README.md").write_text("a model")
    return root


@pytest.mark.parametrize("attention", ["original", "split_einsum"])
def test_a_whole_repository_elsewhere(repository: Path, attention: Any) -> None:
    layout = find_layout(repository, attention)
    assert layout.root == repository / attention / "packages"
    assert layout.tokenizer == repository / attention / "compiled"  # packages come without a vocabulary
    assert {path.suffix for path in layout.parts.values()} == {".mlpackage"}


@pytest.mark.parametrize("attention", ["original", "split_einsum"])
def test_a_whole_repository_on_a_mac(
    repository: Path, attention: Any, core_ml_stand_in: list[tuple[str, str]]
) -> None:
    layout = find_layout(repository, attention)
    assert layout.root == repository / attention / "compiled"
    assert {path.suffix for path in layout.parts.values()} == {".mlmodelc"}


def test_one_attention_of_a_repository(repository: Path) -> None:
    assert find_layout(repository / "original").root == repository / "original" / "packages"
    assert load_bundle(repository / "split_einsum").attention == "split_einsum"
    assert load_bundle(repository / "original").attention == "original"


def test_without_a_preference_two_attentions_are_two_models(repository: Path) -> None:
    with pytest.raises(
        ModelError, match="several models: original/packages, split_einsum/packages"
    ) as caught:
        find_layout(repository)
    assert caught.value.remedy


def test_a_zip_unpacks_to_one_folder_in_another(
    mini_bundle: Path, as_compiled: Compile, tmp_path: Path, core_ml_stand_in: list[tuple[str, str]]
) -> None:
    inner = tmp_path / "download" / "coreml-stable-diffusion-2-1-base-palettized_split_einsum_v2_compiled"
    as_compiled(mini_bundle, inner)
    (tmp_path / "download" / "__MACOSX").mkdir()
    bundle = load_bundle(tmp_path / "download")
    assert bundle.folder == inner
    assert bundle.attention == "split_einsum"


def test_compiled_models_go_first_on_a_mac(
    mini_bundle: Path, tmp_path: Path, as_compiled: Compile, request: pytest.FixtureRequest
) -> None:
    folder = as_compiled(mini_bundle, tmp_path / "model")
    for package in mini_bundle.glob("*.mlpackage"):
        shutil.copytree(package, folder / package.name)
    assert {part.path.suffix for part in load_bundle(folder).parts.values()} == {".mlpackage"}
    request.getfixturevalue("core_ml_stand_in")
    assert {part.path.suffix for part in load_bundle(folder).parts.values()} == {".mlmodelc"}


@pytest.fixture
def chunked(mini_bundle: Path, tmp_path: Path, tools: Any) -> Path:
    """The embedded model with its UNet in two halves."""
    folder = Path(
        shutil.copytree(mini_bundle, tmp_path / "chunked", ignore=shutil.ignore_patterns("*_unet.mlpackage"))
    )
    unet = next(mini_bundle.glob("*_unet.mlpackage"))
    prefix = "Stable_Diffusion_version_test_unet_chunk"
    tools.split_package(unet, folder / f"{prefix}1.mlpackage", folder / f"{prefix}2.mlpackage")
    return folder


def test_halves_are_taken_when_there_is_no_whole_unet(chunked: Path, mini_bundle: Path) -> None:
    bundle = load_bundle(chunked)
    assert "unet" not in bundle.parts
    assert {"unet_chunk1", "unet_chunk2"} < set(bundle.parts)
    assert bundle.contract == load_bundle(mini_bundle).contract


def test_the_whole_unet_goes_before_its_halves(chunked: Path, mini_bundle: Path) -> None:
    unet = next(mini_bundle.glob("*_unet.mlpackage"))
    shutil.copytree(unet, chunked / unet.name)
    assert set(load_bundle(chunked).parts) == set(load_bundle(mini_bundle).parts)


def test_half_a_unet_is_refused(chunked: Path) -> None:
    shutil.rmtree(next(chunked.glob("*_chunk2.mlpackage")))
    with pytest.raises(ModelError, match="no unet chunk2") as caught:
        load_bundle(chunked)
    assert caught.value.remedy


@pytest.mark.parametrize("part", ["text_encoder", "vae_decoder", "unet"])
def test_a_missing_part_is_named(mini_bundle: Path, tmp_path: Path, part: str) -> None:
    ignored = shutil.ignore_patterns(f"*_{part}.mlpackage")
    folder = Path(shutil.copytree(mini_bundle, tmp_path / "model", ignore=ignored))
    with pytest.raises(ModelError, match=f"has no {part.replace('_', ' ')}") as caught:
        find_layout(folder)
    assert caught.value.remedy
