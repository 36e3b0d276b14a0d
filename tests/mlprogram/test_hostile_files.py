"""Files of a bundle that never end, never begin or are too large: refused, with a remedy."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from audio2img.backends.coreml.bundle import load_bundle
from audio2img.diffusion.tokenizer import ClipTokenizer
from audio2img.errors import ModelError
from audio2img.mlprogram.mlpackage import Package
from audio2img.mlprogram.reference import ReferenceModel

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs Linux or macOS")


@pytest.fixture
def bundle(mini_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(mini_bundle, tmp_path / "model"))


def load(bundle: Path) -> None:
    model = load_bundle(bundle)
    ClipTokenizer.from_folder(bundle)
    ReferenceModel(Package(model.parts["text_encoder"].path))


PLACES = [
    "audio2img.json",
    "vocab.json",
    "merges.txt",
    "*_text_encoder.mlpackage/Manifest.json",
    "*_text_encoder.mlpackage/Data/*/model.mlmodel",
    "*_text_encoder.mlpackage/Data/*/weights/weight.bin",
]


@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.timeout(20)
def test_only_regular_files_are_read(bundle: Path, place: str, kind: str) -> None:
    (path,) = bundle.glob(place)
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(ModelError) as caught:
        load(bundle)
    assert caught.value.remedy


@pytest.mark.parametrize("place", PLACES[:-1])
def test_sparse_giants_are_refused_by_their_size(bundle: Path, place: str) -> None:
    (path,) = bundle.glob(place)
    os.truncate(path, 50 << 30)
    with pytest.raises(ModelError, match="bytes") as caught:
        load(bundle)
    assert caught.value.remedy


@pytest.mark.parametrize("name", ["vocab.json", "special_tokens_map.json"])
def test_deep_nesting_is_no_table(bundle: Path, name: str) -> None:
    (bundle / name).write_text("[" * 200_000)
    with pytest.raises(ModelError, match=name):
        ClipTokenizer.from_folder(bundle)
