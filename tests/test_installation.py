"""The command that adds an extra fits the way audio2img was installed."""

from __future__ import annotations

import json
import shlex
import subprocess
import venv
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest

from audio2img import installation
from audio2img.installation import how_to_add, how_to_repair


@pytest.fixture
def distribution(tmp_path: Path) -> Any:
    """distribution(origin): metadata as an installer leaves it, with this direct_url.json; None: without."""

    def make(origin: object, *required: str) -> Distribution:
        folder = tmp_path / "site" / "audio2img-0.1.0.dist-info"
        folder.mkdir(parents=True)
        lines = ["Metadata-Version: 2.1", "Name: audio2img", "Version: 0.1.0"]
        lines += [f"Requires-Dist: {one}" for one in required]
        (folder / "METADATA").write_text("\n".join(lines) + "\n")
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


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """machine(platform, has_card): the one that the remedies are for."""

    def choose(platform: str, has_card: bool) -> None:
        monkeypatch.setattr(installation, "this_platform", lambda: platform)
        monkeypatch.setattr(installation, "has_nvidia_card", lambda: has_card)

    return choose


def write_receipt(place: Path) -> None:
    """What `make install` leaves below its prefix, and a launcher."""
    for path in (place / "share" / "audio2img" / "install.json", place / "bin" / "audio2img"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        path.chmod(0o755)


def give_pip(prefix: Path) -> None:
    (prefix / "lib" / "python3.12" / "site-packages" / "pip").mkdir(parents=True)


CPU_INDEX = "--extra-index-url https://download.pytorch.org/whl/cpu"
NEWEST = "--index-strategy unsafe-best-match"
BOTH = f"{CPU_INDEX} {NEWEST}"


def test_a_checkout_with_its_own_environment(distribution: Any, checkout: Path, tmp_path: Path) -> None:
    give_pip(tmp_path / ".venv")
    found = distribution({"url": checkout.as_uri(), "dir_info": {"editable": True}})
    told = how_to_add("sounds", found, tmp_path / ".venv")
    assert told == f"run: {tmp_path / '.venv' / 'bin' / 'python'} -m pip install -e '{checkout}[sounds]'"


@pytest.mark.parametrize("mark", ["uv-receipt.toml", "pipx_metadata.json", ""])
def test_make_install_is_run_again_and_keeps_what_is_there(
    distribution: Any, checkout: Path, tmp_path: Path, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "a place"
    prefix = tmp_path / "of uv or pipx" if mark else place / "share" / "audio2img" / "venv"
    prefix.mkdir(parents=True)
    write_receipt(place)
    if mark:
        (prefix / mark).write_text("")
        monkeypatch.setenv("PATH", str(place / "bin"))
    monkeypatch.setattr(
        installation, "missing_packages", lambda names: [] if "ai_edge_litert" in names else list(names)
    )
    told = how_to_add("diffusers", distribution({"url": checkout.as_uri(), "dir_info": {}}), prefix)
    again = f"run: make -C '{checkout}' install EXTRAS=sounds,diffusers PREFIX='{place}' (about "
    assert told.startswith(again)


def test_make_install_is_run_again_where_it_usually_is(
    distribution: Any, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", "")
    write_receipt(tmp_path / "home" / ".local")
    (tmp_path / "uv-receipt.toml").write_text("")
    told = how_to_add("sounds", distribution({"url": checkout.as_uri(), "dir_info": {}}), tmp_path)
    assert told == f"run: make -C '{checkout}' install EXTRAS=sounds"


@pytest.mark.parametrize(
    ("mark", "command"), [("uv-receipt.toml", "uv tool install"), ("pipx_metadata.json", "pipx install")]
)
def test_make_install_is_not_named_where_it_would_refuse(
    distribution: Any,
    checkout: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mark: str,
    command: str,
) -> None:
    """uv and pipx were asked for a checkout by hand: `make install` leaves alone what is not its own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", "")
    (tmp_path / mark).write_text("")
    told = how_to_add("sounds", distribution({"url": checkout.as_uri(), "dir_info": {}}), tmp_path)
    assert told == f"run: {command} --force '{checkout}[sounds]'"


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
    give_pip(tmp_path)
    told = how_to_add("sounds", distribution(origin), tmp_path)
    assert told.startswith(f"run: {tmp_path / 'bin' / 'python'} -m pip install 'audio2img[sounds]")


def test_the_installation_that_runs_knows_its_way() -> None:
    assert how_to_add("sounds").startswith("run: ")


@pytest.mark.parametrize(
    ("mark", "command"),
    [
        ("pip", f"PREFIX/bin/python -m pip install {CPU_INDEX} 'audio2img[EXTRA] @ URL'"),
        ("none", f"uv pip install --python PREFIX/bin/python {CPU_INDEX} {NEWEST} 'audio2img[EXTRA] @ URL'"),
        ("uv-receipt.toml", f"uv tool install --force {CPU_INDEX} {NEWEST} 'audio2img[EXTRA] @ URL'"),
        ("pipx_metadata.json", f"pipx install --force --pip-args='{BOTH}' 'audio2img[EXTRA] @ URL'"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("extra", ["diffusers", "convert"])
def test_without_a_card_torch_for_the_processor_is_named(
    distribution: Any, machine: Any, tmp_path: Path, mark: str, command: str, extra: str
) -> None:
    machine("linux", False)
    url = "https://example.org/a.whl"
    prefix = tmp_path / "environment"
    prefix.mkdir()
    if mark == "pip":
        give_pip(prefix)
    elif mark != "none":
        (prefix / mark).write_text("")
    told = how_to_add(extra, distribution({"url": url, "archive_info": {}}), prefix)
    expected = command.replace("PREFIX", str(prefix)).replace("URL", url).replace("EXTRA", extra)
    assert told == (
        f"run: {expected} (about 1.1 GB on disk, with torch for the processor: there is no NVIDIA card here)"
    )


def test_pipx_with_pip_is_not_asked_what_only_uv_knows(
    distribution: Any, machine: Any, tmp_path: Path
) -> None:
    machine("linux", False)
    (tmp_path / "pipx_metadata.json").write_text("")
    give_pip(tmp_path)
    told = how_to_add("diffusers", distribution({"url": "https://example.org/a.whl"}), tmp_path)
    assert told.startswith(f"run: pipx install --force --pip-args='{CPU_INDEX}' 'audio2img[diffusers] @ ")


@pytest.mark.parametrize(
    ("platform", "has_card", "weight"),
    [
        ("linux", True, "(about 6 GB on disk, with CUDA's libraries)"),
        ("macos", False, "(about 1.1 GB on disk)"),
        ("windows", False, "(about 1.1 GB on disk)"),
        ("windows", True, "(about 1.1 GB on disk; for the card take a build with CUDA: https://pytorch.org/get-started)"),
    ],
)  # fmt: skip
def test_elsewhere_the_usual_torch_is_right(
    distribution: Any, machine: Any, tmp_path: Path, platform: str, has_card: bool, weight: str
) -> None:
    machine(platform, has_card)
    give_pip(tmp_path)
    told = how_to_add("diffusers", distribution(None), tmp_path)
    assert "--extra-index-url" not in told
    assert told.endswith(weight)


def test_with_torch_there_nothing_heavy_comes(
    distribution: Any, machine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("linux", False)
    monkeypatch.setattr(
        installation, "missing_packages", lambda names: [one for one in names if one != "torch"]
    )
    give_pip(tmp_path)
    told = how_to_add("diffusers", distribution(None), tmp_path)
    assert told == f"run: {tmp_path}/bin/python -m pip install 'audio2img[diffusers]'"


REQUIRED = ("av<19,>=14", "transformers<5.24,>=4.56; extra == 'diffusers'", "avahi>=3")


def test_a_package_is_repaired_in_the_versions_that_we_take(distribution: Any, tmp_path: Path) -> None:
    give_pip(tmp_path)
    found = distribution(None, *reversed(REQUIRED))
    again = f"run: {tmp_path}/bin/python -m pip install --force-reinstall"
    assert how_to_repair("av", distribution=found, prefix=tmp_path) == f"{again} 'av<19,>=14'"
    several = how_to_repair("transformers", "diffusers", distribution=found, prefix=tmp_path)
    assert several == f"{again} 'transformers<5.24,>=4.56' diffusers"


@pytest.mark.parametrize("mark", ["pyvenv.cfg", "uv-receipt.toml", "pipx_metadata.json"])
def test_an_environment_without_pip_is_repaired_by_uv(distribution: Any, tmp_path: Path, mark: str) -> None:
    (tmp_path / mark).write_text("")
    told = how_to_repair("av", distribution=distribution(None, *REQUIRED), prefix=tmp_path)
    assert told == f"run: uv pip install --python {tmp_path}/bin/python --reinstall-package av 'av<19,>=14'"


def test_an_environment_without_pip_knows_that_of_itself(tmp_path: Path) -> None:
    """A real one, which the package is read from as from a checkout."""
    venv.create(tmp_path / "bare", with_pip=False)
    code = """
from audio2img.installation import how_to_add, how_to_repair
print(how_to_repair("av"), how_to_add("sounds"), sep="\\n")
"""
    python = tmp_path / "bare" / "bin" / "python"
    root = Path(installation.__file__).parents[1]
    done = subprocess.run([python, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    repair, add = done.stdout.splitlines()
    assert repair == f"run: uv pip install --python {python} --reinstall-package av av"
    assert add == f"run: uv pip install --python {python} 'audio2img[sounds]'"


def test_what_is_told_to_repair_a_package_works(tmp_path: Path) -> None:
    """pip itself takes it: it would install the package again."""
    words = shlex.split(how_to_repair("threadpoolctl").removeprefix("run: "))
    done = subprocess.run(
        [*words, "--dry-run", "--no-deps", "--no-index", "--find-links", tmp_path],
        capture_output=True,
        text=True,
    )
    assert "No matching distribution found for threadpoolctl>=" in done.stderr
