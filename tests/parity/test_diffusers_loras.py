"""LoRA files: as diffusers fuses them, remembered by the picture, refused where they do not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers_models as models
import numpy as np
import pytest

from audio2img import Options, Pipeline
from audio2img.backends.torch.backend import DiffusersBackend
from audio2img.diffusion.loras import LoraFile
from audio2img.errors import InputError, ModelError, UsageError
from audio2img.types import ImageRequest

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
pytest.importorskip("peft")

REQUEST = ImageRequest("a big red house", seed=5, steps=3, guidance_scale=5.0)


def make_lora(folder: Path, model: Path, seed: int, with_text: bool = False) -> Path:
    """A LoRA of rank 2 for a model's UNet (and text encoder), with random numbers, as diffusers saves it."""
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    def layers(network: Any, targets: list[str]) -> dict[str, Any]:
        network.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=targets))
        for name, tensor in network.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(tensor, std=0.2)
        return dict(convert_state_dict_to_diffusers(get_peft_model_state_dict(network)))

    torch.manual_seed(seed)
    pipe = diffusers.DiffusionPipeline.from_pretrained(model, torch_dtype=torch.float32)
    given = {"unet_lora_layers": layers(pipe.unet, ["to_q", "to_v"])}
    if with_text:
        given["text_encoder_lora_layers"] = layers(pipe.text_encoder, ["q_proj", "v_proj"])
    pipe.save_lora_weights(folder, weight_name=f"lora{seed}.safetensors", **given)
    return folder / f"lora{seed}.safetensors"


@pytest.fixture(scope="module")
def loras(mini_diffusers: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("loras")
    return [make_lora(folder, mini_diffusers, 1), make_lora(folder, mini_diffusers, 2, with_text=True)]


def test_two_with_weights_are_those_that_diffusers_fuses(mini_diffusers: Path, loras: list[Path]) -> None:
    files = [LoraFile(loras[0], 0.7), LoraFile(loras[1], -0.4)]
    backend = DiffusersBackend.load(mini_diffusers, "mini", loras=files)
    request = replace(REQUEST, loras=backend.loras)
    ours = backend.generate(request).pixels

    pipe = diffusers.StableDiffusionPipeline.from_pretrained(mini_diffusers, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    plain = pipe_picture(pipe)
    for name, file in zip("ab", files, strict=True):
        pipe.load_lora_weights(str(file.path.parent), weight_name=file.path.name, adapter_name=name)
    pipe.set_adapters(["a", "b"], [0.7, -0.4])
    pipe.fuse_lora(adapter_names=["a", "b"])
    pipe.unload_lora_weights()
    assert np.array_equal(ours, pipe_picture(pipe))
    assert not np.array_equal(ours, plain)
    with pytest.raises(UsageError, match="LoRA"):
        backend.generate(REQUEST)


def pipe_picture(pipe: Any) -> np.ndarray:
    result = pipe(
        REQUEST.prompt, num_inference_steps=3, guidance_scale=5.0, output_type="np",
        latents=models.latents_by_hand(pipe, REQUEST.seed),
    )  # fmt: skip
    return (result.images[0] * 255).round().astype(np.uint8)


def test_one_for_sdxl(mini_layout_source: Any, tmp_path: Path) -> None:
    folder = mini_layout_source("sdxl")
    lora = make_lora(tmp_path, folder, 3)
    backend = DiffusersBackend.load(folder, "sdxl", loras=[LoraFile(lora)])
    with_it = backend.generate(replace(REQUEST, loras=backend.loras)).pixels
    assert not np.array_equal(with_it, DiffusersBackend.load(folder, "sdxl").generate(REQUEST).pixels)


def test_a_picture_remembers_them_and_is_drawn_again_with_them_only(
    loras: list[Path], tmp_path: Path
) -> None:
    from audio2img.output import read_record

    with Pipeline("mini", backend="diffusers", loras=[f"{loras[0]}:0.7"]) as pipeline:
        path = pipeline.generate("a red house", Options(seed=1, steps=2)).save(tmp_path)[0]
        record = read_record(path)
        assert [(lora.name, lora.weight) for lora in record.request.loras] == [("lora1.safetensors", 0.7)]
        first, again = (
            pipeline.draw(record.request).images[0].pixels,
            pipeline.generate("a red house", Options(seed=1, steps=2)).images[0].pixels,
        )
        assert np.array_equal(first, again)
    for given in ((), (loras[1],), (f"{loras[0]}:0.6",)):
        with Pipeline("mini", backend="diffusers", loras=given) as pipeline, pytest.raises(InputError):
            pipeline.draw(record.request)


def test_what_does_not_fit_is_refused(
    mini_diffusers: Path, mini_layout_source: Any, loras: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(loras[0].read_bytes()[:-5])
    foreign = mini_diffusers / "vae" / "diffusion_pytorch_model.safetensors"
    other = make_lora(tmp_path, mini_layout_source("sdxl"), 4)
    for path, words in ((broken, "cut short"), (foreign, "does not fit"), (other, "does not fit")):
        with pytest.raises(ModelError, match=words):
            DiffusersBackend.load(mini_diffusers, "mini", loras=[LoraFile(path)])
