"""Drawing in every layout and way: compiled, in halves, with little memory, from a picture, several."""

from __future__ import annotations

import gc
import shutil
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from audio2img.backends.coreml import parts as parts_module
from audio2img.backends.coreml.backend import CoreMLBackend
from audio2img.backends.coreml.bundle import load_bundle
from audio2img.backends.protocol import DrawingStep
from audio2img.diffusion.pictures import CLIP_MEAN, CLIP_STD
from audio2img.errors import CancelledError, ModelError, NothingToDrawError, UsageError
from audio2img.types import ImageRequest, InitImage

pytestmark = pytest.mark.slow

REQUEST = ImageRequest("a red house at night", seed=5, steps=4)
LONG = "a red house at night " * 20 + "and a blue star"
Compile = Callable[[Path, Path], Path]


@pytest.fixture(scope="module")
def backend(mini_bundle: Path) -> CoreMLBackend:
    return CoreMLBackend.load(mini_bundle, name="mini")


@pytest.fixture(scope="module")
def expected(backend: CoreMLBackend) -> np.ndarray:
    return backend.generate(REQUEST).pixels


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """A picture to start from: a yellow disc on blue, wider than high."""
    y, x = np.mgrid[:96, :160]
    inside = (x - 80) ** 2 + (y - 48) ** 2 < 30**2
    return np.where(inside[..., None], (250, 220, 40), (30, 60, 160)).astype(np.uint8)


def without(bundle: Path, dest: Path, *patterns: str) -> Path:
    return Path(shutil.copytree(bundle, dest, ignore=shutil.ignore_patterns(*patterns)))


def from_picture(request: ImageRequest, **changes: Any) -> ImageRequest:
    return replace(request, init_image=InitImage("photo.png", "0" * 64), **changes)


def test_compiled_resources_draw_the_same(
    mini_bundle: Path, tmp_path: Path, as_compiled: Compile, expected: np.ndarray,
    core_ml_stand_in: list[tuple[str, str]],
) -> None:  # fmt: skip
    folder = as_compiled(mini_bundle, tmp_path / "original_compiled")
    result = CoreMLBackend.load(folder).generate(REQUEST)
    np.testing.assert_array_equal(result.pixels, expected)
    assert result.backend == "coreml"
    assert core_ml_stand_in == [("open", "CPU_AND_GPU")] * 3  # nothing compiled; the VAE encoder not needed


def test_weights_of_words_are_seen_in_the_picture(backend: CoreMLBackend, expected: np.ndarray) -> None:
    def draw(prompt: str) -> np.ndarray:
        return backend.generate(replace(REQUEST, prompt=prompt)).pixels

    np.testing.assert_array_equal(draw("a (red:1.0) house at night"), expected)
    strong, weak = draw("a (red:1.5) house at night"), draw("a (red:0.5) house at night")
    assert not np.array_equal(strong, expected)
    assert not np.array_equal(weak, strong)
    assert backend.fit_prompt("a (red:1.5) house") == ("a (red:1.5) house", "")


def test_packages_are_compiled_once(
    mini_bundle: Path, expected: np.ndarray, core_ml_stand_in: list[tuple[str, str]]
) -> None:
    for _ in range(2):
        pixels = CoreMLBackend.load(mini_bundle, compute_units="CPU_ONLY").generate(REQUEST).pixels
        np.testing.assert_array_equal(pixels, expected)
    assert sorted(what for what, _ in core_ml_stand_in) == ["compile"] * 3 + ["open"] * 6
    assert {detail for what, detail in core_ml_stand_in if what == "open"} == {"CPU_ONLY"}


