"""The comparison with Apple's pipeline, whose environment is here a Python that draws with our own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from audio2img.diagnosis.against_apple import check_against_apple
from audio2img.diagnosis.child import Measurement
from audio2img.diagnosis.draws import Subject

Mac = Callable[..., None]
posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX script, not Windows")

DRIVER = """#!{python}
# In the place of Apple's environment: called with the driver, a task and where the report goes.
import json, sys
import numpy as np
task = json.load(open(sys.argv[2]))
report = open(sys.argv[3], "w")
if {error!r}:
    json.dump({{"error": {error!r}}}, report)
    sys.exit(1)
from pathlib import Path
from audio2img.backends.coreml.backend import CoreMLBackend
from audio2img.types import ImageRequest
backend = CoreMLBackend.load(Path(task["parts"]["unet"]).parent)
request = ImageRequest(task["prompt"], seed=1, steps=task["steps"], guidance_scale=task["guidance_scale"])
assert task["scheduler_class"] == "DPMSolverMultistepScheduler"
np.save(task["picture"], backend.generate(request).pixels)
timings = {{"load": 100.0, "first_step": 0.25, "step": 0.125, "total": 101.0}}
json.dump({{"timings_s": timings}}, report)
"""


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def make(error: str) -> None:
        python = tmp_path / "apple" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(DRIVER.format(python=sys.executable, error=error))
        python.chmod(0o755)
        monkeypatch.setenv("AUDIO2IMG_APPLE_ENV", str(tmp_path / "apple"))

    return make


@pytest.mark.slow
@posix
def test_pictures_and_times_side_by_side(
    core_ml_stand_in: object, environment: Callable[[str], None], subject: Subject, reference: Measurement
) -> None:
    environment("")
    check = check_against_apple(subject, "ALL", reference)
    assert check.state == "ok", check.detail
    assert check.figures["picture_db"] > 60
    assert (check.figures["apple_load_s"], check.figures["apple_step_s"]) == (100.0, 0.125)
    assert check.figures["step_s"] == reference.number("step_s")
    assert "(theirs 100.000 s)" in check.detail


@posix
def test_what_apples_pipeline_says_when_it_fails(
    core_ml_stand_in: object, environment: Callable[[str], None], subject: Subject, reference: Measurement
) -> None:
    environment("ImportError: no such module")
    check = check_against_apple(subject, "ALL", reference)
    assert check.state == "note"
    assert "no such module" in check.detail
    assert check.remedy


def test_without_the_environment_the_command_that_makes_it(
    core_ml_stand_in: object, subject: Subject, reference: Measurement
) -> None:
    check = check_against_apple(subject, "ALL", reference)
    assert (check.state, "apple_env.py" in check.remedy) == ("skip", True)


@posix
def test_without_a_mac_both_draw_by_the_reference_runtime(
    environment: Callable[[str], None], subject: Subject, reference: Measurement
) -> None:
    environment("")
    check = check_against_apple(subject, "ALL", reference)
    assert check.figures["picture_db"] > 60
    assert sys.platform == "darwin" or check.figures["runtime"] == "the reference runtime"


@posix
def test_without_a_picture_of_ours_theirs_is_not_drawn(
    core_ml_stand_in: object, environment: Callable[[str], None], subject: Subject
) -> None:
    environment("it must not be called")
    check = check_against_apple(subject, "ALL", Measurement(error="crashed"))
    assert check.state == "skip"
    assert "no picture of ours" in check.detail
