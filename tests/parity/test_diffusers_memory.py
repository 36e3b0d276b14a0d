"""Memory: what is planned against what real networks hold, and what happens where numbers overflow."""

from __future__ import annotations

import logging
import shutil
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio2img.backends.torch.backend import DiffusersBackend
from audio2img.backends.torch.needs import Needs, count_unet_channels
from audio2img.backends.torch.plan import PlanWishes, TorchDevice
from audio2img.errors import ModelError
from audio2img.mlprogram.signal import PIXEL_PEAK, psnr_db
from audio2img.types import ImageRequest, InitImage

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

REQUEST = ImageRequest("a red house", seed=1, steps=4, guidance_scale=5.0)
TOLERANCE = 0.3  # of what is measured

# The published settings of the UNets, as far as they are not diffusers' defaults, and the size in pixels.
UNETS: dict[str, tuple[int, dict[str, Any]]] = {
    "sd15": (512, {"cross_attention_dim": 768, "attention_head_dim": 8}),
    "sd21": (
        768,
        {
            "cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20],
            "use_linear_projection": True,
        },
    ),
    "sdxl": (
        1024,
        {
            "cross_attention_dim": 2048, "attention_head_dim": [5, 10, 20], "use_linear_projection": True,
            "block_out_channels": [320, 640, 1280], "transformer_layers_per_block": [1, 2, 10],
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
            "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
    ),
}  # fmt: skip
VAE: dict[str, Any] = {
    "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "latent_channels": 4,
    "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
}  # fmt: skip


def peak_bytes(network: Any, call: Callable[[], Any]) -> int:
    """The most that the tensors of a call hold at once beside the weights, by the storages that live."""
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_flatten

    weights = {tensor.untyped_storage()._cdata for tensor in (*network.parameters(), *network.buffers())}
    live: dict[int, int] = {}
    peak = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal peak
            answer = func(*args, **(kwargs or {}))
            for tensor in tree_flatten(answer)[0]:
                if not isinstance(tensor, torch.Tensor):
                    continue
                storage = tensor.untyped_storage()
                if storage._cdata not in live and storage._cdata not in weights:
                    live[storage._cdata] = storage.nbytes()
                    weakref.finalize(storage, live.pop, storage._cdata, None)
            peak = max(peak, sum(live.values()))
            return answer

    with Watch(), torch.no_grad():
        call()
    return peak


@pytest.fixture
def half() -> Any:
    """New numbers are float16: networks of fake tensors cannot be converted."""
    torch.set_default_dtype(torch.float16)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", UNETS)
def test_a_guided_step_takes_what_is_planned(name: str, half: None) -> None:
    from diffusers import UNet2DConditionModel
    from torch._subclasses.fake_tensor import FakeTensorMode

    side, settings = UNETS[name]
    with FakeTensorMode():
        unet = UNet2DConditionModel(sample_size=side // 8, **settings)
        told = {"text_embeds": torch.randn(2, 1280), "time_ids": torch.randn(2, 6)}
        sample, text = (
            torch.randn(2, 4, side // 8, side // 8),
            torch.randn(2, 77, unet.config.cross_attention_dim),
        )
        measured = peak_bytes(
            unet, lambda: unet(sample, 500, text, added_cond_kwargs=told if name == "sdxl" else None)
        )
    planned = Needs({}, side, side, unet_channels=count_unet_channels(unet.config)).step_bytes(2)
    assert planned == pytest.approx(measured, rel=TOLERANCE)


@pytest.mark.parametrize("side", [512, 1024])
def test_decoding_takes_what_is_planned(side: int, half: None) -> None:
    from diffusers import AutoencoderKL
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        vae = AutoencoderKL(sample_size=side, **VAE)
        latents = torch.randn(1, 4, side // 8, side // 8)
        measured = peak_bytes(vae, lambda: vae.decode(latents))
    assert Needs({}, side, side, vae_width=256).decode_bytes(2) == pytest.approx(measured, rel=TOLERANCE)


@pytest.fixture
def overflowing(mini_diffusers: Path, tmp_path: Path) -> Path:
    """The mini model with an autoencoder that means the same, by numbers too large for half precision.

    Group norms come after the first convolutions, so that its scale does not show.
    """
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "overflowing"
    shutil.copytree(mini_diffusers, folder)
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    for name in ("decoder.conv_in", "encoder.conv_in"):
        for kind in ("weight", "bias"):
            large = tensors[f"{name}.{kind}"].float()
            tensors[f"{name}.{kind}"] = (large * 50000 / large.abs().max()).half()
    save_file(tensors, path, metadata={"format": "pt"})
    return folder


def test_an_autoencoder_that_overflows_is_asked_again_in_full(
    overflowing: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = DiffusersBackend.load(overflowing, "loud").generate(REQUEST).pixels
    assert expected.std() > 1
    backend = DiffusersBackend.load(overflowing, "loud", PlanWishes(precision="half"))
    with backend._parts.use("vae") as (vae,), torch.no_grad():
        assert vae.dtype == torch.float16
        assert not vae.decode(torch.ones(1, 4, 16, 16).half())[0].isfinite().all(), "it really overflows"
    with caplog.at_level(logging.WARNING):
        pictures = backend.generate_all(replace(REQUEST, count=2))
    assert [record.message for record in caplog.records] == [
        "the autoencoder of loud overflows in half precision: once more in full"
    ]
    assert psnr_db(pictures[0].pixels, expected, PIXEL_PEAK) > 30
    assert (backend.plan.precision, backend.plan.vae_precision) == ("half", "full")


def test_so_is_one_that_starts_from_a_picture(overflowing: Path, caplog: pytest.LogCaptureFixture) -> None:
    y, x = np.mgrid[:128, :128].astype(np.float32) / 127
    picture = (np.stack([x, y, 1 - x], axis=2) * 255).round().astype(np.uint8)
    request = replace(REQUEST, init_image=InitImage("ramp.png", "0" * 64), strength=0.5)
    expected = DiffusersBackend.load(overflowing, "loud").generate(request, init_image=picture).pixels
    backend = DiffusersBackend.load(overflowing, "loud", PlanWishes(precision="half"))
    assert psnr_db(backend.generate(request, init_image=picture).pixels, expected, PIXEL_PEAK) > 30
    assert caplog.text.count("overflows in half precision") == 1


def test_numbers_that_are_none_in_full_precision_are_no_picture(overflowing: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = overflowing / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors["decoder.conv_out.bias"][:] = float("nan")
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="the autoencoder of broken gave numbers that are none"):
        DiffusersBackend.load(overflowing, "broken").generate(REQUEST)


def test_tiles_are_smaller_than_the_models_own_size(mini_diffusers: Path) -> None:
    """Counted at the decoder itself: one call for the whole, several smaller ones for tiles."""
    shapes: dict[bool, list[tuple[int, ...]]] = {}
    pictures = {}
    for low_memory in (False, True):
        backend = DiffusersBackend.load(mini_diffusers, "mini", PlanWishes(low_memory=low_memory))
        seen = shapes[low_memory] = []
        with backend._parts.use("vae") as (vae,):
            vae.decoder.register_forward_hook(
                lambda module, given, answer, seen=seen: seen.append(tuple(answer.shape[2:]))
            )
        pictures[low_memory] = backend.generate(REQUEST).pixels
    assert shapes[False] == [(128, 128)]
    assert len(shapes[True]) > 1
    assert max(shapes[True]) == (64, 64)
    assert psnr_db(pictures[True], pictures[False], PIXEL_PEAK) > 20


@pytest.mark.parametrize("keeps", [True, False])
def test_offloaded_parts_come_back_for_each_picture_unless_they_are_kept(
    mini_diffusers: Path, keeps: bool
) -> None:
    """On the processor by its other name, which counts as a device of its own."""
    device = TorchDevice("cpu:0", "the processor")  # type: ignore[arg-type]
    request = replace(REQUEST, count=3)
    backend = DiffusersBackend.load(mini_diffusers, "mini", PlanWishes("cpu"))
    expected = [result.pixels for result in backend.generate_all(request)]
    backend._parts.apply(replace(backend.plan, device=device, offload="parts", keeps=keeps))
    order: list[str] = []
    for name in ("text_encoder", "unet", "vae"):
        with backend._parts.use(name) as (module,):
            move = module.to
        module.to = lambda where, name=name, move=move: order.append(f"{name} {where}") or move(where)
    pictures = backend.generate_all(
        request, finished=lambda result: order.append(f"picture {result.request.index}")
    )
    np.testing.assert_array_equal([picture.pixels for picture in pictures], expected)
    # To move what is there already costs nothing.
    each = ["unet cpu:0", "vae cpu:0"] if keeps else ["unet cpu:0", "unet cpu", "vae cpu:0", "vae cpu"]
    drawn = [event for index in range(3) for event in (*each, f"picture {index}")]
    at_last = ["unet cpu", "vae cpu"] if keeps else []
    assert order == ["text_encoder cpu:0", "text_encoder cpu", *drawn, *at_last]


def test_memory_that_runs_out_ends_the_keeping(mini_diffusers: Path) -> None:
    """The first decoding fails as CUDA's allocator does; what is left is drawn one part at a time."""
    device = TorchDevice("cpu:0", "the processor")  # type: ignore[arg-type]
    request = replace(REQUEST, count=2)
    backend = DiffusersBackend.load(mini_diffusers, "mini", PlanWishes("cpu", low_memory=True))
    expected = [result.pixels for result in backend.generate_all(request)]
    backend._parts.apply(replace(backend.plan, device=device, offload="parts", keeps=True))
    lacking = ["memory"]
    with backend._parts.use("vae", "unet") as (vae, unet):
        pass

    def run_out(*given: Any) -> None:
        if lacking:
            lacking.clear()
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    vae.decoder.register_forward_pre_hook(run_out)
    places: list[str] = []
    move = unet.to
    unet.to = lambda where: places.append(where) or move(where)
    pictures = backend.generate_all(request)
    np.testing.assert_array_equal([picture.pixels for picture in pictures], expected)
    assert not backend.plan.keeps
    assert places == ["cpu:0", "cpu", "cpu:0", "cpu"]


def test_kernels_are_recorded_only_for_many_calls(
    mini_diffusers: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without CUDA the attempt is refused and said, which shows when it is made."""
    from audio2img.backends.torch.plan import WORTH_RECORDING
    from audio2img.backends.torch.unet import Replayed

    backend = DiffusersBackend.load(mini_diffusers)
    with backend._parts.use("unet") as (unet,), torch.no_grad():
        given = {
            "sample": torch.randn(2, 4, 16, 16), "timestep": torch.tensor(900),
            "encoder_hidden_states": torch.randn(2, 77, 128),
        }  # fmt: skip
        given = {name: tensor.to(unet.device) for name, tensor in given.items()}
        ask = Replayed(unet)
        for _ in range(WORTH_RECORDING // 4 - 1):  # of four steps each
            ask.expect(4)
            for _call in range(4):
                ask(**given)
            assert not ask._recordings
            assert not caplog.records
        ask.expect(4)
        ask(**given)
        assert bool(ask._recordings) == torch.cuda.is_available()
        assert ("CUDA graphs are not used" in caplog.text) == (not torch.cuda.is_available())
