"""Parts that must fit together: halves of a UNet, SDXL's second encoder, the encoder, the safety checker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from audio2img.backends.coreml.contract import Part, check_contract
from audio2img.errors import ModelError
from audio2img.mlprogram.mlpackage import read_description

Spec = tuple[dict[str, Any], dict[str, Any]]
F16, F32 = "float16", "float32"

TEXT: Spec = ({"input_ids": ((1, 77), F32)}, {"last_hidden_state": ((1, 77, 768), F32)})
UNET_INPUTS = {
    "sample": ((2, 4, 64, 48), F16),
    "timestep": ((2,), F16),
    "encoder_hidden_states": ((2, 768, 1, 77), F16),
}
NOISE = {"noise_pred": ((2, 4, 64, 48), F32)}
DECODER: Spec = ({"z": ((1, 4, 64, 48), F16)}, {"image": ((1, 3, 512, 384), F32)})
ENCODER: Spec = ({"x": ((1, 3, 512, 384), F16)}, {"latent": ((1, 8, 64, 48), F32)})
CHECKER: Spec = (
    {"clip_input": ((1, 3, 224, 224), F16), "images": ((1, 512, 384, 3), F16), "adjustment": ((1,), F16)},
    {"filtered_images": ((1, 512, 384, 3), F32), "has_nsfw_concepts": ((1,), F32),
     "concept_scores": ((1, 17), F32)},
)  # fmt: skip
PARTS: dict[str, Spec] = {"text_encoder": TEXT, "unet": (UNET_INPUTS, NOISE), "vae_decoder": DECODER}

XL_UNET: Spec = (
    {**UNET_INPUTS, "encoder_hidden_states": ((2, 2048, 1, 77), F16), "time_ids": ((2, 6), F16),
     "text_embeds": ((2, 1280), F16)},
    NOISE,
)  # fmt: skip
XL_TEXT: Spec = (
    {"input_ids": ((1, 77), F32)},
    {"hidden_embeds": ((1, 77, 768), F32), "pooled_outputs": ((1, 768), F32)},
)
XL_TEXT_2: Spec = (
    {"input_ids": ((1, 77), F32)},
    {"hidden_embeds": ((1, 77, 1280), F32), "pooled_outputs": ((1, 1280), F32)},
)
XL = {"text_encoder": XL_TEXT, "text_encoder_2": XL_TEXT_2, "unet": XL_UNET, "vae_decoder": DECODER}

HALF_1: Spec = (UNET_INPUTS, {"hidden": ((2, 320, 64, 48), F16), "skip": ((2, 8), F16)})
HALF_2: Spec = ({**UNET_INPUTS, "hidden": ((2, 320, 64, 48), F16), "skip": ((2, 8), F16)}, NOISE)
HALVES = {"text_encoder": TEXT, "unet_chunk1": HALF_1, "unet_chunk2": HALF_2, "vae_decoder": DECODER}


def changed(spec: Spec, inputs: dict[str, Any] | None = None, outputs: dict[str, Any] | None = None) -> Spec:
    """The same with other shapes; None takes a name away."""
    new = ({**spec[0], **(inputs or {})}, {**spec[1], **(outputs or {})})
    return tuple({name: value for name, value in side.items() if value} for side in new)  # type: ignore[return-value]


@pytest.fixture
def describe(tools: Any, tmp_path: Path) -> Any:
    def make(specs: dict[str, Spec]) -> dict[str, Part]:
        parts = {}
        for name, (inputs, outputs) in specs.items():
            path = tools.write_package(tmp_path / f"{name}.mlpackage", inputs, [], outputs)
            parts[name] = Part(name, path, read_description(path))
        return parts

    return make


def test_stable_diffusion_with_everything(describe: Any) -> None:
    contract = check_contract(describe({**PARTS, "vae_encoder": ENCODER, "safety_checker": CHECKER}))
    assert (contract.kind, contract.batch, contract.latent_shape) == ("sd", 2, (4, 64, 48))
    assert (contract.size, contract.context_length, contract.text_width) == ((384, 512), 77, 768)


def test_two_halves_are_one_unet(describe: Any) -> None:
    contract = check_contract(describe(HALVES))
    assert (contract.kind, contract.batch, contract.text_width) == ("sd", 2, 768)


def test_a_half_may_leave_an_input_to_the_other(describe: Any) -> None:
    first = changed(HALF_1, {"encoder_hidden_states": None})
    assert check_contract(describe({**HALVES, "unet_chunk1": first})).text_width == 768


@pytest.mark.parametrize("time_ids", [(2, 6), (12,)])
def test_sdxl(describe: Any, time_ids: tuple[int, ...]) -> None:
    contract = check_contract(describe({**XL, "unet": changed(XL_UNET, {"time_ids": (time_ids, F16)})}))
    assert (contract.kind, contract.text_width) == ("sdxl", 2048)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({**PARTS, "vae_encoder": changed(ENCODER, {"x": ((1, 3, 64, 64), F16)})}, "vae encoder .*pictures"),
        ({**PARTS, "vae_encoder": changed(ENCODER, outputs={"latent": ((1, 4, 64, 48), F32)})}, "vae enc"),
        ({**PARTS, "safety_checker": changed(CHECKER, {"clip_input": ((1, 3, 224, 220), F16)})}, "safety"),
        ({**PARTS, "safety_checker": changed(CHECKER, {"adjustment": None})}, "safety checker .*takes"),
        ({**PARTS, "safety_checker": changed(CHECKER, outputs={"has_nsfw_concepts": None})}, "safety"),
        ({**HALVES, "unet_chunk2": changed(HALF_2, {"hidden": ((2, 320, 32, 48), F16)})}, "chunk2 .*hidden"),
        ({**HALVES, "unet_chunk2": changed(HALF_2, {"mystery": ((2, 3), F16)})}, "unet .*mystery"),
        ({**HALVES, "unet_chunk2": (HALF_2[0], {"noise": ((2, 4, 64, 48), F32)})}, "unet .*gives"),
        ({name: spec for name, spec in XL.items() if name != "text_encoder_2"}, "no text encoder 2"),
        ({name: spec for name, spec in XL.items() if name != "text_encoder"}, "no text encoder"),
        ({**XL, "text_encoder": TEXT}, "text encoder .*gives"),
        ({**XL, "text_encoder_2": changed(XL_TEXT_2, outputs={"pooled_outputs": ((1, 768), F32)})}, "pooled"),
        ({**XL, "text_encoder_2": changed(XL_TEXT_2, outputs={"hidden_embeds": ((1, 77, 99), F32)})}, "text"),
        ({**XL, "unet": changed(XL_UNET, {"time_ids": ((2, 5), F16)})}, "unet .*time ids"),
        ({**PARTS, "unet": changed((UNET_INPUTS, NOISE), {"down_block_1": ((2, 3), F16)})}, "ControlNet"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(describe: Any, parts: dict[str, Spec], message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        check_contract(describe(parts))
    assert caught.value.remedy
