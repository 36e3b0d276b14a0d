"""What is taken for a model and what is refused, before torch is asked for anything."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio2img.backends.torch.facts import read_facts
from audio2img.backends.torch.folder import looks_like_ours, read_folder, read_header
from audio2img.errors import ModelError

MINI = Path(__file__).resolve().parents[3] / "models" / "mini" / "diffusers"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the mini model without its tensors' bytes: headers are all that is read here."""
    path = tmp_path / "model"
    shutil.copytree(MINI, path)
    return path


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_the_mini_model(folder: Path) -> None:
    model = read_folder(folder, "mini")
    assert (model.kind, model.name, model.size, model.factor) == ("sd", "mini", (128, 128), 8)
    assert set(model.parts) == {"text_encoder", "unet", "vae"}
    assert model.parts["unet"].n_parameters == pytest.approx(3.8e6, rel=0.02)
    defaults = read_facts(model).defaults
    assert (defaults.steps, defaults.guidance_scale, defaults.scheduler) == (20, 5.0, "dpmpp-2m")
    assert looks_like_ours(folder)
    assert not looks_like_ours(folder / "unet")


def test_the_hash_is_of_what_is_read(folder: Path) -> None:
    model = read_folder(folder)
    before = model.hash(half=False)
    (folder / "README.md").write_text("words")
    assert read_folder(folder).hash(half=False) == before
    edit(folder / "scheduler" / "scheduler_config.json", prediction_type="v_prediction")
    assert read_folder(folder).hash(half=False) != before


def test_the_variant_suits_the_precision(folder: Path) -> None:
    unet = folder / "unet"
    shutil.copyfile(
        unet / "diffusion_pytorch_model.safetensors", unet / "diffusion_pytorch_model.fp16.safetensors"
    )
    part = read_folder(folder).parts["unet"]
    assert (part.variant(half=True), part.variant(half=False)) == ("fp16", None)
    assert read_folder(folder).hash(half=True) != read_folder(folder).hash(half=False)
    (unet / "diffusion_pytorch_model.safetensors").unlink()
    assert read_folder(folder).parts["unet"].variant(half=False) == "fp16"


def as_pickle(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))


def foreign_pipeline(folder: Path) -> None:
    edit(folder / "model_index.json", _class_name="FluxPipeline")


def foreign_part(folder: Path) -> None:
    edit(folder / "model_index.json", unet=["my_module", "MyUNet"])


def no_part(folder: Path) -> None:
    shutil.rmtree(folder / "vae")


def broken_config(folder: Path) -> None:
    (folder / "vae" / "config.json").write_text("{")


def inpainting(folder: Path) -> None:
    edit(folder / "unet" / "config.json", in_channels=9)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (as_pickle, "only as a pickle, which can run any program"),
        (foreign_pipeline, "is a FluxPipeline"),
        (foreign_part, "a MyUNet, which is unknown here"),
        (no_part, r"vae.config\.json cannot be read"),
        (broken_config, "it is no JSON"),
        (inpainting, "takes 9 channels"),
    ],
)
def test_what_is_refused(folder: Path, damage: Callable[[Path], None], words: str) -> None:
    damage(folder)
    with pytest.raises(ModelError, match=words) as caught:
        read_folder(folder)
    assert caught.value.remedy


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model_index\.json"):
        read_folder(tmp_path)


def test_a_file_cut_short_is_noticed_by_its_header(folder: Path) -> None:
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match="cut short"):
        read_header(path)


@given(st.binary(max_size=200), st.integers(0, 2**64 - 1))
def test_no_bytes_make_the_header_reader_stumble(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, n: int
) -> None:
    path = tmp_path_factory.mktemp("st") / "a.safetensors"
    path.write_bytes(struct.pack("<Q", n if len(body) % 2 else len(body)) + body)
    with suppress(ModelError):
        read_header(path)
