"""What a machine runs out of: memory, time, the network it is not to have."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio2img.backends.torch.backend import DiffusersBackend
from audio2img.backends.torch.plan import PlanWishes
from audio2img.errors import CancelledError, MachineError, ModelError, UsageError
from audio2img.types import ImageRequest

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]

pytest.importorskip("torch")
pytest.importorskip("diffusers")

REQUEST = ImageRequest("a red house", seed=1, steps=4, guidance_scale=5.0)

# Draws with less and less address space until memory runs out, then with next to none, and tells how it went.
WITH_LITTLE_ROOM = """
import logging, resource, sys
from dataclasses import replace
import torch
from audio2img.backends.torch.backend import DiffusersBackend
from audio2img.errors import Audio2ImgError
from audio2img.types import ImageRequest
torch.set_num_threads(1)
logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(message)s")
backend = DiffusersBackend.load(sys.argv[1], "mini")
request = ImageRequest("a red house", seed=1, steps=1, guidance_scale=1.0, width=64, height=64)
backend.generate(request)
def draw(room_mb, side):
    print(flush=True)  # a paragraph for each
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    used = int(status["VmSize"].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (used + room_mb * 2**20, -1))
    steps = []
    try:
        wish = replace(request, width=side, height=side)
        picture = backend.generate(wish, progress=lambda step: steps.append(step.done)).pixels
        how = "in tiles" if backend.plan.tile_vae else "at once"
        print("drew", picture.shape, how, "steps:", *steps)
    except Audio2ImgError as error:
        print(type(error).__name__, error.exit_code, error.message, error.remedy)
for room_mb in range(250, 0, -25):
    draw(room_mb, 512)
    if backend.plan.tile_vae:
        break
draw(5, 1024)
"""
# Have glibc give back at once what is freed, so that the room is what was asked for.
GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits its memory as Linux does")
def test_memory_that_really_runs_out(mini_diffusers: Path) -> None:
    """What is just too little for decoding at once is enough for tiles; far less is said, with the remedy."""
    command = [sys.executable, "-c", WITH_LITTLE_ROOM, str(mini_diffusers)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=200, env={**os.environ, **GIVES_BACK}
    )
    first, *_, tiled, refused = done.stdout.strip().split("\n\n")
    assert first == "drew (512, 512, 3) at once steps: 1", done.stdout + done.stderr
    assert tiled.startswith("memory ran out: drawing again with less"), done.stdout
    assert tiled.endswith("drew (512, 512, 3) in tiles steps: 1"), "only decoding was done again"
    assert "MachineError 5 there is not enough memory for mini" in refused
    assert "ask for a smaller `size`" in refused


def test_a_load_stops_at_the_next_part(mini_diffusers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from audio2img.backends.torch import parts

    loaded: list[str] = []
    load = parts._load_part
    monkeypatch.setattr(parts, "_load_part", lambda part, plan: loaded.append(part.name) or load(part, plan))
    with pytest.raises(CancelledError):
        DiffusersBackend.load(mini_diffusers, cancelled=lambda: len(loaded) == 2)
    assert len(loaded) == 2


def test_the_unet_can_be_compiled_whole(
    mini_diffusers: Path, monkeypatch: pytest.MonkeyPatch, private_home: Path
) -> None:
    """As one graph without breaks; with torch's plainest compiler, since the real one takes minutes here."""
    import os

    import torch

    request = replace(REQUEST, steps=2, scheduler="euler-a")
    plain = DiffusersBackend.load(mini_diffusers).generate(request).pixels
    asked: list[dict[str, Any]] = []

    def compile_plainly(self: Any, **given: Any) -> None:
        asked.append(given)
        self._compiled_call_impl = torch.compile(
            self._call_impl, backend="eager", fullgraph=given["fullgraph"], dynamic=given["dynamic"]
        )

    monkeypatch.setattr(torch.nn.Module, "compile", compile_plainly)
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    backend = DiffusersBackend.load(mini_diffusers, wishes=PlanWishes(compile=True))
    assert np.array_equal(backend.generate(request).pixels, plain)
    assert asked == [{"mode": "default", "fullgraph": True, "dynamic": False}]
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"].startswith(str(private_home))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")


