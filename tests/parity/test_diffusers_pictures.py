"""Our backend against diffusers' own pipelines called by hand: bit-equal pictures on the processor.

On both sides the same numbers stand for noise; everything else is what each makes of the request.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers_models as models
import numpy as np
import pytest

from audio2img.backends.coreml.backend import CoreMLBackend
from audio2img.backends.torch import backend
from audio2img.backends.torch.backend import DiffusersBackend
from audio2img.errors import NothingToDrawError
from audio2img.mlprogram.signal import PIXEL_PEAK, psnr_db
from audio2img.types import ImageRequest, InitImage

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

PROMPT = "a big red house at night"
REQUEST = ImageRequest(PROMPT, seed=5, steps=4, guidance_scale=5.0)
Folders = Callable[[str], Path]
LEAST_DB, OTHER_DB = 30.0, 25.0  # the same picture through packages of 8 bits; another seed's

VARIANTS: dict[str, tuple[str, tuple[Callable[[Path], None], ...]]] = {
    "mini": ("mini", ()),
    "v": ("mini", (models.become_v,)),
    "turbo": ("mini", (models.become_turbo,)),
    "lcm": ("mini", (models.become_lcm,)),
    "sdxl": ("sdxl", ()),
    "edm": ("sdxl", (models.become_edm,)),
    "tiny": ("mini", (models.become_tiny,)),
}


@pytest.fixture(scope="module")
def folders(mini_layout_source: Folders, tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """folders(name): a model of VARIANTS, made once."""
    home = tmp_path_factory.mktemp("models")

    def find(name: str) -> Path:
        source, changes = VARIANTS[name]
        path = home / name
        if not path.exists():
            shutil.copytree(mini_layout_source(source), path)
            for change in changes:
                change(path)
        return path

    return find


@pytest.fixture(scope="module")
def backends(folders: Folders) -> Callable[[str], DiffusersBackend]:
    loaded: dict[str, DiffusersBackend] = {}

    def load(name: str) -> DiffusersBackend:
        if name not in loaded:
            loaded[name] = DiffusersBackend.load(folders(name), name)
        return loaded[name]

    return load


@pytest.fixture(scope="module")
def pipes(folders: Folders) -> Callable[[str], Any]:
    loaded: dict[str, Any] = {}

    def load(name: str) -> Any:
        if name not in loaded:
            pipe = diffusers.DiffusionPipeline.from_pretrained(folders(name), torch_dtype=torch.float32)
            pipe.set_progress_bar_config(disable=True)
            loaded[name] = pipe
        return loaded[name]

    return load


def by_hand(
    pipe: Any, request: ImageRequest, name: str, monkeypatch: pytest.MonkeyPatch, **given: Any
) -> np.ndarray:
    """The picture of a pipeline's own call, from the noise of the request's seed."""
    return (call_by_hand(pipe, request, name, monkeypatch, **given)[0] * 255).round().astype(np.uint8)


def call_by_hand(
    pipe: Any,
    request: ImageRequest,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    output_type: str = "np",
    **given: Any,
) -> Any:
    pipe.scheduler = models.scheduler_by_hand(name, dict(pipe.scheduler.config))
    streams = models.Streams(request.seed, [request.index], (4, 16, 16))
    models.patch_noise(monkeypatch, pipe.scheduler, streams)
    return pipe(
        request.prompt,
        negative_prompt=request.negative_prompt or None,
        num_inference_steps=request.steps,
        guidance_scale=request.guidance_scale,
        output_type=output_type,
        latents=models.latents_by_hand(pipe, request.seed, request.index, request.count),
        **given,
    ).images


@pytest.mark.parametrize("name", ["dpmpp-2m", "euler", "euler-a", "ddim", "pndm"])
@pytest.mark.parametrize("model", ["mini", "v", "sdxl"])
def test_every_scheduler_of_every_kind(
    model: str, name: str, backends: Any, pipes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = replace(REQUEST, scheduler=name)
    ours = backends(model).generate(request).pixels
    assert ours.std() > 1
    assert np.array_equal(ours, by_hand(pipes(model), request, name, monkeypatch))


@pytest.mark.parametrize("model", ["mini", "v", "sdxl", "edm"])
def test_the_latents_are_equal_bit_for_bit(
    model: str, backends: Any, pipes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight bits of a pixel could hide a difference: what goes into the decoder is looked at on its way."""
    seen: list[Any] = []
    decode = backend.decode_latents
    monkeypatch.setattr(
        backend, "decode_latents", lambda vae, latents: (seen.append(latents), decode(vae, latents))[1]
    )
    request = replace(REQUEST, scheduler="dpmpp-2m")
    backends(model).generate(request)
    scheduler = "edm-dpmpp-2m" if model == "edm" else "dpmpp-2m"
    expected = call_by_hand(pipes(model), request, scheduler, monkeypatch, output_type="latent")
    assert seen[0].dtype == expected.dtype
    assert torch.equal(seen[0], expected)


