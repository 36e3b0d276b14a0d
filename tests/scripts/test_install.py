"""`make install`: what it makes, what it asks of uv and pipx, and what it never touches."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from audio2img import installation
from scripts import install

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

# A uv or pipx: notes its arguments, makes the launcher where it is told to, and knows what it installed.
TOOL = """#!/bin/sh
printf '%s\\n' "$*" >>'{notes}'
[ "$1" = tool ] && shift
case "$1" in
  install) [ -e '{notes}.broken' ] && exit 7
    case "$*" in *--help) echo ' --torch-backend <TORCH_BACKEND>'; exit;; */refused/*) exit 8;; esac
    [ "$UV_INDEX_STRATEGY" ] && echo "$UV_INDEX_STRATEGY" >>'{notes}.strategy'
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
    done = make("install", EXTRAS="diffusers", TORCH_INDEX="usual")
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


class Index(SimpleHTTPRequestHandler):
    """An index of packages: a folder for each, listed as http.server does."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    """The address of an index of the files under tmp_path/index."""
    (tmp_path / "index" / "torch").mkdir(parents=True)
    handler = partial(Index, directory=str(tmp_path / "index"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def write_wheel(folder: Path, name: str, version: str, requires: str = "") -> Path:
    about = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": "",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in files.items():
            archive.writestr(inside, text)
        archive.writestr(
            f"{about}/RECORD", "".join(f"{inside},,\n" for inside in [*files, f"{about}/RECORD"])
        )
    return path


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("way", ["uv", "pipx"])
def test_torch_comes_from_the_index_that_is_named(make, tool, way, index) -> None:
    notes = tool(way)
    done = make("install", EXTRAS="diffusers", TORCH_INDEX=index)
    assert done.returncode == 0, done.stderr
    assert f"torch is taken from {index}\n" in done.stderr
    python = f"--python {sys.executable} {ROOT}[diffusers]"
    expected = {
        "uv": f"tool install --reinstall-package audio2img --extra-index-url {index} {python}",
        "pipx": f"install --pip-args=--extra-index-url {index} {python}",
    }
    assert notes.read_text().splitlines()[-1] == expected[way]
    assert lines_of(notes.with_name(f"{way}.notes.strategy")) == ["unsafe-best-match"]


@pytest.mark.parametrize(("extras", "chosen"), [("", "usual"), ("sounds", ""), ("convert", "usual")])
def test_without_torch_or_a_wish_no_index_is_named(make, tool, index, extras, chosen) -> None:
    notes = tool("uv")
    done = make("install", EXTRAS=extras, TORCH_INDEX=chosen)
    assert done.returncode == 0, done.stderr
    assert "index" not in notes.read_text() + done.stderr
    assert not notes.with_name("uv.notes.strategy").exists()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("http://127.0.0.1:9/simple", "cannot be reached"),  # the port that discards
        ("INDEX/elsewhere", "HTTP status 404"),
        ("no address", "cannot be reached"),
    ],
)
def test_an_index_that_is_not_there_is_left_out(make, tool, index, address, reason) -> None:
    notes = tool("uv")
    address = address.replace("INDEX", index)
    done = make("install", EXTRAS="diffusers", TORCH_INDEX=address)
    assert done.returncode == 0, done.stderr
    assert f"{address}: {reason}" in done.stderr
    assert "torch comes from the usual index" in done.stderr
    assert "index-url" not in notes.read_text()


def test_an_installation_that_fails_with_the_index_is_tried_without(make, tool, tmp_path, index) -> None:
    notes = tool("pipx")
    (tmp_path / "index" / "refused" / "whl" / "torch").mkdir(parents=True)
    done = make("install", EXTRAS="diffusers", TORCH_INDEX=f"{index}/refused/whl")
    assert done.returncode == 0, done.stderr
    assert "this ended with 8: " in done.stderr
    assert "once more, with torch from the usual index" in done.stderr
    assert notes.read_text().splitlines()[-1] == f"install --python {sys.executable} {ROOT}[diffusers]"


def test_the_password_of_an_index_is_not_told(make, tool, tmp_path, index) -> None:
    notes = tool("pipx")
    (tmp_path / "index" / "refused" / "whl" / "torch").mkdir(parents=True)
    guarded = f"{index}/refused/whl".replace("://", "://me:secret@")
    done = make("install", EXTRAS="diffusers", TORCH_INDEX=guarded)
    assert done.returncode == 0, done.stderr
    assert "torch is taken from http://127.0.0.1" in done.stderr
    assert "this ended with 8: " in done.stderr
    assert "secret" not in done.stderr
    assert "me:secret@" in notes.read_text()


@pytest.mark.parametrize(("has_no_card", "extras"), [(True, "sounds, convert"), (False, "diffusers")])
def test_without_a_card_the_index_for_the_processor_is_chosen(
    monkeypatch, capsys, index, has_no_card, extras
) -> None:
    monkeypatch.setattr(installation, "this_platform", lambda: "linux")
    monkeypatch.setattr(installation, "has_nvidia_card", lambda: not has_no_card)
    monkeypatch.setattr(installation, "TORCH_FOR_CPU", index)
    assert install.choose_torch_index("", extras) == (index if has_no_card else None)
    assert install.choose_torch_index("usual", extras) is None
    assert install.choose_torch_index("", "sounds") is None
    assert ("there is no NVIDIA card here" in capsys.readouterr().err) == has_no_card


def test_a_uv_that_knows_pytorch_is_asked_for_its_build(tool, tmp_path, monkeypatch, prefix) -> None:
    (tmp_path / "tools").mkdir()
    tool("uv")
    monkeypatch.setenv("PATH", f"{tmp_path / 'tools'}{os.pathsep}{os.environ['PATH']}")
    commands = install.install_commands(
        install.Prefix(prefix), "uv", "spec", False, installation.TORCH_FOR_CPU
    )
    assert commands[0][3:] == [
        "--reinstall-package", "audio2img", "--torch-backend", "cpu", "--python", sys.executable, "spec",
    ]  # fmt: skip


@pytest.mark.parametrize(("offered", "taken"), [("9999.0+cpu", "9999.0+cpu"), (None, "9999.0")])
def test_pip_takes_torch_from_the_index_alone(
    tmp_path, prefix, monkeypatch, capfd, index, offered, taken
) -> None:
    """Two real indexes: one of torch alone, and the usual one. An empty one is done without."""
    usual = tmp_path / "index" / "usual"
    for name, version in (("torch", "9999.0"), ("asked_by_torch", "1.0")):
        folder = usual / name.replace("_", "-")
        folder.mkdir(parents=True)
        write_wheel(folder, name, version)
    if offered:
        write_wheel(tmp_path / "index" / "torch", "torch", offered, "Requires-Dist: asked-by-torch\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{index}/usual")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    spec = write_wheel(tmp_path, "mine", "1.0", "Requires-Dist: torch>=2.6\n")
    install._fill(install.Prefix(prefix), "venv", str(spec), False, index)
    found = {path.name for path in (prefix / "share").rglob("*.dist-info")}
    assert f"torch-{taken}.dist-info" in found
    assert ("asked_by_torch-1.0.dist-info" in found) == bool(offered)
    assert ("once more, with torch from the usual index" in capfd.readouterr().err) != bool(offered)
