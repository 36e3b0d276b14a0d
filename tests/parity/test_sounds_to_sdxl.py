"""A sound becomes a picture of an SDXL-class model with EDM's scheduler, which is Playground v2.5's shape."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import diffusers_models as models
import numpy as np
import pytest

from audio2img import AudioClip, Options, Pipeline
from audio2img.output import read_record

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]

pytest.importorskip("diffusers")


def test_a_tone_becomes_a_picture_of_an_edm_sdxl(
    mini_layout_source: Callable[[str], Path], yamnet_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "playground"
    shutil.copytree(mini_layout_source("sdxl"), folder)
    models.become_edm(folder)
    tone = (0.3 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)).astype(np.float32)
    with Pipeline(str(folder), sound_model=str(yamnet_file), compute_units="cpu") as pipeline:
        drawing = pipeline.run(AudioClip(tone, "tone"), Options(hear="sounds", seed=1, steps=2))
    (path,) = drawing.save(tmp_path / "out")
    record = read_record(path)
    assert record.backend == "diffusers"
    assert record.request.guidance_scale == 3.0  # Playground's own
    assert record.request.prompt.startswith("a telephone off the hook, together in one scene")
    assert record.sounds is not None
    assert record.sounds.model == "yamnet"
    assert "watermark" in record.request.negative_prompt
