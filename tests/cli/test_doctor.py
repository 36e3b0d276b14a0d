"""`audio2img doctor` as a process: plain."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audio2img.config import settings_file

Command = Callable[..., Any]


@pytest.mark.slow
def test_every_check_is_a_line(audio2img: Command) -> None:
    done = audio2img("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert all(line.split()[0] in ("ok", "note", "fail", "skip") for line in lines)
    text = done.stdout
    for name in ("system", "packages", "speech", "core ml", "compute", "memory", "compiled cache", "picture"):
        assert any(line[5:].startswith(name) for line in lines), name
    assert "please draw a big red house at night" in text
    assert "low memory mode is off" in text
    assert any(line.startswith("ok   page            served in") for line in lines), text
    assert "0 models, 0.0 MB in " in text


@pytest.mark.slow
def test_json_has_figures(audio2img: Command) -> None:
    done = audio2img("doctor", "--json")
    table = {check["name"]: check for check in json.loads(done.stdout)}
    assert table["memory"]["figures"]["size_bytes"] > 1 << 28
    assert table["compiled cache"]["figures"] == {"models": 0, "size_bytes": 0}
    assert table["microphone"]["is_needed"] is False
    if sys.platform != "darwin":
        assert table["compute"]["figures"]["units"] == "ALL"


@pytest.mark.slow
def test_what_every_picture_needs_decides_the_exit_code(audio2img: Command, private_home: Path) -> None:
    settings_file().parent.mkdir(parents=True)
    settings_file().write_text('compute_units = "GPU_ONLY"\noutput = "~nobody-at-all/x"\n')
    done = audio2img("doctor")
    assert done.returncode == 5
    assert "fail compute" in done.stdout
    assert "GPU_ONLY" in done.stdout
    assert "fail output          ~nobody-at-all/x: no home folder of that user is known" in done.stdout
    assert done.stderr.startswith("audio2img: not everything works: compute, output")


@pytest.mark.slow
def test_settings_that_cannot_be_read_fail_in_their_own_line_alone(
    audio2img: Command, private_home: Path
) -> None:
    settings_file().parent.mkdir(parents=True)
    settings_file().write_text("style = [\n")
    done = audio2img("doctor", "--json")
    assert done.returncode == 5
    failed = [check["name"] for check in json.loads(done.stdout) if check["state"] == "fail"]
    assert failed == ["settings"]
    assert json.loads(done.stderr)["error"]["message"] == "not everything works: settings"


@pytest.mark.parametrize("option", [["--model", "mini"], ["--against-apple"]])
def test_options_of_the_deep_check_need_it(
    audio2img: Command, assert_fails: Callable[..., None], option: list[str]
) -> None:
    assert_fails(audio2img("doctor", *option), 2, "--deep")


def test_an_unknown_model_is_refused_before_anything_is_done(
    audio2img: Command, assert_fails: Callable[..., None]
) -> None:
    assert_fails(audio2img("doctor", "--deep", "--model", "nothing"), 4, "nothing", "mini")
