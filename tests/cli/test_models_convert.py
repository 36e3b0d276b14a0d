"""`audio2img models convert` refuses what it cannot convert, on the base install, before anything heavy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

MINI = Path(__file__).resolve().parents[2] / "models" / "mini" / "diffusers"
Fails = Callable[..., None]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the mini model's diffusers folder, to spoil."""
    shutil.copytree(MINI, tmp_path / "source")
    return tmp_path / "source"


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def spoil_no_index(folder: Path) -> str:
    (folder / "model_index.json").unlink()
    return "there is no model_index.json"


def spoil_index(folder: Path) -> str:
    (folder / "model_index.json").write_text("{", encoding="utf-8")
    return "model_index.json is damaged"


def spoil_pickles(folder: Path) -> str:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    return "diffusion_pytorch_model.bin is a pickle"


def spoil_weights(folder: Path) -> str:
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    return "no weights for its vae"


def spoil_component(folder: Path) -> str:
    shutil.rmtree(folder / "text_encoder")
    return "has no text_encoder"


def spoil_tokenizer(folder: Path) -> str:
    (folder / "tokenizer" / "merges.txt").unlink()
    return "has no tokenizer/merges.txt"


def spoil_scheduler(folder: Path) -> str:
    (folder / "scheduler" / "scheduler_config.json").unlink()
    return "has no scheduler"


def spoil_architecture(folder: Path) -> str:
    edit_json(folder / "model_index.json", unet=["diffusers", "FluxTransformer2DModel"])
    return "FluxTransformer2DModel"


def spoil_channels(folder: Path) -> str:
    edit_json(folder / "unet" / "config.json", in_channels=9)
    return "takes 9 channels"


def spoil_sampling(folder: Path) -> str:
    edit_json(folder / "scheduler" / "scheduler_config.json", thresholding=True)
    return "thresholding"


SPOILERS = (
    spoil_no_index, spoil_index, spoil_pickles, spoil_weights, spoil_component, spoil_tokenizer,
    spoil_scheduler, spoil_architecture, spoil_channels, spoil_sampling,
)  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda spoil: spoil.__name__.removeprefix("spoil_"))
def test_a_wrong_source_is_refused(
    audio2img: Callable[..., object],
    assert_fails: Fails,
    source: Path,
    tmp_path: Path,
    spoil: Callable[[Path], str],
) -> None:
    words = spoil(source)
    before = set(tmp_path.iterdir())
    assert_fails(audio2img("models", "convert", source, tmp_path / "new"), 4, words)
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("name", "exit_code", "words"),
    [
        ("nothing/at/all", 4, "there is no folder nothing/at/all"),
        ("nobody/nothing", 5, "cannot be fetched"),
        ("file.safetensors", 4, "is a file"),
    ],
)
def test_a_source_that_is_no_folder(
    audio2img: Callable[..., object],
    assert_fails: Fails,
    tmp_path: Path,
    name: str,
    exit_code: int,
    words: str,
) -> None:
    """HF_HUB_OFFLINE is set in all tests, so a hub model is one that cannot be reached."""
    (tmp_path / "file.safetensors").write_bytes(b"")
    assert_fails(audio2img("models", "convert", name, "new"), exit_code, words)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--parts", "unet,eyes"], "unet,eyes"),
        (["--parts", "safety_checker"], "has no safety_checker"),
        (["--parts", ","], "choose from"),
        (["--size", "100x128"], "multiples of 32"),
        (["--bits", "5"], "'5'"),
        (["--batch", "3"], "'3'"),
        (["--attention", "ORIGINAL"], "--with apple"),
    ],
)
def test_wrong_options(
    audio2img: Callable[..., object], assert_fails: Fails, tmp_path: Path, options: list[str], words: str
) -> None:
    assert_fails(audio2img("models", "convert", MINI, "new", *options), 2, words)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_overwritten(
    audio2img: Callable[..., object], assert_fails: Fails, tmp_path: Path
) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "kept").write_text("x", encoding="utf-8")
    assert_fails(audio2img("models", "convert", MINI, "bundle"), 2, "is there already", "--replace")
    assert_fails(audio2img("models", "convert", MINI, "bundle", "--replace"), 2, "is no model")
    assert (tmp_path / "bundle" / "kept").read_text(encoding="utf-8") == "x"


def test_without_apples_environment(
    audio2img: Callable[..., object], assert_fails: Fails, tmp_path: Path
) -> None:
    done = audio2img("models", "convert", MINI, "new", "--with", "apple")
    assert_fails(done, 5, "python scripts/apple_env.py")


def test_without_the_extra(audio2img: Callable[..., object], assert_fails: Fails, tmp_path: Path) -> None:
    """As on the base install, wherever this test runs: there torch cannot be found."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['torch'] = None", encoding="utf-8")
    done = audio2img("models", "convert", MINI, "new", env={"PYTHONPATH": f"{tmp_path}:{MINI.parents[2]}"})
    assert_fails(done, 5, "torch", "pip install", "convert]")
    assert not (tmp_path / "new").exists()
