"""One safetensors file draws what the diffusers folder it was made of draws: bit-equal pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import diffusers_models as models
import first_layout
import numpy as np
import pytest

from audio2img.backends.torch.backend import DiffusersBackend
from audio2img.errors import ModelError
from audio2img.types import ImageRequest

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

REQUEST = ImageRequest("a big red house", seed=5, steps=3, guidance_scale=5.0, width=64, height=64)
HIDDEN = 64  # of the text encoder: one head
# SDXL's second one; diffusers tells the two apart by their width alone
WIDER = {"hidden_size": 2 * HIDDEN, "num_attention_heads": 2, "projection_dim": 2 * HIDDEN}


def make_model(folder: Path, mini: Path, kind: str) -> Path:
    """A small random model whose settings are those that can be read off its weights."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(11)
    n_tokens = len(json.loads((mini / "tokenizer" / "vocab.json").read_text()))
    is_xl = kind == "sdxl"
    clip = CLIPTextConfig(
        vocab_size=n_tokens, hidden_size=HIDDEN, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=1, max_position_embeddings=77, projection_dim=HIDDEN,
        hidden_act="gelu" if kind == "sd2" else "quick_gelu",
        bos_token_id=n_tokens - 2, eos_token_id=n_tokens - 1,
    )  # fmt: skip
    CLIPTextModel(clip).save_pretrained(folder / "text_encoder")
    if is_xl:
        second = CLIPTextConfig(**{**clip.to_dict(), "hidden_act": "gelu", "num_hidden_layers": 3, **WIDER})
        CLIPTextModelWithProjection(second).save_pretrained(folder / "text_encoder_2")
    unet: dict[str, Any] = {
        "sample_size": (1024 if is_xl else 512) // 2, "block_out_channels": (64, 128), "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": HIDDEN * (3 if is_xl else 1),
        "use_linear_projection": kind != "sd1", "attention_head_dim": 8 if kind == "sd1" else (1, 2),
    }  # fmt: skip
    if is_xl:
        unet |= {
            "addition_embed_type": "text_time", "addition_time_embed_dim": 16,
            "projection_class_embeddings_input_dim": 2 * HIDDEN + 6 * 16,
            "transformer_layers_per_block": (1, 2),
        }  # fmt: skip
    diffusers.UNet2DConditionModel(**unet).save_pretrained(folder / "unet")
    diffusers.AutoencoderKL(
        block_out_channels=(32, 64), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4,
        scaling_factor=0.13025 if is_xl else 0.18215,
    ).save_pretrained(folder / "vae")  # fmt: skip
    for name in ("tokenizer", "tokenizer_2")[: 1 + is_xl]:
        shutil.copytree(mini / "tokenizer", folder / name)
        pad = "<|endoftext|>" if kind == "sd1" or (is_xl and name == "tokenizer") else "!"
        for file in ("special_tokens_map.json", "tokenizer_config.json"):
            models.edit_json(folder / name / file, pad_token=pad)
    names = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "text_encoder": "CLIPTextModel"}
    if is_xl:
        names["text_encoder_2"] = "CLIPTextModelWithProjection"
    index: dict[str, Any] = {name: ["x", one] for name, one in names.items()}
    index["_class_name"] = f"StableDiffusion{'XL' if is_xl else ''}Pipeline"
    (folder / "model_index.json").write_text(json.dumps(index))
    scheduler = diffusers.EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
        timestep_spacing="leading" if is_xl else "linspace",  # as each was published
    )  # fmt: skip
    scheduler.save_pretrained(folder / "scheduler")
    return folder


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl"])
def test_one_file_is_as_good_as_a_folder(kind: str, mini_diffusers: Path, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "folder", mini_diffusers, kind)
    path = first_layout.write_checkpoint(
        folder, tmp_path / "one" / "my.safetensors", kind, mini_diffusers / "tokenizer"
    )
    single = DiffusersBackend.load(path)
    whole = DiffusersBackend.load(folder)
    assert (single.model, single.defaults) == ("my", whole.defaults)
    assert {name: part.n_parameters for name, part in single.folder.parts.items() if "text" not in name} == {
        name: part.n_parameters for name, part in whole.folder.parts.items() if "text" not in name
    }
    ours, theirs = single.generate(REQUEST).pixels, whole.generate(REQUEST).pixels
    assert ours.std() > 1
    assert np.array_equal(ours, theirs)


def test_what_no_shape_tells(mini_diffusers: Path, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "folder", mini_diffusers, "sd2")
    path = first_layout.write_checkpoint(
        folder, tmp_path / "m.safetensors", "sd2", mini_diffusers / "tokenizer"
    )
    assert DiffusersBackend.load(path).folder.scheduler["prediction_type"] == "epsilon"
    path.with_suffix(".json").write_text('{"prediction_type": "v_prediction"}')
    backend = DiffusersBackend.load(path)
    assert backend.folder.scheduler["prediction_type"] == "v_prediction"
    assert backend.defaults.width == 768
    path.with_suffix(".json").write_text('{"prediction_type": "sample"}')
    with pytest.raises(ModelError, match="is not understood"):
        DiffusersBackend.load(path)


def test_playground_is_known_by_its_numbers(mini_diffusers: Path, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "folder", mini_diffusers, "sdxl")
    path = first_layout.write_checkpoint(
        folder, tmp_path / "p.safetensors", "sdxl", mini_diffusers / "tokenizer",
        edm_mean=models.EDM_MEAN, edm_std=models.EDM_STD,
    )  # fmt: skip
    backend = DiffusersBackend.load(path)
    assert (backend.defaults.steps, backend.defaults.guidance_scale) == (50, 3.0)
    assert backend.folder.parts["vae"].config["latents_mean"] == pytest.approx(models.EDM_MEAN)
    assert backend.generate(REQUEST).pixels.shape == (64, 64, 3)


def test_what_is_refused(mini_diffusers: Path, tmp_path: Path) -> None:
    pickle = tmp_path / "model.ckpt"
    pickle.write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(ModelError, match="can run any program"):
        DiffusersBackend.load(pickle)
    with pytest.raises(ModelError, match="is not a whole Stable Diffusion"):
        DiffusersBackend.load(mini_diffusers / "unet" / "diffusion_pytorch_model.safetensors")
    folder = make_model(tmp_path / "folder", mini_diffusers, "sd1")
    path = first_layout.write_checkpoint(
        folder, tmp_path / "m" / "a.safetensors", "sd1", mini_diffusers / "tokenizer"
    )
    (path.parent / "vocab.json").unlink()
    with pytest.raises(ModelError, match="has no vocabulary") as caught:
        DiffusersBackend.load(path)
    assert "audio2img models get" in caught.value.remedy