def test_a_failed_load_is_an_error_of_loading(
    mini_bundle: Path, core_ml_stand_in: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", '{"*": "no-load", "compile": "right"}')
    with pytest.raises(ModelError, match=r"cannot load .*mlpackage: the stand-in's loader") as caught:
        CoreMLBackend.load(mini_bundle)
    assert "models prune" in caught.value.remedy


def test_a_unet_in_halves_draws_the_same(
    mini_bundle: Path, tmp_path: Path, tools: Any, expected: np.ndarray
) -> None:
    folder = without(mini_bundle, tmp_path / "model", "*_unet.mlpackage")
    unet = next(mini_bundle.glob("*_unet.mlpackage"))
    chunks = [folder / f"Stable_Diffusion_version_x_unet_chunk{number}.mlpackage" for number in (1, 2)]
    tools.split_package(unet, *chunks)
    pixels = CoreMLBackend.load(folder).generate(REQUEST).pixels.astype(int)
    assert np.abs(pixels - expected).max() <= 1  # float16 at the border, where the whole one has none


class Loaded:
    """What was loaded so far, and the most that was held at once."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.alive: list[weakref.ref[Any]] = []
        self.most = 0

    def note(self, path: Path, model: Any) -> Any:
        gc.collect()
        self.names.append(path.stem.partition("_mini_")[2])
        self.alive.append(weakref.ref(model))
        self.most = max(self.most, sum(ref() is not None for ref in self.alive))
        return model


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Loaded:
    loaded, load = Loaded(), parts_module.load_part
    monkeypatch.setattr(parts_module, "load_part", lambda path, units: loaded.note(path, load(path, units)))
    return loaded


def test_little_memory_draws_the_same_with_one_part_at_a_time(
    mini_bundle: Path, expected: np.ndarray, loaded: Loaded
) -> None:
    backend = CoreMLBackend.load(mini_bundle, low_memory=True)
    assert loaded.names == []
    np.testing.assert_array_equal(backend.generate(REQUEST).pixels, expected)
    gc.collect()
    assert (len(loaded.names), loaded.most) == (3, 1)
    assert all(ref() is None for ref in loaded.alive)
    np.testing.assert_array_equal(backend.generate(REQUEST).pixels, expected)


@pytest.mark.parametrize("memory", [8 << 30, 6_000_000], ids=["enough", "too-little"])
def test_for_several_pictures_what_fits_together_is_loaded_once(
    backend: CoreMLBackend, mini_bundle: Path, loaded: Loaded, monkeypatch: pytest.MonkeyPatch, memory: int
) -> None:
    """The mini UNet and decoder weigh 5 MB. Either way each picture is handed over before the next begins."""
    request = replace(REQUEST, count=3, steps=2)
    expected = [result.pixels for result in backend.generate_all(request)]
    low = CoreMLBackend.load(mini_bundle, low_memory=True)
    monkeypatch.setattr(parts_module, "memory_bytes", lambda: memory)
    order: list[str] = []
    pictures = low.generate_all(
        request,
        lambda step: order.append(f"step {step.done}"),
        finished=lambda result: order.append(f"picture {result.request.index}"),
    )
    np.testing.assert_array_equal([picture.pixels for picture in pictures], expected)
    assert order == [
        "step 1", "step 2", "picture 0", "step 3", "step 4", "picture 1", "step 5", "step 6", "picture 2",
    ]  # fmt: skip
    each = ["unet", "vae_decoder"]
    if memory > 1 << 30:
        assert (loaded.names, loaded.most) == (["text_encoder", *each], 2)
    else:
        assert (loaded.names, loaded.most) == (["text_encoder", *each * 3], 1)
    gc.collect()
    assert all(ref() is None for ref in loaded.alive), "nothing stays after the call"


def test_a_stopped_call_keeps_nothing(mini_bundle: Path, loaded: Loaded) -> None:
    low, done = CoreMLBackend.load(mini_bundle, low_memory=True), []
    with pytest.raises(CancelledError):
        low.generate_all(
            replace(REQUEST, count=2), lambda step: done.append(step.done), lambda: len(done) >= 5
        )
    gc.collect()
    assert all(ref() is None for ref in loaded.alive)


def test_what_was_loaded_goes_when_the_next_part_is_not_waited_for(mini_bundle: Path, loaded: Loaded) -> None:
    parts = parts_module.Parts(load_bundle(mini_bundle), low_memory=True)
    with (
        pytest.raises(CancelledError),
        parts.use("vae_decoder", "unet", cancelled=lambda: bool(loaded.names)),
    ):
        pytest.fail("it was stopped")
    gc.collect()
    assert loaded.names == ["vae_decoder"]
    assert all(ref() is None for ref in loaded.alive)


def test_several_pictures_are_one_stream_of_noise(backend: CoreMLBackend) -> None:
    steps: list[tuple[int, int]] = []
    request = replace(REQUEST, count=3)
    results = backend.generate_all(request, lambda step: steps.append((step.done, step.total)))
    assert [result.request.index for result in results] == [0, 1, 2]
    assert steps == [(done, 12) for done in range(1, 13)]
    np.testing.assert_array_equal(results[0].pixels, backend.generate(REQUEST).pixels)
    assert np.abs(results[1].pixels.astype(int) - results[2].pixels).mean() > 1
    again = backend.generate(results[2].request)
    np.testing.assert_array_equal(again.pixels, results[2].pixels)
    # The second picture starts where the first one's noise ends, as in Swift.
    shape = backend.bundle.contract.latent_shape
    both = np.random.RandomState(5).standard_normal((2, *shape))
    noise, _ = backend._noise_and_source(replace(REQUEST, count=2), None, None)
    np.testing.assert_array_equal(noise, both.astype(np.float32))


def test_ancestral_noise_of_each_picture_is_its_own(backend: CoreMLBackend) -> None:
    alone = replace(REQUEST, scheduler="euler-a")
    first, second = backend.generate_all(replace(alone, count=2))
    np.testing.assert_array_equal(backend.generate(second.request).pixels, second.pixels)
    np.testing.assert_array_equal(backend.generate(alone).pixels, first.pixels)


@pytest.mark.parametrize("scheduler", ["dpmpp-2m", "euler", "euler-a", "ddim", "pndm"])
def test_from_a_picture_the_less_strength_the_nearer(
    backend: CoreMLBackend, photo: np.ndarray, scheduler: str
) -> None:
    width, height = backend.bundle.contract.size
    middle = photo[:, 32:128]  # what is seen of it, before scaling
    distances = []
    for steps, strength in ((50, 0.02), (10, 0.2), (10, 1.0)):
        settings = {"steps": steps, "strength": strength, "scheduler": scheduler}
        request = from_picture(REQUEST, guidance_scale=1.0, **settings)
        pixels = backend.generate(request, init_image=photo).pixels
        assert pixels.shape == (height, width, 3)
        small = pixels.reshape(8, height // 8, 8, width // 8, 3).mean((1, 3))
        source = middle.reshape(8, 12, 8, 12, 3).mean((1, 3))
        distances.append(np.abs(small - source).mean())
    assert distances[0] < 15
    assert distances[0] < distances[1] < distances[2]


def test_strength_is_what_is_walked(backend: CoreMLBackend, photo: np.ndarray) -> None:
    steps: list[int] = []
    request = from_picture(REQUEST, steps=10, strength=0.35)
    backend.generate(request, lambda step: steps.append(step.total), init_image=photo)
    assert steps == [3, 3, 3]
    with pytest.raises(UsageError, match="nothing to draw") as caught:
        backend.generate(replace(request, strength=0.05), init_image=photo)
    assert "`strength=" in caught.value.remedy


def test_a_picture_to_start_from_needs_an_encoder(
    mini_bundle: Path, tmp_path: Path, photo: np.ndarray
) -> None:
    folder = without(mini_bundle, tmp_path / "model", "*_vae_encoder.mlpackage")
    backend = CoreMLBackend.load(folder)
    with pytest.raises(UsageError, match="no vae encoder") as caught:
        backend.generate(from_picture(REQUEST), init_image=photo)
    assert caught.value.remedy
    assert backend.generate(REQUEST).pixels.std() > 5


def test_request_and_picture_must_go_together(backend: CoreMLBackend, photo: np.ndarray) -> None:
    with pytest.raises(UsageError, match="picture to start from"):
        backend.generate(REQUEST, init_image=photo)
    with pytest.raises(UsageError, match="picture to start from"):
        backend.generate(from_picture(REQUEST))
    with pytest.raises(UsageError, match="no picture 2"):
        backend.generate(replace(REQUEST, count=2, index=2))


def test_previews_grow_towards_the_picture(backend: CoreMLBackend) -> None:
    shown: list[np.ndarray] = []

    def keep(step: DrawingStep) -> None:
        shown.append(step.preview())

    request = replace(REQUEST, prompt="a yellow sun at night", steps=10, guidance_scale=5)
    pixels = backend.generate(request, keep).pixels
    height, width = backend.bundle.contract.latent_shape[1:]
    assert {(view.shape, view.dtype) for view in shown} == {((height, width, 3), np.dtype(np.uint8))}
    small = pixels.reshape(height, 8, width, 8, 3).mean((1, 3))
    errors = [np.abs(view - small).mean() for view in shown]
    assert errors[-1] < errors[0]
    assert np.corrcoef(shown[-1].ravel(), small.ravel())[0, 1] > 0.7


def test_a_long_prompt_is_cut_or_taken_in_windows(backend: CoreMLBackend) -> None:
    kept, dropped = backend.fit_prompt(LONG)
    assert dropped.endswith("blue star")
    cut = backend.generate(replace(REQUEST, prompt=LONG)).pixels
    np.testing.assert_array_equal(cut, backend.generate(replace(REQUEST, prompt=kept)).pixels)
    whole = backend.generate(replace(REQUEST, prompt=LONG, long_prompt="chunk"))
    assert np.abs(whole.pixels.astype(int) - cut).mean() > 0.5
    np.testing.assert_array_equal(backend.generate(whole.request).pixels, whole.pixels)


def test_windows_of_the_same_text_are_that_text(backend: CoreMLBackend) -> None:
    """Two windows that say the same are averaged to what one of them says."""
    kept, _ = backend.fit_prompt("red " * 200)
    one = backend.generate(replace(REQUEST, prompt=kept)).pixels
    twice = backend.generate(replace(REQUEST, prompt=f"{kept} {kept}", long_prompt="chunk")).pixels
    assert np.abs(one.astype(int) - twice).max() <= 1


def test_a_short_prompt_is_the_same_either_way(backend: CoreMLBackend, expected: np.ndarray) -> None:
    chunked = backend.generate(replace(REQUEST, long_prompt="chunk")).pixels
    np.testing.assert_array_equal(chunked, expected)


@pytest.fixture
def guarded(mini_bundle: Path, tmp_path: Path, tools: Any) -> Callable[[float], Path]:
    """guarded(threshold): the embedded model with a safety checker that refuses pictures whose mean of
    CLIP's normalized values lies above the threshold."""

    def make(threshold: float) -> Path:
        folder = Path(shutil.copytree(mini_bundle, tmp_path / f"guarded{threshold}"))
        shape, images = (1, 3, 32, 32), (1, 128, 128, 3)
        axes = {"axes": np.array([1, 2, 3], np.int32), "keep_dims": np.bool_(False)}
        one = {"mean": ((1,), "float32")}
        tools.write_package(
            folder / "Stable_Diffusion_version_x_safety_checker.mlpackage",
            {
                "clip_input": (shape, "float32"),
                "images": (images, "float32"),
                "adjustment": ((1,), "float32"),
            },
            [
                tools.Op("reduce_mean", {"x": tools.Ref("clip_input"), **axes}, one),
                tools.Op(
                    "add",
                    {"x": tools.Ref("mean"), "y": tools.Ref("adjustment")},
                    {"score": ((1,), "float32")},
                ),
                tools.Op(
                    "greater",
                    {"x": tools.Ref("score"), "y": np.float32(threshold)},
                    {"flag": ((1,), "bool")},
                ),
                tools.Op(
                    "cast",
                    {"x": tools.Ref("flag"), "dtype": "fp32"},
                    {"has_nsfw_concepts": ((1,), "float32")},
                ),
            ],
            {"has_nsfw_concepts": ((1,), "float32")},
        )
        return folder

    return make


def test_a_refused_picture_is_said_and_never_black(guarded: Callable[[float], Path]) -> None:
    with pytest.raises(NothingToDrawError, match="safety checker of mini refused") as caught:
        CoreMLBackend.load(guarded(-100.0), "mini").generate(REQUEST)
    assert "`seed`" in caught.value.remedy


def test_what_is_not_refused_is_left_as_it_is(guarded: Callable[[float], Path], expected: np.ndarray) -> None:
    np.testing.assert_array_equal(CoreMLBackend.load(guarded(100.0)).generate(REQUEST).pixels, expected)


def test_of_several_pictures_only_the_refused_ones_are_missing(
    guarded: Callable[[float], Path], backend: CoreMLBackend
) -> None:
    request = replace(REQUEST, count=4)

    def mean_of_clip(pixels: np.ndarray) -> float:
        """What the checker takes the mean of, as it is given to it."""
        small = np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC))
        return float(((small / 255 - CLIP_MEAN) / CLIP_STD).mean())

    means = [mean_of_clip(result.pixels) for result in backend.generate_all(request)]
    low, high = sorted(means)[1:3]
    kept = CoreMLBackend.load(guarded((low + high) / 2)).generate_all(request)
    assert [result.request.index for result in kept] == [i for i in range(4) if means[i] <= low]


def test_it_stops_between_two_pictures(backend: CoreMLBackend) -> None:
    done: list[int] = []
    with pytest.raises(CancelledError):
        backend.generate_all(
            replace(REQUEST, count=2), lambda step: done.append(step.done), lambda: len(done) >= 5
        )
    assert len(done) == 5
