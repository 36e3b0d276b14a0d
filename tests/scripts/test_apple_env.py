"""scripts/apple_env.py: what it asks of uv, and what it says where it cannot work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from audio2img.conversion.apple_tools import environment
from scripts import apple_env

ROOT = Path(__file__).resolve().parents[2]


def call(*arguments: str, folder: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    """The script as a process; `path` is all that it finds programs in."""
    command = [sys.executable, str(ROOT / "scripts" / "apple_env.py"), *arguments]
    env = {**os.environ, environment.ENVIRONMENT_VARIABLE: str(folder), "PATH": path}
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False, timeout=60)


def pretend(folder: Path, marker: object, python: str = sys.executable) -> None:
    """A folder that looks like an environment whose Python is this one."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(python)
    if marker is not None:
        (folder / apple_env.MARKER).write_text(json.dumps(marker), encoding="utf-8")


def test_what_uv_is_asked(tmp_path: Path) -> None:
    venv, install = apple_env.uv_commands("/bin/uv", tmp_path / "env")
    assert venv == ["/bin/uv", "venv", "--clear", "--python", "3.11", str(tmp_path / "env")]
    assert install[:5] == ["/bin/uv", "pip", "install", "--python", str(tmp_path / "env" / "bin" / "python")]
    assert install[5].endswith(f"github.com/apple/ml-stable-diffusion@{environment.COMMIT}")
    assert len(environment.COMMIT) == 40


def test_no_environment(tmp_path: Path) -> None:
    done = call("--check", folder=tmp_path / "env")
    assert (done.returncode, done.stdout) == (5, "")
    assert "there is no environment" in done.stderr
    assert "python scripts/apple_env.py" in done.stderr


def test_without_uv(tmp_path: Path) -> None:
    done = call(folder=tmp_path / "env", path=str(tmp_path))
    assert (done.returncode, done.stdout) == (5, "")
    assert "uv is not installed — run: python -m pip install uv" in done.stderr
    assert not (tmp_path / "env").exists()


def test_uv_that_fails(tmp_path: Path) -> None:
    """As without a network; the next run begins anew, since the marker was not written."""
    (tmp_path / "uv").write_text("#!/bin/sh\necho no route to host >&2\nexit 2\n", encoding="utf-8")
    (tmp_path / "uv").chmod(0o755)
    done = call(folder=tmp_path / "env", path=f"{tmp_path}:/bin:/usr/bin")
    assert done.returncode == 5
    assert "no route to host" in done.stderr
    assert "uv could not do: venv --clear" in done.stderr
    assert not (tmp_path / "env" / apple_env.MARKER).exists()


@pytest.mark.parametrize(
    ("marker", "problem"),
    [
        (None, "was not finished"),
        ({"python": "3.10", "requirements": []}, "is of other versions"),
        (apple_env.wanted(), "does not work"),
    ],
)
def test_an_environment_that_will_not_do(tmp_path: Path, marker: object, problem: str) -> None:
    """The last has a right marker but Apple's package is not in it."""
    pretend(tmp_path / "env", marker)
    assert problem in apple_env.state(tmp_path / "env")
    done = call("--check", folder=tmp_path / "env")
    assert done.returncode == 5
    assert problem in done.stderr


def test_an_environment_that_is_there_is_left_alone(tmp_path: Path) -> None:
    """Its probe is answered by a Python that finds the modules; uv is not even looked for."""
    modules = tmp_path / "modules"
    for name in ("coremltools.py", "diffusers.py", "python_coreml_stable_diffusion/coreml_model.py"):
        (modules / name).parent.mkdir(parents=True, exist_ok=True)
        (modules / name).touch()
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={modules} exec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    pretend(tmp_path / "env", apple_env.wanted(), str(python))
    done = call(folder=tmp_path / "env", path="/bin:/usr/bin")
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "env")), done.stderr


def test_analysis_needs_a_place(tmp_path: Path) -> None:
    done = call("--analyze", "a/b", folder=tmp_path / "env")
    assert done.returncode == 2
    assert "--analyze needs --output" in done.stderr


def test_analysis_without_an_environment(tmp_path: Path) -> None:
    done = call("--analyze", "a/b", "--output", str(tmp_path / "out"), folder=tmp_path / "env")
    assert done.returncode == 5
    assert "no environment" in done.stderr
