"""The same model gives the same facts, read from a diffusers folder or from Core ML packages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from audio2img.backends.coreml.bundle import load_bundle
from audio2img.backends.torch.facts import read_facts
from audio2img.backends.torch.folder import read_folder
from audio2img.diffusion import ModelDefaults
from audio2img.diffusion.facts import ModelFacts, usual_defaults

MINI = Path(__file__).resolve().parents[2] / "models" / "mini" / "diffusers"
TRAINED = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000, "trained_betas": None,
}  # fmt: skip

# The scheduler_config.json that each was published with (stable-diffusion-v1-5, stable-diffusion-2-1-base,
# stable-diffusion-2-1, stable-diffusion-xl-base-1.0).
PNDM = {
    "_class_name": "PNDMScheduler", **TRAINED, "clip_sample": False, "set_alpha_to_one": False,
    "skip_prk_steps": True, "steps_offset": 1,
}  # fmt: skip
PUBLISHED: dict[str, dict[str, Any]] = {
    "sd15": {"scheduler": PNDM, "widths": [768], "side": 64, "pads": ["<|endoftext|>"], "scale": 0.18215},
    "sd21-base": {
        "scheduler": {**PNDM, "prediction_type": "epsilon"},
        "widths": [1024], "side": 64, "pads": ["!"], "scale": 0.18215,
    },
    "sd21": {
        "scheduler": {**PNDM, "_class_name": "DDIMScheduler", "prediction_type": "v_prediction"},
        "widths": [1024], "side": 96, "pads": ["!"], "scale": 0.18215,
    },
    "sdxl": {
        "scheduler": {
            **PNDM, "_class_name": "EulerDiscreteScheduler", "interpolation_type": "linear",
            "prediction_type": "epsilon", "sample_max_value": 1.0, "timestep_spacing": "leading",
            "use_karras_sigmas": False,
        },
        "widths": [768, 1280], "side": 128, "pads": ["<|endoftext|>", "!"], "scale": 0.13025,
    },
}  # fmt: skip


def write_folder(path: Path, model: dict[str, Any]) -> Path:
    """The settings of a published model as a diffusers folder; facts ask for no weight."""
    is_sdxl = len(model["widths"]) == 2
    index: dict[str, Any] = {
        "_class_name": "StableDiffusionXLPipeline" if is_sdxl else "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    settings: dict[str, Any] = {
        "unet": {"in_channels": 4, "sample_size": model["side"]},
        "vae": {"block_out_channels": [128, 256, 512, 512], "scaling_factor": model["scale"]},
    }
    if is_sdxl:
        index["force_zeros_for_empty_prompt"] = True
    for number, pad in enumerate(model["pads"], 1):
        suffix = "" if number == 1 else f"_{number}"
        index[f"text_encoder{suffix}"] = ["transformers", "CLIPTextModel" + "WithProjection" * (number - 1)]
        settings[f"text_encoder{suffix}"] = {"hidden_size": model["widths"][number - 1]}
        (path / f"tokenizer{suffix}").mkdir(parents=True)
        marks = {"pad_token": pad}
        (path / f"tokenizer{suffix}" / "special_tokens_map.json").write_text(json.dumps(marks))
    for part, config in settings.items():
        (path / part).mkdir()
        (path / part / "config.json").write_text(json.dumps(config))
        stem = "model" if "text" in part else "diffusion_pytorch_model"
        (path / part / f"{stem}.safetensors").touch()
    (path / "scheduler").mkdir()
    (path / "scheduler" / "scheduler_config.json").write_text(json.dumps(model["scheduler"]))
    (path / "model_index.json").write_text(json.dumps(index))
    return path


def write_bare_bundle(path: Path, model: dict[str, Any], tools: Any) -> Path:
    """The same model as Core ML packages with nothing beside them but the first vocabulary."""
    side, (width, *second) = model["side"], model["widths"]
    latents, is_sdxl = (4, side, side), bool(model["widths"][1:])
    state = "hidden_embeds" if is_sdxl else "last_hidden_state"
    ids = {"input_ids": ((1, 77), "float32")}
    unet: dict[str, Any] = {
        "sample": ((2, *latents), "float16"),
        "timestep": ((2,), "float16"),
        "encoder_hidden_states": ((2, sum(model["widths"]), 1, 77), "float16"),
    }
    parts: dict[str, Any] = {
        "text_encoder": (ids, {state: ((1, 77, width), "float32")}),
        "unet": (unet, {"noise_pred": ((2, *latents), "float32")}),
        "vae_decoder": (
            {"z": ((1, *latents), "float16")},
            {"image": ((1, 3, 8 * side, 8 * side), "float32")},
        ),
    }
    if is_sdxl:
        unet |= {"text_embeds": ((2, second[0]), "float16"), "time_ids": ((2, 6), "float16")}
        pooled = {"pooled_outputs": ((1, second[0]), "float32")}
        parts["text_encoder_2"] = (ids, {state: ((1, 77, second[0]), "float32"), **pooled})
    path.mkdir()
    for part, (inputs, outputs) in parts.items():
        name = f"Stable_Diffusion_version_published_{part}.mlpackage"
        tools.write_package(path / name, inputs, [], outputs)
    (path / "vocab.json").write_text("{}")
    (path / "merges.txt").write_text("#version: 0.2\n")
    return path


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_bundle_with_no_sidecar_is_taken_as_it_was_published(name: str, tools: Any, tmp_path: Path) -> None:
    folder = read_facts(read_folder(write_folder(tmp_path / "folder", PUBLISHED[name])))
    bundle = load_bundle(write_bare_bundle(tmp_path / "bundle", PUBLISHED[name], tools)).settings.facts
    assert bundle == folder
    assert bundle.defaults.guidance_scale == (5.0 if name == "sdxl" else 7.5)
    assert bundle.prediction_type == ("v_prediction" if name == "sd21" else "epsilon")


def test_the_mini_model_in_both_forms(mini_bundle: Path) -> None:
    facts: ModelFacts = read_facts(read_folder(MINI))
    assert load_bundle(mini_bundle).settings.facts == facts
    assert facts.defaults == ModelDefaults(20, 5.0, "dpmpp-2m", 128, 128)


@pytest.mark.parametrize(
    ("scheduler", "told", "steps", "guidance", "name"),
    [
        ({}, False, 20, 5.0, "dpmpp-2m"),
        ({"_class_name": "EDMEulerScheduler"}, False, 50, 3.0, "euler"),
        ({"_class_name": "LCMScheduler"}, True, 4, 8.0, "lcm"),
        ({"_class_name": "LCMScheduler"}, False, 4, 1.0, "lcm"),
        (
            {"_class_name": "EulerAncestralDiscreteScheduler", "timestep_spacing": "trailing"},
            False, 4, 0.0, "euler-a",
        ),
        (
            {
                "_class_name": "EulerDiscreteScheduler", "timestep_spacing": "trailing",
                "prediction_type": "v_prediction",
            },
            False, 20, 5.0, "dpmpp-2m",
        ),
    ],
    ids=["base", "edm", "lcm", "lcm not told", "turbo", "zero snr"],
)  # fmt: skip
def test_what_each_kind_is_drawn_with(
    scheduler: dict[str, Any], told: bool, steps: int, guidance: float, name: str
) -> None:
    usual = usual_defaults("sdxl", scheduler, (512, 512), told)
    assert usual == ModelDefaults(steps, guidance, name, 512, 512)
