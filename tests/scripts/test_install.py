"""`make install`: what it makes, what it asks of uv and pipx, and what it never touches."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# A uv or pipx: notes its arguments, makes the launcher where it is told to, and knows what it installed.
TOOL = """#!/bin/sh
printf '%s\\n' "$*" >>'{notes}'
[ "$1" = tool ] && shift
case "$1" in
  install) [ -e '{notes}.broken' ] && exit 7
    printf '#!/bin/sh\\necho "$@" >>"{notes}.launched"\\n' >"${variable}/audio2img"
    chmod +x "${variable}/audio2img"; touch '{notes}.known';;
  uninstall) rm "${variable}/audio2img" '{notes}.known';;
  list) [ -e '{notes}.known' ] && echo 'audio2img 0.1.0';;
esac
exit 0
"""


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return tmp_path / "my prefix"


@pytest.fixture
def make(prefix: Path, private_home: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """make(target, NAME=value, ...): on a PATH that has make, sh and a few more, but no uv and no pipx."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("make", "sh", "rm", "touch", "chmod"):
        (tools / name).symlink_to(shutil.which(name) or name)

    def call(target: str, **variables: str) -> subprocess.CompletedProcess[str]:
        settings = {"PREFIX": str(prefix), "PYTHON": sys.executable, **variables}
        words = [f"{name}={value}" for name, value in settings.items()]
        env = {**os.environ, "HOME": str(private_home), "PATH": str(tools)}
        return subprocess.run(
            ["make", "--silent", "-C", str(ROOT), target, *words],
            env=env, capture_output=True, text=True, timeout=240,
        )  # fmt: skip

    return call


@pytest.fixture
def tool(tmp_path: Path) -> Callable[[str], Path]:
    """tool("uv") puts one on the PATH; the file with what it was asked."""

    def put(name: str) -> Path:
        notes = tmp_path / f"{name}.notes"
        path = tmp_path / "tools" / name
        variable = {"uv": "UV_TOOL_BIN_DIR", "pipx": "PIPX_BIN_DIR"}[name]
        path.write_text(TOOL.format(notes=notes, variable=variable))
        path.chmod(0o755)
        return notes

    return put


@pytest.mark.slow
def test_a_venv_of_our_own(make, prefix, private_home) -> None:
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin" / "mine").touch()
    done = make("install")
    assert done.returncode == 0, done.stderr
    launcher = prefix / "bin" / "audio2img"
    assert done.stdout == f"{launcher}\n"
    assert "is not on your PATH" in done.stderr
    answer = subprocess.run([launcher, "models", "path", "mini"], env={}, capture_output=True, text=True)
    model = Path(answer.stdout.strip())
    assert model.is_relative_to(prefix / "share" / "audio2img" / "venv")
    assert any(model.glob("*unet.mlpackage"))
    stale = next((prefix / "share").rglob("site-packages/audio2img/recognition/annotations.py"))
    stale.write_text("broken")
    done = make("install")
    assert done.returncode == 0, done.stderr
    assert stale.read_bytes() == (ROOT / "audio2img" / "recognition" / "annotations.py").read_bytes()
    done = make("uninstall")
    assert done.returncode == 0, done.stderr
    assert [str(path.relative_to(prefix)) for path in sorted(prefix.rglob("*"))] == ["bin", "bin/mine"]


@pytest.mark.parametrize("way", ["uv", "pipx"])
def test_what_uv_and_pipx_are_asked(make, tool, prefix, way) -> None:
    notes = tool(way)
    done = make("install", EXTRAS="diffusers")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{prefix}/bin/audio2img\n"
    assert json.loads((prefix / "share/audio2img/install.json").read_text())["way"] == way
    make("install")
    make("uninstall")
    spec = f"--python {sys.executable} {ROOT}"
    asked = {
        "uv": ["tool list", f"tool install --reinstall-package audio2img {spec}[diffusers]",
               f"tool install --force --reinstall-package audio2img {spec}",
               "tool list", "tool uninstall audio2img"],
        "pipx": ["list --short", f"install {spec}[diffusers]", f"install --force {spec}",
                 "list --short", "uninstall audio2img"],
    }  # fmt: skip
    assert notes.read_text().splitlines() == asked[way]
    launched = notes.with_name(f"{way}.notes.launched").read_text().splitlines()
    assert launched == ["--version", "--version", "actions uninstall --quiet"]
    assert not prefix.exists()


def test_uv_is_taken_before_pipx_and_the_first_way_is_kept(make, tool, prefix) -> None:
    pipx = tool("pipx")
    make("install")
    tool("uv")
    make("install")
    assert json.loads((prefix / "share/audio2img/install.json").read_text())["way"] == "pipx"
    assert make("install", WAY="uv").returncode == 0
    assert json.loads((prefix / "share/audio2img/install.json").read_text())["way"] == "uv"
    assert pipx.read_text().splitlines()[-1] == "uninstall audio2img"
    assert "actions" not in pipx.with_name("pipx.notes.launched").read_text()
    make("uninstall")
    assert not prefix.exists()


def test_a_launcher_that_is_not_ours_is_left_alone(make, tool, prefix) -> None:
    notes = tool("uv")
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin" / "audio2img").symlink_to("/nowhere")
    done = make("install")
    assert done.returncode == 2
    assert "is there already, and not from make install" in done.stderr
    done = make("uninstall")
    assert done.returncode == 0
    assert "make install put nothing under" in done.stderr
    assert not notes.exists()
    assert (prefix / "bin" / "audio2img").is_symlink()
    assert not (prefix / "share").exists()


def test_a_tool_that_has_it_already_is_left_alone(make, tool, prefix) -> None:
    notes = tool("pipx")
    notes.with_name("pipx.notes.known").touch()
    done = make("install")
    assert done.returncode == 2
    assert "pipx has audio2img already" in done.stderr
    assert notes.read_text().splitlines() == ["list --short"]
    assert not prefix.exists()


def test_a_first_installation_that_fails_leaves_nothing(make, tool, prefix) -> None:
    tool("uv").with_name("uv.notes.broken").touch()
    done = make("install")
    assert done.returncode == 2
    assert "this ended with 7: " in done.stderr
    assert not prefix.exists()


def test_an_update_that_fails_leaves_the_old_one(make, tool, prefix) -> None:
    notes = tool("uv")
    make("install")
    notes.with_name("uv.notes.broken").touch()
    assert make("install").returncode == 2
    assert (prefix / "bin" / "audio2img").exists()
    assert make("uninstall").returncode == 0
    assert not prefix.exists()


def test_shortcuts_by_the_installed_command(make, tool, prefix) -> None:
    notes = tool("uv")
    make("install")
    assert make("shortcuts").returncode == 0
    assert make("shortcuts", DEST="a folder", ARGS="--dry-run").returncode == 0
    launched = notes.with_name("uv.notes.launched").read_text().splitlines()
    assert launched[1:] == ["actions install", "actions install --dest a folder --dry-run"]
