"""Start-up is a feature: what is imported before there is work to do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from audio2img.cli import cli

Command = Callable[..., subprocess.CompletedProcess[str]]

HEAVY = (
    "numpy", "PIL", "av", "rich", "soxr", "sounddevice", "pywhispercpp", "tokenizers", "huggingface_hub",
    "platformdirs", "concurrent.futures", "asyncio", "importlib.metadata", "coremltools", "torch",
)  # fmt: skip


# What only some commands need, and those that only tell something do not.
OF_WORK = ("logging", "subprocess", "multiprocessing", "plistlib", "tomlkit", "zipfile", "xml.etree")

# What each of these needs of it: folders of the system, and PortAudio for the names of microphones.
TOLD = {
    "models list": {"platformdirs"},
    "models list --json": {"platformdirs"},
    "models show mini": {"platformdirs"},
    "models show sd21 --json": {"platformdirs"},
    "models path mini": {"platformdirs"},
    "styles list": {"platformdirs"},
    "styles list --templates": {"platformdirs"},
    "config list": {"platformdirs"},
    "config path": {"platformdirs"},
    "actions list": {"platformdirs"},
    "devices": {"platformdirs", "sounddevice", "logging", "subprocess"},
}


def modules_after(code: str) -> set[str]:
    script = f"import sys\ntry:\n    {code}\nexcept SystemExit: pass\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def modules_after_command(*words: str) -> set[str]:
    loaded = modules_after(f"from audio2img.cli import main; main({list(words)!r})")
    assert "audio2img.cli" in loaded
    return loaded


@cache
def modules_of_libraries() -> set[str]:
    """What every command here loads, by the version of Python, and that of its libraries."""
    return modules_after("import click, platformdirs, runpy") - {"platformdirs"}


def command_paths(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command there is, and every group, as the words that call it."""
    yield path
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            yield from command_paths(command, (*path, name))
        else:
            yield (*path, name)


# Milliseconds each: what click does without, no help waits for.
SMALL = {"pathlib", "dataclasses", "urllib.parse"}
WITH_CLICK = modules_after("import click")


def test_version_imports_nothing_heavy() -> None:
    assert not modules_after_command("--version") & set(HEAVY)


@pytest.mark.parametrize("path", list(command_paths()), ids=" ".join)
def test_help_imports_nothing_heavy(path: tuple[str, ...]) -> None:
    loaded = modules_after_command(*path, "--help")
    assert not loaded & {*HEAVY, "audio2img.config", "audio2img.pipeline.drawing", "audio2img.store.catalog"}
    assert not loaded & (SMALL - WITH_CLICK)


@pytest.mark.parametrize("words", TOLD)
def test_what_only_tells_something_imports_nothing_heavy_that_it_does_not_need(words: str) -> None:
    loaded = modules_after_command(*words.split()) - modules_of_libraries()
    assert not loaded & {*HEAVY, *OF_WORK} - TOLD[words]


def test_show_imports_nothing_heavy(audio2img: Command, tmp_path: Path) -> None:
    drawn = audio2img("generate", "a red boat", "--steps", "1", "-o", tmp_path / "boat.png")
    assert drawn.returncode == 0, drawn.stderr
    loaded = modules_after_command("show", str(tmp_path / "boat.png"))
    assert "audio2img.output.record" in loaded
    assert not (loaded - modules_of_libraries()) & {*HEAVY, *OF_WORK}


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert not modules_after("import audio2img") & {*HEAVY, "click"}


def test_every_module_imports_in_a_fresh_interpreter_on_the_base_install() -> None:
    code = (
        "import audio2img, importlib, pkgutil; "
        "[importlib.import_module(m.name) for m in pkgutil.walk_packages(audio2img.__path__, 'audio2img.')"
        " if not m.name.endswith('__main__')]"
    )
    loaded = modules_after(code)
    assert "audio2img.pipeline.pipeline" in loaded
    heavy = {"torch", "diffusers", "transformers", "coremltools", "sounddevice", "av", "pywhispercpp"}
    assert not loaded & heavy