@pytest.mark.parametrize("name", ["dpmpp-2m", "euler"])
def test_edm_as_playground(name: str, backends: Any, pipes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = backends("edm")
    defaults = backend.defaults
    assert (defaults.steps, defaults.guidance_scale, defaults.scheduler) == (50, 3.0, "dpmpp-2m")
    assert backend.capabilities.schedulers == ("dpmpp-2m", "euler")
    request = replace(REQUEST, scheduler=name, guidance_scale=defaults.guidance_scale)
    ours = backend.generate(request).pixels
    assert np.array_equal(ours, by_hand(pipes("edm"), request, f"edm-{name}", monkeypatch))


def test_the_tiny_autoencoder(backends: Any, pipes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    previews: list[np.ndarray] = []
    ours = backends("tiny").generate(REQUEST, progress=lambda step: previews.append(step.preview())).pixels
    assert np.array_equal(ours, by_hand(pipes("tiny"), REQUEST, "dpmpp-2m", monkeypatch))
    assert [preview.shape for preview in previews] == [(16, 16, 3)] * 4


def test_lcm_is_told_the_scale(backends: Any, pipes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = backends("lcm")
    assert (backend.defaults.steps, backend.defaults.scheduler) == (4, "lcm")
    assert "lcm" in backend.capabilities.schedulers
    request = replace(REQUEST, scheduler="lcm", guidance_scale=8.0)
    ours = backend.generate(request).pixels
    assert np.array_equal(ours, by_hand(pipes("lcm"), request, "lcm", monkeypatch))
    assert not np.array_equal(ours, backend.generate(replace(request, guidance_scale=3.0)).pixels)


@pytest.mark.parametrize("steps", [1, 4])
def test_turbo_in_few_steps(steps: int, backends: Any, pipes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = backends("turbo").defaults
    assert (defaults.steps, defaults.guidance_scale, defaults.scheduler) == (4, 0.0, "euler-a")
    request = replace(REQUEST, steps=steps, scheduler="euler-a", guidance_scale=0.0)
    ours = backends("turbo").generate(request).pixels
    assert np.array_equal(ours, by_hand(pipes("turbo"), request, "euler-a", monkeypatch))


@pytest.mark.parametrize("model", ["mini", "sdxl"])
def test_a_negative_prompt_and_another_size(
    model: str, backends: Any, pipes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = replace(REQUEST, negative_prompt="a tree")
    ours = backends(model).generate(request).pixels
    assert np.array_equal(ours, by_hand(pipes(model), request, "dpmpp-2m", monkeypatch))
    wide = backends(model).generate(replace(request, width=192, height=64)).pixels
    assert wide.shape == (64, 192, 3)


def test_several_pictures_of_one_seed(backends: Any, pipes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    request = replace(REQUEST, count=3, scheduler="euler-a")
    ours = backends("mini").generate_all(request)
    for image in ours:
        theirs = by_hand(pipes("mini"), image.request, "euler-a", monkeypatch)
        assert np.array_equal(image.pixels, theirs)
    assert len({image.pixels.tobytes() for image in ours}) == 3


@pytest.mark.parametrize("name", ["dpmpp-2m", "euler", "euler-a", "ddim", "pndm"])
@pytest.mark.parametrize("model", ["mini", "edm"])
def test_image_to_image(
    model: str, name: str, backends: Any, pipes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if model == "edm" and name not in ("dpmpp-2m", "euler"):
        name = "dpmpp-2m"
    y, x = np.mgrid[:128, :128].astype(np.float32) / 127
    pixels = np.stack([x, y, 1 - x], axis=2)
    picture = (pixels * 255).round().astype(np.uint8)
    request = replace(
        REQUEST, scheduler=name, steps=8, init_image=InitImage("ramp.png", "0" * 64), strength=0.5
    )
    ours = backends(model).generate(request, init_image=picture).pixels

    pipe = pipes(model)
    kind = (
        diffusers.StableDiffusionXLImg2ImgPipeline
        if model == "edm"
        else diffusers.StableDiffusionImg2ImgPipeline
    )
    redraw = kind.from_pipe(pipe)
    redraw.set_progress_bar_config(disable=True)
    redraw.scheduler = models.scheduler_by_hand(
        f"edm-{name}" if model == "edm" else name, dict(pipe.scheduler.config)
    )
    start = models.NoiseStream(request.seed)
    noise, fresh = (torch.from_numpy(start.draw((1, 4, 16, 16))) for _ in range(2))
    draws = iter([fresh, noise])  # the encoder's comes first there
    monkeypatch.setattr("diffusers.models.autoencoders.vae.randn_tensor", lambda *_, **__: next(draws))
    monkeypatch.setattr(f"{kind.__module__}.randn_tensor", lambda *_, **__: next(draws))
    models.patch_noise(monkeypatch, redraw.scheduler, models.Streams(request.seed, [0], (4, 16, 16)))
    theirs = redraw(
        PROMPT, image=torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None],
        num_inference_steps=8, strength=0.5, guidance_scale=5.0, output_type="np",
    ).images[0]  # fmt: skip
    assert np.array_equal(ours, (theirs * 255).round().astype(np.uint8))


@pytest.mark.parametrize("name", ["dpmpp-2m", "euler", "euler-a", "ddim", "pndm"])
def test_the_same_seed_is_the_same_picture_as_with_core_ml(
    name: str, backends: Any, mini_bundle: Path
) -> None:
    """Through the embedded 8-bit packages; with those of 16 bits it is 58 dB and more."""
    other = CoreMLBackend.load(mini_bundle, name="mini")
    request = replace(REQUEST, scheduler=name, count=2, steps=8)
    ours, theirs = backends("mini").generate_all(request), other.generate_all(request)
    for one, same, different in zip(ours, theirs, theirs[::-1], strict=True):
        assert psnr_db(one.pixels, same.pixels, PIXEL_PEAK) > LEAST_DB
        assert psnr_db(one.pixels, different.pixels, PIXEL_PEAK) < OTHER_DB


@pytest.mark.parametrize("model", ["mini", "sdxl"])
def test_weights_of_words_as_in_a1111(
    model: str, backends: Any, pipes: Any, mini_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand: the answer of each text encoder times the weights, brought back to its mean."""
    pipe = pipes(model)
    request = replace(REQUEST, prompt="a big (red:1.6) house at night", negative_prompt="a tree")
    ours = backends(model).generate(request).pixels

    told = pipe.encode_prompt(
        prompt=PROMPT, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=True,
        negative_prompt="a tree",
    )  # fmt: skip
    ids = pipe.tokenizer(PROMPT).input_ids
    [place] = [ids.index(token) for token in pipe.tokenizer(" red").input_ids[1:-1]]
    weights = torch.ones(1, 77, 1)
    weights[0, place] = 1.6
    encoders = ("text_encoder", "text_encoder_2")[: 1 + (model == "sdxl")]
    widths = [getattr(pipe, name).config.hidden_size for name in encoders]
    answers = [one.contiguous() for one in told[0].split(widths, dim=-1)]
    states = [one * weights * (one.mean() / (one * weights).mean()) for one in answers]
    names = (
        "prompt_embeds",
        "negative_prompt_embeds",
        "pooled_prompt_embeds",
        "negative_pooled_prompt_embeds",
    )
    embeds = {**dict(zip(names, told, strict=False)), "prompt_embeds": torch.cat(states, dim=-1)}
    by_itself = replace(request, prompt=None, negative_prompt="")  # type: ignore[arg-type]
    assert np.array_equal(ours, by_hand(pipe, by_itself, "dpmpp-2m", monkeypatch, **embeds))
    if model == "mini":
        theirs = CoreMLBackend.load(mini_bundle, name="mini").generate(request).pixels
        assert psnr_db(ours, theirs, PIXEL_PEAK) > LEAST_DB


def test_long_prompts_are_the_same_as_with_core_ml(backends: Any, mini_bundle: Path) -> None:
    other = CoreMLBackend.load(mini_bundle, name="mini")
    words = "a red house at night and a yellow moon " * 10
    assert backends("mini").fit_prompt(words) == other.fit_prompt(words)
    request = replace(REQUEST, prompt=words, long_prompt="chunk", negative_prompt="a tree " * 60)
    ours, theirs = backends("mini").generate(request), other.generate(request)
    assert psnr_db(ours.pixels, theirs.pixels, PIXEL_PEAK) > LEAST_DB


@pytest.mark.parametrize(("layout", "is_refused"), [("safety", False), ("safety_flags", True)])
def test_the_safety_checker_is_heeded(
    layout: str, is_refused: bool, mini_layout_source: Folders, backends: Any
) -> None:
    backend = DiffusersBackend.load(mini_layout_source(layout), "guarded")
    request = replace(REQUEST, count=2)
    if is_refused:
        with pytest.raises(NothingToDrawError, match="the safety checker of guarded refused"):
            backend.generate_all(request)
        return
    images = backend.generate_all(request)
    free = backends("mini").generate_all(request)
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(images, free, strict=True))
