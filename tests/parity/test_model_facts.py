"""One model, two backends, the same walk: facts and timesteps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import diffusers_models as models
import numpy as np
import pytest

from audio2img.backends.coreml.bundle import load_bundle
from audio2img.backends.torch.facts import read_facts
from audio2img.backends.torch.folder import read_folder
from audio2img.backends.torch.schedulers import Walk
from audio2img.diffusion.schedulers import SCHEDULER_NAMES, make_scheduler

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]

pytest.importorskip("torch")
pytest.importorskip("diffusers")

Folders = Callable[[str], Path]


@pytest.mark.parametrize("name", ["whole16", "sdxl"])
def test_a_converted_model_keeps_its_facts_and_its_timesteps(
    name: str, mini_layout: Folders, mini_layout_source: Folders
) -> None:
    folder = read_folder(mini_layout_source(name))
    theirs, ours = read_facts(folder), load_bundle(mini_layout(name)).settings.facts
    assert ours == theirs
    for scheduler in SCHEDULER_NAMES:
        for steps in (4, 20):
            walk = Walk(scheduler, folder.scheduler, theirs.scheduler, steps, 0, [0])
            timesteps = [float(timestep) for timestep in walk.timesteps]
            mine = make_scheduler(scheduler, steps, ours.scheduler).timesteps
            np.testing.assert_allclose(mine, timesteps, rtol=1e-5, atol=1e-3)
    if name == "sdxl":
        assert make_scheduler("dpmpp-2m", 20, ours.scheduler).timesteps[:2].tolist() == [941, 894]
        assert ours.defaults.guidance_scale == 5.0


def test_a_turbo_model_is_converted_as_one(mini_diffusers: Path, tmp_path: Path) -> None:
    """With 20 guided steps, as its bundle once said, it draws burnt pictures."""
    from audio2img.conversion.sidecar import make_sidecar
    from audio2img.conversion.source import open_source

    folder = tmp_path / "turbo"
    shutil.copytree(mini_diffusers, folder)
    models.become_turbo(folder)
    sidecar = json.loads(json.dumps(make_sidecar(open_source(folder, "turbo"), "turbo", None)))
    facts = read_facts(read_folder(folder))
    assert sidecar["defaults"] == {"steps": 4, "guidance_scale": 0.0, "scheduler": "euler-a"}
    defaults = facts.defaults
    assert (defaults.steps, defaults.guidance_scale, defaults.scheduler) == (4, 0.0, "euler-a")
