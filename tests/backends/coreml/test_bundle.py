"""Finding a model's parts in a folder, and refusing what does not fit together before anything is drawn."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio2img.backends.coreml.bundle import load_bundle
from audio2img.errors import ModelError
from audio2img.mlprogram.mlmodelc import read_compiled_description

PREFIX = "Stable_Diffusion_version_test_"

HUGE = '{"scaling_factor": 1' + "0" * 400 + "}"  # more than a float holds


@pytest.fixture
def bundle_copy(mini_bundle: Path, tmp_path: Path) -> Path:
    """The embedded model, copied to be spoilt."""
    return Path(shutil.copytree(mini_bundle, tmp_path / "mini model"))


@pytest.fixture
def make_bundle(tools: Any, tmp_path: Path) -> Callable[..., Path]:
    """A folder whose parts have given inputs and outputs, and programs that compute nothing."""

    def make(width: int = 768, side: int = 64, **changes: Any) -> Path:
        latents = (4, side, side)
        parts: dict[str, Any] = {
            "text_encoder": (
                {"input_ids": ((1, 77), "float32")},
                {"last_hidden_state": ((1, 77, width), "float32")},
            ),
            "unet": (
                {
                    "sample": ((2, *latents), "float16"),
                    "timestep": ((2,), "float16"),
                    "encoder_hidden_states": ((2, width, 1, 77), "float16"),
                },
                {"noise_pred": ((2, *latents), "float32")},
            ),
            "vae_decoder": (
                {"z": ((1, *latents), "float16")},
                {"image": ((1, 3, 8 * side, 8 * side), "float32")},
            ),
            **changes,
        }
        folder = tmp_path / "model"
        folder.mkdir()
        for part, spec in parts.items():
            if spec is not None:
                tools.write_package(folder / f"{PREFIX}{part}.mlpackage", spec[0], [], spec[1])
        (folder / "vocab.json").write_text("{}")
        (folder / "merges.txt").write_text("#version: 0.2\n")
        return folder

    return make


def test_the_embedded_model(mini_bundle: Path) -> None:
    bundle = load_bundle(mini_bundle)
    assert set(bundle.parts) == {"text_encoder", "unet", "vae_decoder", "vae_encoder"}
    assert (bundle.contract.batch, bundle.contract.latent_shape[0], bundle.contract.context_length) == (
        2,
        4,
        77,
    )
    contract = bundle.contract
    assert contract.size == (8 * contract.latent_shape[2], 8 * contract.latent_shape[1])
    assert bundle.settings.name == "audio2img-mini"
    assert bundle.settings.facts.scheduler.prediction_type == "epsilon"
    assert bundle.defaults.scheduler == "dpmpp-2m"
    assert load_bundle(mini_bundle, "mini").settings.name == "mini"


@pytest.mark.parametrize(
    ("width", "side", "pad_token", "prediction_type"),
    [(768, 64, "<|endoftext|>", "epsilon"), (1024, 64, "!", "epsilon"), (1024, 96, "!", "v_prediction")],
    ids=["1.x", "2.x base", "2.x"],
)
def test_what_no_sidecar_says_is_inferred(
    make_bundle: Callable[..., Path], width: int, side: int, pad_token: str, prediction_type: str
) -> None:
    bundle = load_bundle(make_bundle(width, side))
    assert bundle.settings.facts.pad_tokens == (pad_token,)
    assert bundle.settings.facts.scheduler.prediction_type == prediction_type
    assert bundle.settings.facts.scaling_factor == 0.18215
    assert (bundle.settings.name, bundle.contract.size) == ("model", (8 * side, 8 * side))


def test_a_unet_for_one_at_a_time(make_bundle: Callable[..., Path]) -> None:
    one = (
        {
            "sample": ((1, 4, 64, 64), "float16"),
            "timestep": ((1,), "float16"),
            "encoder_hidden_states": ((1, 768, 1, 77), "float16"),
        },
        {"noise_pred": ((1, 4, 64, 64), "float32")},
    )
    assert load_bundle(make_bundle(unet=one)).contract.batch == 1


UNET_INPUTS = {
    "sample": ((2, 4, 64, 64), "float16"),
    "timestep": ((2,), "float16"),
    "encoder_hidden_states": ((2, 768, 1, 77), "float16"),
}
NOISE = {"noise_pred": ((2, 4, 64, 64), "float32")}
HIDDEN = {"last_hidden_state": ((1, 77, 768), "float32")}


@pytest.mark.parametrize(
    ("part", "spec", "message"),
    [
        ("unet", None, "no unet"),
        ("vae_decoder", None, "no vae decoder"),
        ("unet", ({**UNET_INPUTS, "time_ids": ((2, 6), "float16")}, NOISE), "unet .*takes"),
        ("unet", ({**UNET_INPUTS, "sample": ((3, 4, 64, 64), "float16")}, NOISE), "unet .*sample"),
        ("unet", ({**UNET_INPUTS, "timestep": ((1,), "float16")}, NOISE), "unet .*timesteps"),
        ("unet", ({**UNET_INPUTS, "encoder_hidden_states": ((2, 77, 768), "float16")}, NOISE), "unet .*text"),
        ("unet", (UNET_INPUTS, {"noise": ((2, 4, 64, 64), "float32")}), "unet .*gives"),
        ("unet", (UNET_INPUTS, {"noise_pred": ((2, 4, 32, 32), "float32")}), "unet .*gives noise"),
        ("text_encoder", ({"input_ids": ((1, 24), "float32")}, HIDDEN), "text encoder .*tokens"),
        ("text_encoder", ({"ids": ((1, 77), "float32")}, HIDDEN), "text encoder .*takes"),
        ("text_encoder",
         ({"input_ids": ((1, 77), "float32")}, {"last_hidden_state": ((1, 77, 64), "float32")}),
         "text encoder .*gives text"),
        ("vae_decoder", ({"z": ((1, 4, 32, 32), "float16")}, {"image": ((1, 3, 256, 256), "float32")}),
         "vae decoder .*latents"),
        ("vae_decoder", ({"z": ((1, 4, 64, 64), "float16")}, {"image": ((1, 4, 512, 512), "float32")}),
         "vae decoder .*pictures"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_are_refused_by_name(
    make_bundle: Callable[..., Path], part: str, spec: Any, message: str
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        load_bundle(make_bundle(**{part: spec}))
    assert caught.value.remedy


def test_outputs_without_shapes_are_taken_as_they_are(make_bundle: Callable[..., Path]) -> None:
    """Older converters leave the shapes of outputs out."""
    folder = make_bundle(
        unet=(UNET_INPUTS, {"noise_pred": ((), "float32")}),
        vae_decoder=({"z": ((1, 4, 64, 64), "float16")}, {"image": ((), "float32")}),
    )
    assert load_bundle(folder).contract.size == (512, 512)


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model folder"):
        load_bundle(tmp_path / "none")
    with pytest.raises(ModelError, match="no unet"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt"])
def test_a_missing_tokenizer_is_named(bundle_copy: Path, name: str) -> None:
    (bundle_copy / name).unlink()
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        load_bundle(bundle_copy)


def test_two_models_in_one_folder_are_refused(bundle_copy: Path) -> None:
    unet = next(bundle_copy.glob("*_unet.mlpackage"))
    shutil.copytree(unet, bundle_copy / f"{PREFIX}unet.mlpackage")
    with pytest.raises(ModelError, match="several models"):
        load_bundle(bundle_copy)


@pytest.mark.parametrize(
    "content",
    [
        "{", "[]", '{"format": 2}', '{"scaling_factor": "1"}', '{"scaling_factor": 0}', '{"scheduler": 3}',
        '{"defaults": {"steps": -1}}', '{"defaults": {"scheduler": "magic"}}', '{"name": 5}',
        '{"prediction_type": "wishes"}', '{"scaling_factor": NaN}', HUGE,
        '{"defaults": {"guidance_scale": true}}',
    ],
)  # fmt: skip
def test_a_damaged_sidecar_is_refused(bundle_copy: Path, content: str) -> None:
    (bundle_copy / "audio2img.json").write_text(content)
    with pytest.raises(ModelError) as caught:
        load_bundle(bundle_copy)
    assert caught.value.remedy


def test_a_sidecar_is_believed(bundle_copy: Path) -> None:
    settings = {
        "name": "other",
        "prediction_type": "v_prediction",
        "scaling_factor": 0.5,
        "pad_token": "!",
        "scheduler": {"beta_end": 0.02, "timestep_spacing": "trailing"},
        "defaults": {"steps": 7, "guidance_scale": 3, "scheduler": "euler"},
    }
    (bundle_copy / "audio2img.json").write_text(json.dumps(settings))
    bundle = load_bundle(bundle_copy)
    assert bundle.settings.name == "other"
    assert bundle.settings.facts.scheduler.prediction_type == "v_prediction"
    assert (bundle.settings.facts.scheduler.beta_end, bundle.settings.facts.scheduler.timestep_spacing) == (
        0.02,
        "trailing",
    )
    assert (bundle.settings.facts.scaling_factor, bundle.settings.facts.pad_tokens) == (0.5, ("!",))
    assert (bundle.defaults.steps, bundle.defaults.guidance_scale, bundle.defaults.scheduler) == (
        7,
        3.0,
        "euler",
    )


def test_the_hash_is_of_the_contents(mini_bundle: Path, bundle_copy: Path) -> None:
    original = load_bundle(mini_bundle).hash
    assert len(original) == 64
    assert load_bundle(bundle_copy).hash == original  # wherever the folder is
    (bundle_copy / ".DS_Store").write_bytes(b"left behind")
    (bundle_copy / "notes.txt").write_text("not a part")
    assert load_bundle(bundle_copy).hash == original
    weights = next(bundle_copy.glob("*_unet.mlpackage")) / "Data/com.apple.CoreML/weights/weight.bin"
    content = bytearray(weights.read_bytes())
    content[-100] ^= 1
    weights.write_bytes(bytes(content))
    assert load_bundle(bundle_copy).hash != original


SCHEMA = [
    {
        "inputSchema": [
            {
                "name": "sample",
                "shape": "[2, 4, 64, 64]",
                "dataType": "Float16",
                "isOptional": "0",
                "type": "MultiArray",
            }
        ],
        "outputSchema": [{"name": "noise_pred", "shape": "[]", "dataType": "Float32", "type": "MultiArray"}],
    }
]


def test_a_compiled_model_describes_itself(tmp_path: Path) -> None:
    (tmp_path / "metadata.json").write_text(json.dumps(SCHEMA))
    description = read_compiled_description(tmp_path)
    assert [str(spec) for spec in description.inputs] == ["sample: float16 [2, 4, 64, 64]"]
    assert (description.outputs[0].shape, description.outputs[0].dtype) == ((), np.float32)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "[{}]", json.dumps(SCHEMA).replace("[2, 4", "__import__('os'), [4"),
                json.dumps(SCHEMA).replace("Float16", "Image")]
)  # fmt: skip
def test_a_damaged_description_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "metadata.json").write_text(content)
    with pytest.raises(ModelError, match=r"metadata\.json"):
        read_compiled_description(tmp_path)
