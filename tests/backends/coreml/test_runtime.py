"""One model, two runtimes: what a caller sees of Core ML's failures, and the reference's one thread."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio2img.backends.coreml import apple
from audio2img.backends.coreml.runtime import CoreMLModel, load_part, runtime_name
from audio2img.errors import MachineError, ModelError
from audio2img.installation import how_to_repair
from audio2img.mlprogram.mlpackage import Package
from audio2img.mlprogram.reference import _ONE_THREAD, ReferenceModel, _matrix_libraries

Asked = list[tuple[str, str]]


@pytest.fixture(scope="module")
def package(mini_bundle: Path) -> Path:
    return next(mini_bundle.glob("*_text_encoder.mlpackage"))


@pytest.fixture(scope="module")
def tokens() -> dict[str, np.ndarray[Any, Any]]:
    return {"input_ids": np.arange(77, dtype=np.float32)[None]}


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in _matrix_libraries().info() if library["user_api"] == "blas"}


def test_core_ml_gives_what_the_reference_gives(
    core_ml_stand_in: Asked, package: Path, tokens: dict[str, np.ndarray[Any, Any]]
) -> None:
    model = load_part(package, "CPU_AND_NE")
    assert isinstance(model, CoreMLModel)
    assert runtime_name() == "coreml"
    found, expected = model.predict(tokens), ReferenceModel(Package(package)).predict(tokens)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
    assert core_ml_stand_in == [("compile", package.name), ("open", "CPU_AND_NE")]


@pytest.mark.parametrize("kind", [RuntimeError, Exception, RuntimeWarning, ValueError])
def test_what_cannot_be_loaded_is_an_error_of_loading(
    core_ml_stand_in: Asked, package: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def refuse(path: Path, units: str) -> None:
        raise kind("Error in declaring network")

    monkeypatch.setattr(apple, "open_compiled", refuse)
    with pytest.raises(ModelError, match=r"cannot load .*declaring network") as caught:
        load_part(package)
    assert "models prune" in caught.value.remedy


def test_a_machine_without_coremltools_is_not_taken_for_a_damaged_model(
    core_ml_stand_in: Asked, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, units: str) -> None:
        raise MachineError("no coremltools", "install it")

    monkeypatch.setattr(apple, "open_compiled", refuse)
    with pytest.raises(MachineError, match="no coremltools"):
        load_part(package)


def test_a_missing_coremltools_is_named_with_its_remedy(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "coremltools", None)
    with pytest.raises(MachineError, match="cannot be imported") as caught:
        apple.compile_package(package, tmp_path / "compiled")
    assert caught.value.remedy == how_to_repair("coremltools")


def test_a_prediction_that_fails_names_the_part(
    core_ml_stand_in: Asked, package: Path, monkeypatch: pytest.MonkeyPatch, tokens: dict[str, Any]
) -> None:
    class Broken:
        def predict(self, data: dict[str, Any]) -> dict[str, Any]:
            raise RuntimeError("Error computing NN outputs")

    monkeypatch.setattr(apple, "open_compiled", lambda path, units: Broken())
    with pytest.raises(ModelError, match=r"text_encoder.*computing NN outputs"):
        load_part(package).predict(tokens)


def test_answers_are_arrays_whatever_core_ml_gives(
    core_ml_stand_in: Asked, package: Path, monkeypatch: pytest.MonkeyPatch, tokens: dict[str, Any]
) -> None:
    class Lists:
        def predict(self, data: dict[str, Any]) -> dict[str, Any]:
            return {"last_hidden_state": [[1.0, 2.0]]}

    monkeypatch.setattr(apple, "open_compiled", lambda path, units: Lists())
    assert load_part(package).predict(tokens)["last_hidden_state"].shape == (1, 2)


def test_the_matrix_library_stays_at_one_thread_until_the_last_model_is_done() -> None:
    """Each model that loads beside others asks for one thread; the first to end must not end it for all."""
    if not blas_threads():
        pytest.fail("no matrix library was found that can be held to one thread")
    with _matrix_libraries().limit(limits=2, user_api="blas"):
        _ONE_THREAD.__enter__()
        with _ONE_THREAD:
            _ONE_THREAD.__exit__()  # the first one ends, the second goes on
            assert blas_threads() == {1}
        assert blas_threads() == {2}
