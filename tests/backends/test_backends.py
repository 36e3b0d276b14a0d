"""Which backend draws what, and what is said where one is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from audio2img.backends import (
    ROWS,
    KnownModel,
    check_backend_name,
    choose_row,
    default_image_model,
    load_backend,
    name_of_recorded,
)
from audio2img.backends.protocol import DrawingWishes, Sizes
from audio2img.backends.torch import row as torch_row
from audio2img.diffusion.loras import LoraFile
from audio2img.errors import MachineError, UsageError
from audio2img.store import catalog
from audio2img.store.catalog import ResolvedModel, resolve_model
from audio2img.store.defaults import Machine

MINI = Path(__file__).resolve().parents[2] / "models" / "mini"


@pytest.fixture
def with_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_row, "this_machine", lambda: Machine("linux", True))


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_row, "this_machine", lambda: Machine("linux", False))


def at(path: Path) -> ResolvedModel:
    return resolve_model(str(path), "image")


@pytest.mark.usefixtures("with_torch")
def test_the_mini_model_is_drawn_by_either() -> None:
    mini = resolve_model("mini", "image")
    assert choose_row(mini).name == "coreml"
    assert choose_row(mini, "diffusers").name == "diffusers"
    assert mini.diffusers_path == MINI / "diffusers"


@pytest.mark.usefixtures("with_torch")
def test_a_path_tells_by_what_it_holds(tmp_path: Path) -> None:
    assert choose_row(at(MINI / "coreml")).name == "coreml"
    assert choose_row(at(MINI / "diffusers")).name == "diffusers"
    single = tmp_path / "model.safetensors"
    shutil.copyfile(MINI / "diffusers" / "vae" / "diffusion_pytorch_model.safetensors", single)
    assert choose_row(at(single)).name == "diffusers"


@pytest.mark.parametrize(("folder", "backend"), [("diffusers", "coreml"), ("coreml", "diffusers")])
def test_a_backend_that_does_not_fit_is_refused(folder: str, backend: str) -> None:
    with pytest.raises(UsageError, match=f"all that the backend {backend} draws with"):
        choose_row(at(MINI / folder), backend)


def test_a_model_that_nobody_draws_with_is_named() -> None:
    with pytest.raises(MachineError, match="whisper-base is a ggml model, which draws nothing"):
        choose_row(KnownModel("whisper-base", "ggml"))


def test_an_unknown_backend_lists_the_choices() -> None:
    with pytest.raises(UsageError) as caught:
        check_backend_name("cuda")
    assert "auto, coreml, diffusers" in caught.value.remedy


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        (DrawingWishes(precision="half"), "precision"),
        (DrawingWishes(compile=True), "compile"),
        (DrawingWishes(loras=(LoraFile(Path("x")),)), "loras"),
    ],
    ids=["precision", "compile", "loras"],
)
@pytest.mark.usefixtures("with_torch")
def test_a_wish_that_a_backend_cannot_honour_is_not_ignored(wishes: DrawingWishes, words: str) -> None:
    assert wishes.given == (words,)
    with pytest.raises(UsageError, match=f"coreml, which draws mini, knows no {words}") as caught:
        load_backend(resolve_model("mini", "image"), wishes)
    assert "`backend=diffusers`" in caught.value.remedy


@pytest.mark.usefixtures("without_torch")
def test_only_a_backend_that_can_draw_is_recommended() -> None:
    with pytest.raises(UsageError) as caught:
        load_backend(resolve_model("mini", "image"), DrawingWishes(compile=True))
    assert caught.value.remedy == "leave it out"


@pytest.mark.usefixtures("without_torch")
def test_without_the_extra_the_command_that_installs_it_is_named() -> None:
    with pytest.raises(MachineError, match="torch and diffusers") as caught:
        load_backend(at(MINI / "diffusers"), DrawingWishes())
    assert "diffusers]" in caught.value.remedy


@pytest.mark.usefixtures("without_torch")
def test_what_cannot_be_drawn_is_refused_before_it_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    from audio2img.backends.coreml import apple

    full = KnownModel("sd21-base-palettized", "coreml")
    monkeypatch.setattr(apple, "is_here", lambda: False)
    with pytest.raises(MachineError, match="only macOS can draw"):
        choose_row(full)
    with pytest.raises(MachineError, match="torch and diffusers"):
        choose_row(KnownModel("sd21-base-diffusers", "diffusers"))
    monkeypatch.setattr(apple, "is_here", lambda: True)
    assert choose_row(full).name == "coreml"


def test_the_names_of_rows_and_of_what_pictures_remember_are_unique() -> None:
    names = [row.name for row in ROWS]
    recorded = [name for row in ROWS for name in row.recorded]
    assert len(set(names)) == len(names)
    assert len(set(recorded)) == len(recorded)
    assert [name_of_recorded(name) for name in ("coreml", "reference", "diffusers")] == [
        "coreml", "coreml", "diffusers",
    ]  # fmt: skip
    assert name_of_recorded("a painter") == "auto"


def test_a_loaded_backend_says_what_it_can() -> None:
    backend = load_backend(resolve_model("mini", "image"), DrawingWishes(backend="coreml"))
    can = backend.capabilities
    assert can.sizes == Sizes((128, 128))
    assert (can.text_window, can.at_once, can.negative_prompt, can.init_image) == (77, 1, True, True)
    assert "dpmpp-2m" in can.schedulers
    assert (can.loras, can.is_reproducible, can.is_concurrent) == (False, True, False)
    backend.close()


@pytest.mark.parametrize(
    ("sizes", "asked", "nearest"),
    [
        (Sizes((512, 512)), (512, 512), (512, 512)),
        (Sizes((512, 512)), (512, 768), (512, 512)),
        (Sizes((512, 512), 64), (512, 768), (512, 768)),
        (Sizes((512, 512), 64), (500, 1), (512, 64)),
        (Sizes((1024, 1024), 16, least=256, most=2000), (100, 9999), (256, 2000)),
        (Sizes((1024, 1024), 16, least=250, most=2005), (0, 9999), (256, 2000)),
    ],
)
def test_the_nearest_size_can_be_drawn(
    sizes: Sizes, asked: tuple[int, int], nearest: tuple[int, int]
) -> None:
    assert sizes.nearest(*asked) == nearest
    assert sizes.includes(*nearest)
    assert sizes.includes(*asked) == (asked == nearest)


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
    from audio2img.backends.coreml import apple

    monkeypatch.setattr(catalog, "this_machine", lambda: Machine(platform, extra))  # type: ignore[arg-type]
    monkeypatch.setattr(apple, "is_here", lambda: platform == "macos")
    assert default_image_model(backend) == name
