"""Drawing with the embedded model by the real door: CoreMLBackend.load and generate."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio2img.backends.coreml.backend import CoreMLBackend
from audio2img.backends.coreml.runtime import load_part, runtime_name
from audio2img.errors import CancelledError, MachineError, ModelError, UsageError
from audio2img.types import ImageRequest

REQUEST = ImageRequest("a red house at night", seed=5, steps=4)


@pytest.fixture(scope="module")
def backend(mini_bundle: Path) -> Iterator[CoreMLBackend]:
    backend = CoreMLBackend.load(mini_bundle, name="mini")
    yield backend
    backend.close()


def difference(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first.astype(float) - second.astype(float)).mean())


def test_a_picture_and_what_made_it(backend: CoreMLBackend) -> None:
    calls: list[tuple[int, int]] = []
    result = backend.generate(REQUEST, progress=lambda step: calls.append((step.done, step.total)))
    width, height = backend.bundle.contract.size
    assert (result.pixels.shape, result.pixels.dtype) == ((height, width, 3), np.uint8)
    assert result.pixels.std() > 5
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert (backend.model, backend.name) == ("mini", runtime_name())
    assert (result.model, result.backend, result.request) == ("mini", runtime_name(), REQUEST)
    assert backend.identity == backend.bundle.hash
    assert set(result.timings_s) == {"encode", "denoise", "decode"}
    assert sum(result.timings_s.values()) == pytest.approx(result.duration_s, abs=0.01)


def test_the_same_request_gives_the_same_pixels(backend: CoreMLBackend, mini_bundle: Path) -> None:
    first = backend.generate(REQUEST).pixels
    backend.generate(replace(REQUEST, seed=6))
    np.testing.assert_array_equal(backend.generate(REQUEST).pixels, first)
    np.testing.assert_array_equal(CoreMLBackend.load(mini_bundle).generate(REQUEST).pixels, first)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 6},
        {"prompt": "a blue star in the snow"},
        {"negative_prompt": "a red house"},
        {"guidance_scale": 2.0},
        {"steps": 5},
        {"scheduler": "euler-a"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_setting_counts(backend: CoreMLBackend, change: dict[str, Any]) -> None:
    first, second = backend.generate(REQUEST), backend.generate(replace(REQUEST, **change))
    assert difference(first.pixels, second.pixels) > 0.5


@pytest.mark.parametrize("scheduler", ["dpmpp-2m", "euler", "euler-a", "ddim", "pndm"])
def test_every_scheduler_draws(backend: CoreMLBackend, scheduler: str) -> None:
    calls: list[tuple[int, int]] = []
    request = replace(REQUEST, scheduler=scheduler)
    result = backend.generate(request, lambda step: calls.append((step.done, step.total)))
    assert result.pixels.std() > 5
    assert calls[-1][0] == calls[-1][1] == len(calls)


def test_no_guidance_leaves_the_negative_prompt_out(backend: CoreMLBackend) -> None:
    plain = replace(REQUEST, guidance_scale=1.0)
    negative = replace(plain, negative_prompt="a blue star")
    np.testing.assert_array_equal(backend.generate(plain).pixels, backend.generate(negative).pixels)


@pytest.mark.parametrize(
    "change",
    [{"width": 512}, {"height": 64}, {"steps": 0}, {"steps": 1001}, {"scheduler": "magic"}, {"seed": -1},
     {"guidance_scale": float("nan")}, {"guidance_scale": -1.0}],
)  # fmt: skip
def test_what_the_model_cannot_draw_is_said_with_a_remedy(
    backend: CoreMLBackend, change: dict[str, Any]
) -> None:
    with pytest.raises(UsageError) as caught:
        backend.generate(replace(REQUEST, **change))
    assert caught.value.remedy


def test_its_own_size_may_be_asked_for(backend: CoreMLBackend) -> None:
    width, height = backend.bundle.contract.size
    request = replace(REQUEST, width=width, height=height)
    np.testing.assert_array_equal(backend.generate(request).pixels, backend.generate(REQUEST).pixels)


@pytest.mark.parametrize("after", [0, 1, 4])
def test_it_stops_between_two_calls(backend: CoreMLBackend, after: int) -> None:
    calls: list[int] = []
    with pytest.raises(CancelledError):
        backend.generate(REQUEST, lambda step: calls.append(step.done), lambda: len(calls) >= after)
    assert len(calls) == after
    assert backend.generate(REQUEST).pixels.std() > 5


@pytest.mark.parametrize("part", ["text_encoder", "unet", "vae_decoder"])
def test_no_numbers_are_an_error_and_no_black_picture(mini_bundle: Path, tmp_path: Path, part: str) -> None:
    """A weight file whose float16 values are all NaN, of the right size and form."""
    folder = Path(shutil.copytree(mini_bundle, tmp_path / "model"))
    path = next(folder.glob(f"*_{part}.mlpackage")) / "Data/com.apple.CoreML/weights/weight.bin"
    content = np.frombuffer(path.read_bytes(), dtype=np.uint8).copy()
    offset = 64
    for _ in range(int(content[:4].view("<u4")[0])):
        record = content[offset : offset + 64]
        code, size, start = int(record[4:8].view("<u4")[0]), *map(int, record[8:24].view("<u8"))
        if code == 1:
            content[start : start + size].view("<u2")[:] = 0x7E00
        offset = (start + size + 63) // 64 * 64
    path.unlink()
    path.write_bytes(content.tobytes())
    with pytest.raises(
        ModelError, match=f"{part.split('_')[0]}.*no numbers".replace("unet", "UNet").replace("vae", "VAE")
    ):
        CoreMLBackend.load(folder).generate(REQUEST)


def test_a_damaged_part_is_an_error_of_loading(mini_bundle: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(mini_bundle, tmp_path / "model"))
    path = next(folder.glob("*_unet.mlpackage")) / "Data/com.apple.CoreML/weights/weight.bin"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="unet"):
        CoreMLBackend.load(folder)


def test_a_closed_model_draws_no_more(mini_bundle: Path) -> None:
    backend = CoreMLBackend.load(mini_bundle)
    backend.close()
    backend.close()
    with pytest.raises(ModelError, match="closed"):
        backend.generate(REQUEST)


def test_what_does_not_fit_into_the_window_is_said(backend: CoreMLBackend) -> None:
    assert backend.fit_prompt("a red house") == ("a red house", "")
    kept, dropped = backend.fit_prompt("red " * 60 + "blue " * 60)
    assert kept.startswith("red")
    assert dropped.endswith("blue")


@pytest.mark.skipif(sys.platform == "darwin", reason="needs Linux or Windows")
def test_compiled_models_need_a_mac(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="Mac") as caught:
        load_part(tmp_path / "Unet.mlmodelc")
    assert caught.value.remedy


def test_unknown_compute_units_are_refused(mini_bundle: Path) -> None:
    with pytest.raises(UsageError, match="GPU_ONLY"):
        CoreMLBackend.load(mini_bundle, compute_units="GPU_ONLY")
