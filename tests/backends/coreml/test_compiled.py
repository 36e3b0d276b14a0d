"""The cache of compiled models, with the reference runtime's stand-in for Apple's compiler."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from audio2img.backends.coreml import apple
from audio2img.backends.coreml.compiled import (
    PARTIAL_PREFIX,
    compile_once,
    compiled_dir,
    compiled_entries,
    prune_compiled,
)
from audio2img.errors import MachineError, ModelError
from audio2img.files import size_on_disk

Asked = list[tuple[str, str]]
STAND_IN = Path(__file__).parents[2] / "stand_in"

COMPILE = """
import sys, pathlib
from audio2img.backends.coreml.compiled import compile_once
print(compile_once(pathlib.Path(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def package(mini_bundle: Path) -> Path:
    return next(mini_bundle.glob("*_vae_decoder.mlpackage"))


def start_compiling(package: Path, cache: Path, behaviour: str) -> subprocess.Popen[str]:
    plan = json.dumps({"compile": behaviour})
    environment = {
        **os.environ, "PYTHONPATH": str(STAND_IN), "STAND_IN": plan, "AUDIO2IMG_CACHE": str(cache),
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-c", COMPILE, str(package)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_package_is_compiled_once_and_then_found(core_ml_stand_in: Asked, package: Path) -> None:
    first = compile_once(package)
    assert first.is_dir()
    assert first.parent == compiled_dir()
    assert compile_once(package) == first
    assert core_ml_stand_in == [("compile", package.name)]
    assert list(compiled_entries()) == [first]
    assert size_on_disk(first) > size_on_disk(package)  # the stand-in's holds the package


def test_the_same_content_elsewhere_is_the_same_entry(
    core_ml_stand_in: Asked, package: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(package, tmp_path / "other-name.mlpackage"))
    assert compile_once(copy) == compile_once(package)
    assert len(core_ml_stand_in) == 1


def test_other_content_is_another_entry(core_ml_stand_in: Asked, package: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(package, tmp_path / package.name))
    (copy / "Data" / "more.txt").write_text("a file more")
    assert compile_once(copy) != compile_once(package)


@pytest.mark.parametrize("versions", [("9.1", "15.1"), ("9.0", "15.2")], ids=["coremltools", "macos"])
def test_another_version_compiles_anew(
    core_ml_stand_in: Asked, package: Path, monkeypatch: pytest.MonkeyPatch, versions: tuple[str, str]
) -> None:
    before = compile_once(package)
    monkeypatch.setattr(apple, "versions", lambda: versions)
    assert compile_once(package) != before
    assert len(core_ml_stand_in) == 2


def test_a_compiler_that_fails_leaves_nothing(
    core_ml_stand_in: Asked, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: Path, destination: Path) -> None:
        destination.mkdir()
        (destination / "half").write_bytes(bytes(100))
        raise RuntimeError("no such operation")

    monkeypatch.setattr(apple, "compile_package", fail)
    with pytest.raises(ModelError, match=r"cannot compile.*no such operation") as caught:
        compile_once(package)
    assert caught.value.remedy
    assert list(compiled_dir().iterdir()) == []


def test_a_compiler_that_gives_nothing_is_an_error(
    core_ml_stand_in: Asked, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apple, "compile_package", lambda source, destination: None)
    with pytest.raises(ModelError, match="to nothing"):
        compile_once(package)
    assert list(compiled_dir().iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(
    core_ml_stand_in: Asked, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AUDIO2IMG_CACHE", str(tmp_path / "file"))
    with pytest.raises(MachineError, match="cannot write") as caught:
        compile_once(package)
    assert caught.value.remedy


def test_two_processes_at_once_give_one_entry(package: Path, tmp_path: Path) -> None:
    started = [start_compiling(package, tmp_path, "right") for _ in range(2)]
    ended = [(*process.communicate(timeout=60), process.returncode) for process in started]
    assert [code for _, _, code in ended] == [0, 0], ended
    (entry,) = {Path(out.strip()) for out, _, _ in ended}
    assert (entry / "done").exists()
    assert list((tmp_path / "compiled").iterdir()) == [entry]


@pytest.mark.skipif(sys.platform == "win32", reason="needs Linux or macOS")
def test_a_killed_compilation_leaves_only_what_prune_removes(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start_compiling(package, tmp_path, "hang")
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "hanging\n"  # the compiler has written, and is not done
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    (left,) = (tmp_path / "compiled").iterdir()
    assert left.name.startswith(PARTIAL_PREFIX)
    monkeypatch.setenv("AUDIO2IMG_CACHE", str(tmp_path))
    size = size_on_disk(left)
    assert size > 0
    assert prune_compiled() == size
    assert list((tmp_path / "compiled").iterdir()) == []
    after = start_compiling(package, tmp_path, "right")
    assert after.communicate(timeout=60)[0].strip().endswith(".mlmodelc")


def test_pruning_an_empty_cache_frees_nothing() -> None:
    assert prune_compiled() == 0
    assert not compiled_dir().exists()
