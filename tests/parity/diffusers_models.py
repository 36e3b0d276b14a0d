"""Small models in diffusers' form that the tests build, and diffusers' own pipelines called by hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio2img.diffusion.noise import NoiseStream

Make = Callable[[Path], None]

EDM_MEAN, EDM_STD = [-1.6574, 1.886, -1.383, 2.5155], [8.4927, 5.9022, 6.5498, 5.2299]


def edit_json(path: Path, **changes: Any) -> None:
    table = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**table, **changes}, indent=2), encoding="utf-8")


def become_edm(folder: Path) -> None:
    """SDXL as Playground v2.5 has it: EDM scheduler, normalised latents, 50 steps at a guidance of 3."""
    edit_json(folder / "model_index.json", scheduler=["diffusers", "EDMDPMSolverMultistepScheduler"])
    config = {"_class_name": "EDMDPMSolverMultistepScheduler", "sigma_data": 0.5, "solver_order": 2}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(config), encoding="utf-8")
    edit_json(
        folder / "vae" / "config.json", latents_mean=EDM_MEAN, latents_std=EDM_STD, scaling_factor=0.5
    )  # fmt: skip


def become_lcm(folder: Path) -> None:
    """A UNet that is told the guidance scale, with LCM's scheduler."""
    import torch
    from diffusers import UNet2DConditionModel

    torch.manual_seed(8)
    config = json.loads((folder / "unet" / "config.json").read_text(encoding="utf-8"))
    shutil.rmtree(folder / "unet")
    UNet2DConditionModel.from_config({**config, "time_cond_proj_dim": 32}).save_pretrained(folder / "unet")
    edit_json(folder / "scheduler" / "scheduler_config.json", _class_name="LCMScheduler")
    edit_json(
        folder / "model_index.json",
        _class_name="LatentConsistencyModelPipeline", scheduler=["diffusers", "LCMScheduler"],
    )  # fmt: skip
    (folder / "recommended.json").unlink()


def become_turbo(folder: Path) -> None:
    """The scheduler of SD-Turbo and SDXL-Turbo."""
    edit_json(
        folder / "scheduler" / "scheduler_config.json",
        _class_name="EulerAncestralDiscreteScheduler", timestep_spacing="trailing",
    )  # fmt: skip
    edit_json(folder / "model_index.json", scheduler=["diffusers", "EulerAncestralDiscreteScheduler"])
    (folder / "recommended.json").unlink()


def become_tiny(folder: Path) -> None:
    """A tiny autoencoder, as people swap in for previews and speed."""
    import torch
    from diffusers import AutoencoderTiny

    torch.manual_seed(9)
    shutil.rmtree(folder / "vae")
    AutoencoderTiny(
        encoder_block_out_channels=(16,) * 4, decoder_block_out_channels=(16,) * 4
    ).save_pretrained(folder / "vae")
    edit_json(folder / "model_index.json", vae=["diffusers", "AutoencoderTiny"])


def become_v(folder: Path) -> None:
    edit_json(folder / "scheduler" / "scheduler_config.json", prediction_type="v_prediction")


class Streams:
    """What stands in the place of diffusers' own noise: the streams of a seed, one for each picture."""

    def __init__(self, seed: int, indices: Sequence[int], shape: tuple[int, ...]) -> None:
        self.streams = [NoiseStream(seed, index) for index in indices]
        for stream in self.streams:
            stream.draw((1, *shape))  # the picture's own start

    def randn_tensor(self, shape: Any, *_: Any, dtype: Any = None, **__: Any) -> Any:
        import torch

        numbers = [stream.draw((1, *tuple(shape)[1:])) for stream in self.streams]
        return torch.from_numpy(np.concatenate(numbers)).to(dtype)


def latents_by_hand(pipe: Any, seed: int, index: int = 0, count: int = 1, side: int = 16) -> Any:
    """Unit noise of picture `index` for a pipeline: (1, 4, side, side)."""
    import torch

    return torch.from_numpy(NoiseStream(seed).draw((count, 4, side, side)))[index : index + 1]


def scheduler_by_hand(name: str, config: dict[str, Any]) -> Any:
    """The class of that name for a model's configuration, with what latent models are trained with."""
    import diffusers

    classes = {
        "dpmpp-2m": diffusers.DPMSolverMultistepScheduler,
        "euler": diffusers.EulerDiscreteScheduler,
        "euler-a": diffusers.EulerAncestralDiscreteScheduler,
        "ddim": diffusers.DDIMScheduler,
        "pndm": diffusers.PNDMScheduler,
        "lcm": diffusers.LCMScheduler,
        "edm-dpmpp-2m": diffusers.EDMDPMSolverMultistepScheduler,
        "edm-euler": diffusers.EDMEulerScheduler,
    }
    extra: dict[str, Any] = {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}
    if name == "pndm":
        extra["skip_prk_steps"] = True
    if name.startswith("edm"):
        extra = {}
    return classes[name].from_config({**config, **extra})


def patch_noise(monkeypatch: pytest.MonkeyPatch, scheduler: Any, streams: Streams) -> None:
    monkeypatch.setattr(f"{type(scheduler).__module__}.randn_tensor", streams.randn_tensor, raising=False)
