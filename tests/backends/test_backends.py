"""Which backend draws what, and what is said where one is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from audio2img import backends
from audio2img.backends import DrawingWishes, choose_backend, load_backend
from audio2img.diffusion.loras import LoraFile
from audio2img.errors import MachineError, UsageError
from audio2img.store import catalog
from audio2img.store.catalog import ResolvedModel, resolve_model
from audio2img.store.defaults import Machine

MINI = Path(__file__).resolve().parents[2] / "models" / "mini"


def at(path: Path) -> ResolvedModel:
    return resolve_model(str(path), "image")


def test_the_mini_model_is_drawn_by_either() -> None:
    mini = resolve_model("mini", "image")
    assert choose_backend(mini) == "coreml"
    assert choose_backend(mini, "diffusers") == "diffusers"
    assert mini.diffusers_path == MINI / "diffusers"


def test_a_path_tells_by_what_it_holds(tmp_path: Path) -> None:
    assert choose_backend(at(MINI / "coreml")) == "coreml"
    assert choose_backend(at(MINI / "diffusers")) == "diffusers"
    single = tmp_path / "model.safetensors"
    shutil.copyfile(MINI / "diffusers" / "vae" / "diffusion_pytorch_model.safetensors", single)
    assert choose_backend(at(single)) == "diffusers"


@pytest.mark.parametrize(("folder", "backend"), [("diffusers", "coreml"), ("coreml", "diffusers")])
def test_a_backend_that_does_not_fit_is_refused(folder: str, backend: str) -> None:
    with pytest.raises(UsageError, match=f"the backend {backend} cannot draw with"):
        choose_backend(at(MINI / folder), backend)


def test_an_unknown_backend_lists_the_choices() -> None:
    with pytest.raises(UsageError) as caught:
        DrawingWishes(backend="cuda")
    assert "auto, coreml, diffusers" in caught.value.remedy


@pytest.mark.parametrize(
    "wishes",
    [
        DrawingWishes(precision="half"),
        DrawingWishes(compile=True),
        DrawingWishes(loras=[LoraFile(Path("x"))]),
    ],
)
def test_what_only_diffusers_does_is_not_ignored(wishes: DrawingWishes) -> None:
    with pytest.raises(UsageError, match="is for the backend diffusers") as caught:
        load_backend(resolve_model("mini", "image"), wishes)
    assert "--backend diffusers" in caught.value.remedy


def test_without_the_extra_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "this_machine", lambda: Machine("linux", False))
    with pytest.raises(MachineError, match="torch and diffusers") as caught:
        load_backend(at(MINI / "diffusers"), DrawingWishes())
    assert "pip install 'audio2img[diffusers]'" in caught.value.remedy


@pytest.mark.parametrize(
    ("platform", "extra", "backend", "name"),
    [
        ("linux", True, "auto", "sd21-base-diffusers"),
        ("windows", True, "auto", "sd21-base-diffusers"),
        ("linux", False, "auto", "mini"),
        ("linux", True, "coreml", "mini"),
        ("macos", True, "auto", "sd21-base-palettized"),
        ("macos", True, "diffusers", "sd21-base-diffusers"),
        ("macos", False, "coreml", "sd21-base-palettized"),
    ],
)
def test_the_default_suits_machine_and_backend(
    monkeypatch: pytest.MonkeyPatch, platform: str, extra: bool, backend: str, name: str
) -> None:
    monkeypatch.setattr(catalog, "this_machine", lambda: Machine(platform, extra))  # type: ignore[arg-type]
    assert catalog.default_name("image", backend) == name