def test_where_kernels_cannot_be_recorded_the_unet_is_called(
    mini_diffusers: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """On a machine with CUDA the same test compares what is replayed with what is called."""
    import torch

    from audio2img.backends.torch.plan import WORTH_RECORDING
    from audio2img.backends.torch.unet import Direct, Replayed

    backend = DiffusersBackend.load(mini_diffusers)
    with backend._parts.use("unet") as (unet,):
        ask, direct = Replayed(unet), Direct(unet)
        ask.expect(WORTH_RECORDING)
        like = {"device": unet.device, "dtype": unet.dtype}
        for step in range(3):
            given = {
                "sample": torch.randn(2, 4, 16, 16, **like),
                "timestep": torch.tensor(900 - step, device=unet.device),
                "encoder_hidden_states": torch.randn(2, 77, 128, **like),
            }
            with torch.no_grad():
                torch.testing.assert_close(ask(**given), direct(**given))
    assert ("CUDA graphs are not used" in caplog.text) == (not torch.cuda.is_available())
    assert len(caplog.records) <= 1, "said once"


def test_nothing_asks_the_network(mini_diffusers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even with the variables unset that tell the libraries to stay offline."""
    from huggingface_hub import constants

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("it asked the network")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert DiffusersBackend.load(mini_diffusers, "mini").generate(REQUEST).pixels.any()


def test_it_stops_before_the_next_step(mini_diffusers: Path) -> None:
    backend = DiffusersBackend.load(mini_diffusers, "mini")
    steps: list[int] = []
    with pytest.raises(CancelledError):
        backend.generate(
            REQUEST, progress=lambda step: steps.append(step.done), cancelled=lambda: len(steps) == 2
        )
    assert steps == [1, 2]
    assert backend.generate(REQUEST).pixels.any(), "it can be used again"


def test_progress_and_previews(mini_diffusers: Path) -> None:
    backend = DiffusersBackend.load(mini_diffusers, "mini")
    seen: list[tuple[int, int, np.ndarray]] = []
    request = ImageRequest("a big red house", seed=3, steps=12, guidance_scale=5.0, count=2)
    images = backend.generate_all(
        request, progress=lambda step: seen.append((step.done, step.total, step.preview()))
    )
    assert [(done, total) for done, total, _ in seen] == [(done, 24) for done in range(1, 25)]
    assert {preview.shape for _, _, preview in seen} == {(16, 16, 3)}
    for image, (_, _, preview) in zip(images, (seen[11], seen[23]), strict=True):
        small = image.pixels.reshape(16, 8, 16, 8, 3).mean(axis=(1, 3))
        error = np.sqrt(np.mean((small - preview) ** 2))
        assert error < small.std(), "a preview is closer to its picture than a flat colour"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 100}, "multiples of 32"),
        ({"scheduler": "heun"}, "there is no scheduler called 'heun'"),
        ({"guidance_scale": float("nan")}, "guidance"),
        ({"scheduler": "lcm", "steps": 51}, "cannot be walked with lcm"),
        ({"index": 1}, "there is no picture 1"),
    ],
)
def test_requests_it_cannot_serve(changes: dict[str, Any], words: str, mini_diffusers: Path) -> None:

    backend = DiffusersBackend.load(mini_diffusers, "mini")
    with pytest.raises(UsageError, match=words):
        backend.generate(replace(REQUEST, **changes))


def test_a_device_that_is_not_here(mini_diffusers: Path) -> None:
    import torch

    missing = next(name for name in ("mps", "cuda") if not getattr(torch, name).is_available())
    with pytest.raises(MachineError, match=f"finds no {missing} device"):
        DiffusersBackend.load(mini_diffusers, wishes=PlanWishes(device=missing))


def test_a_model_that_lacks_a_weight_is_not_filled_with_noise(mini_diffusers: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(mini_diffusers, folder)
    for part, file in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        path = folder / part / f"{file}.safetensors"
        tensors = load_file(path)
        gone = next(name for name in sorted(tensors) if name.endswith("bias"))
        save_file({name: tensor for name, tensor in tensors.items() if name != gone}, path)
        with pytest.raises(ModelError, match="lack"):
            DiffusersBackend.load(folder)
        save_file(tensors, path)
    assert DiffusersBackend.load(folder).plan.device.kind in ("cpu", "cuda", "mps")


def test_half_precision_and_little_memory_draw_the_same(mini_diffusers: Path) -> None:
    """On the processor, too, where nobody would choose them: the same code runs on graphics cards."""
    from audio2img.mlprogram.signal import PIXEL_PEAK, psnr_db

    request = replace(REQUEST, width=64, height=64, steps=2)
    whole = DiffusersBackend.load(mini_diffusers).generate(request).pixels
    half = DiffusersBackend.load(mini_diffusers, wishes=PlanWishes(precision="half", low_memory=True))
    assert half.plan.tile_vae
    assert psnr_db(half.generate(request).pixels, whole, PIXEL_PEAK) > 30
