"""Whole pictures in every layout against diffusers on the same weights, noise and settings: >= 60 dB."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio2img.backends.coreml.backend import CoreMLBackend
from audio2img.errors import NothingToDrawError
from audio2img.types import ImageRequest, InitImage

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow, pytest.mark.timeout(900)]

Layouts = Callable[[str], Path]
LEAST_DB = 60.0
PROMPTS = (("a red house at night", ""), ("a yellow moon in the snow", "a red house"))


def load_pipeline(folder: Path, kind: str) -> Any:
    """The diffusers pipeline of a folder, in float32, with CLIP's whole window and no safety checker."""
    import diffusers
    import torch
    from transformers import CLIPTokenizer

    more = {} if "XL" in kind else {"safety_checker": None, "requires_safety_checker": False}
    pipeline = getattr(diffusers, kind).from_pretrained(
        folder, torch_dtype=torch.float32, local_files_only=True, **more
    )
    for name in ("tokenizer", "tokenizer_2"):
        if hasattr(pipeline, name):
            setattr(pipeline, name, CLIPTokenizer.from_pretrained(folder / name, model_max_length=77))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def noise_of(backend: CoreMLBackend, seed: int, count: int = 1) -> np.ndarray:
    shape = (count, *backend.bundle.contract.latent_shape)
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


def byte_db(pixels: np.ndarray, image: np.ndarray) -> float:
    """PSNR in dB of a picture against one in [0, 1], as bytes."""
    error = pixels.astype(np.float64) - np.round(image * 255)
    return float(10 * np.log10(255**2 / max((error**2).mean(), 1e-12)))


def drawn_db(backend: CoreMLBackend, pipeline: Any, scheduler: str) -> float:
    """The dB of the mean squared error over both prompts, at the default settings of the model."""
    import torch

    found = []
    for seed, (prompt, negative) in enumerate(PROMPTS):
        defaults = backend.defaults
        request = ImageRequest(prompt, negative, seed, defaults.steps, defaults.guidance_scale, scheduler)
        expected = pipeline(
            prompt,
            negative_prompt=negative or None,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            latents=torch.from_numpy(noise_of(backend, seed)),
            output_type="np",
        ).images[0]
        found.append(byte_db(backend.generate(request).pixels, expected))
    print(f"{backend.bundle.folder.name}: {[round(value, 1) for value in found]} dB")
    return float(-10 * np.log10(np.mean([10 ** (-value / 10) for value in found])))


@pytest.mark.parametrize("name", ["whole16", "batch1", "chunked", "no_encoder", "v", "safety"])
def test_stable_diffusion(mini_layout: Layouts, mini_layout_source: Layouts, name: str) -> None:
    from diffusers import DPMSolverMultistepScheduler

    pipeline = load_pipeline(mini_layout_source(name), "StableDiffusionPipeline")
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    assert drawn_db(CoreMLBackend.load(mini_layout(name)), pipeline, "dpmpp-2m") >= LEAST_DB


@pytest.mark.parametrize("name", ["whole16", "chunked"])
def test_compiled_resources(
    mini_layout: Layouts, mini_layout_source: Layouts, tmp_path: Path, name: str,
    as_compiled: Callable[[Path, Path], Path], core_ml_stand_in: list[tuple[str, str]],
) -> None:  # fmt: skip
    from diffusers import DPMSolverMultistepScheduler

    pipeline = load_pipeline(mini_layout_source(name), "StableDiffusionPipeline")
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    backend = CoreMLBackend.load(as_compiled(mini_layout(name), tmp_path / "compiled"))
    assert {part.path.suffix for part in backend.bundle.parts.values()} == {".mlmodelc"}
    assert drawn_db(backend, pipeline, "dpmpp-2m") >= LEAST_DB


def test_sdxl(mini_layout: Layouts, mini_layout_source: Layouts) -> None:
    pipeline = load_pipeline(mini_layout_source("sdxl"), "StableDiffusionXLPipeline")
    backend = CoreMLBackend.load(mini_layout("sdxl"))
    assert backend.bundle.contract.kind == "sdxl"
    assert drawn_db(backend, pipeline, "euler") >= LEAST_DB


def test_a_flagged_picture_is_refused(mini_layout: Layouts) -> None:
    with pytest.raises(NothingToDrawError, match="safety checker"):
        CoreMLBackend.load(mini_layout("safety_flags")).generate(ImageRequest("a red house", steps=2))


def test_the_safety_checker_sees_what_diffusers_shows_it(
    mini_layout: Layouts, mini_layout_source: Layouts
) -> None:
    """Our preparation of the picture for CLIP against the feature extractor's."""
    from PIL import Image
    from transformers import CLIPImageProcessorPil

    from audio2img.backends.coreml import vae

    seen: dict[str, np.ndarray] = {}

    class Watch:
        def predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            seen.update(inputs)
            return {"has_nsfw_concepts": np.zeros(1, np.float32)}

    backend = CoreMLBackend.load(mini_layout("safety"))
    pixels = backend.generate(ImageRequest("a red house", steps=4, seed=3)).pixels
    vae.is_refused(backend.bundle, Watch(), pixels)
    folder = mini_layout_source("safety") / "feature_extractor"
    processor = CLIPImageProcessorPil.from_pretrained(folder)
    expected = processor(Image.fromarray(pixels), return_tensors="np").pixel_values
    np.testing.assert_allclose(seen["clip_input"].astype(np.float32), expected, atol=0.02)


@pytest.mark.parametrize("strength", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("name", ["whole16", "batch1", "chunked"])
def test_image_to_image(
    mini_layout: Layouts,
    mini_layout_source: Layouts,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    strength: float,
) -> None:
    """diffusers' own pipeline, with our noise in place of torch's."""
    import torch
    from diffusers import DPMSolverMultistepScheduler
    from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_img2img as img2img
    from PIL import Image

    backend = CoreMLBackend.load(mini_layout(name))
    pipeline = load_pipeline(mini_layout_source(name), "StableDiffusionImg2ImgPipeline")
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    seed, steps = 4, 20
    source = backend.generate(ImageRequest("a green tree", seed=9, steps=10)).pixels
    noise, encoder_noise = np.split(noise_of(backend, seed, 2), 2)

    def encode(posterior: Any, generator: Any = None, sample_mode: str = "sample") -> Any:
        distribution = posterior.latent_dist
        return distribution.mean + distribution.std * torch.from_numpy(encoder_noise)

    monkeypatch.setattr(img2img, "retrieve_latents", encode)
    monkeypatch.setattr(img2img, "randn_tensor", lambda *given, **named: torch.from_numpy(noise))
    expected = pipeline(
        "a red house at night", image=Image.fromarray(source), strength=strength,
        num_inference_steps=steps, guidance_scale=5.0, output_type="np",
    ).images[0]  # fmt: skip
    request = ImageRequest(
        "a red house at night", seed=seed, steps=steps, guidance_scale=5.0, strength=strength,
        init_image=InitImage("source", "0" * 64),
    )  # fmt: skip
    found = byte_db(backend.generate(request, init_image=source).pixels, expected)
    print(f"{name}, strength {strength}: {found:.1f} dB")
    assert found >= LEAST_DB
