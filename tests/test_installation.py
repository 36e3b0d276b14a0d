"""The command that adds an extra fits the way audio2img was installed."""

from __future__ import annotations

import json
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest

from audio2img import installation
from audio2img.installation import how_to_add


@pytest.fixture
def distribution(tmp_path: Path) -> Any:
    """distribution(origin): metadata as an installer leaves it, with this direct_url.json; None: without."""

    def make(origin: object) -> Distribution:
        folder = tmp_path / "site" / "audio2img-0.1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: audio2img\nVersion: 0.1.0\n")
        if origin is not None:
            text = origin if isinstance(origin, str) else json.dumps(origin)
            (folder / "direct_url.json").write_text(text)
        return Distribution.at(folder)

    return make


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "a checkout"
    folder.mkdir()
    (folder / "Makefile").write_text("install:\n")
    return folder


@pytest.fixture(autouse=True)
def only_the_base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "missing_packages", lambda names: list(names))


def test_a_checkout_with_its_own_environment(distribution: Any, checkout: Path, tmp_path: Path) -> None:
    found = distribution({"url": checkout.as_uri(), "dir_info": {"editable": True}})
    told = how_to_add("sounds", found, tmp_path / ".venv")
    assert told == f"run: {tmp_path / '.venv' / 'bin' / 'python'} -m pip install -e '{checkout}[sounds]'"


@pytest.mark.parametrize("mark", ["uv-receipt.toml", "pipx_metadata.json", "../install.json"])
def test_make_install_is_run_again_and_keeps_what_is_there(
    distribution: Any, checkout: Path, tmp_path: Path, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = tmp_path / "a place" / "share" / "audio2img" / "venv"
    prefix.mkdir(parents=True)
    (prefix / mark).write_text("{}")
    monkeypatch.setattr(
        installation, "missing_packages", lambda names: [] if "ai_edge_litert" in names else list(names)
    )
    told = how_to_add("diffusers", distribution({"url": checkout.as_uri(), "dir_info": {}}), prefix)
    own = f" PREFIX='{tmp_path / 'a place'}'" if mark.endswith("install.json") else ""
    assert told.startswith(f"run: make -C '{checkout}' install EXTRAS=sounds,diffusers{own} (")
    assert "without an NVIDIA card" in told


def test_from_a_repository_with_pipx(distribution: Any, tmp_path: Path) -> None:
    (tmp_path / "pipx_metadata.json").write_text("{}")
    origin = {"url": "https://example.org/a.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}
    told = how_to_add("sounds", distribution(origin), tmp_path)
    assert told == "run: pipx install --force 'audio2img[sounds] @ git+https://example.org/a.git@abc'"


def test_from_a_wheel_with_uv(distribution: Any, tmp_path: Path) -> None:
    (tmp_path / "uv-receipt.toml").write_text("")
    told = how_to_add(
        "sounds", distribution({"url": "https://example.org/a.whl", "archive_info": {}}), tmp_path
    )
    assert told == "run: uv tool install --force 'audio2img[sounds] @ https://example.org/a.whl'"


@pytest.mark.parametrize("origin", [None, "no JSON", "[]", {"url": 3}])
def test_where_nothing_is_known_pip_is_asked_by_name(distribution: Any, tmp_path: Path, origin: Any) -> None:
    told = how_to_add("sounds", distribution(origin), tmp_path)
    assert told.startswith(f"run: {tmp_path / 'bin' / 'python'} -m pip install 'audio2img[sounds]")


def test_the_installation_that_runs_knows_its_way() -> None:
    assert how_to_add("sounds").startswith("run: ")
