"""The reference runtime as a whole: what it refuses when loading, and what it promises when predicting."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from audio2img.errors import MachineError, ModelError
from audio2img.mlprogram import graph
from audio2img.mlprogram.mlpackage import Package
from audio2img.mlprogram.reference import ReferenceModel

PARTS = ("text_encoder", "unet", "vae_decoder", "vae_encoder")
VECTOR = {"x": ((4,), "float32")}


@pytest.fixture(scope="session")
def parts(mini_bundle: Path) -> dict[str, ReferenceModel]:
    """The embedded model's parts."""
    return {part: ReferenceModel(Package(next(mini_bundle.glob(f"*_{part}.mlpackage")))) for part in PARTS}


def random_inputs(model: ReferenceModel, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    inputs = {}
    for spec in model.description.inputs:
        values = (
            rng.integers(0, 50, spec.shape) if spec.name == "input_ids" else rng.standard_normal(spec.shape)
        )
        inputs[spec.name] = values.astype(spec.dtype)
    return inputs


def test_unknown_operations_are_named_when_loading(tools: Any, make_package: Any) -> None:
    operations = [
        tools.Op("gru_of_the_future", {"x": tools.Ref("x")}, {"a": ((4,), "float32")}),
        tools.Op("lstm", {"x": tools.Ref("a")}, {"out": ((4,), "float32")}),
    ]
    package = make_package(VECTOR, operations, {"out": ((4,), "float32")})
    with pytest.raises(ModelError, match="gru_of_the_future, lstm") as caught:
        ReferenceModel(Package(package))
    assert caught.value.remedy


def test_a_model_too_large_is_refused_with_the_remedy(
    tools: Any, make_package: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = tools.Stored(np.ones((25, 4), np.float16))
    operations = [
        tools.Op("const", {}, {"w": ((25, 4), "float16")}, {"val": weight}),
        tools.Op("linear", {"x": tools.Ref("x"), "weight": tools.Ref("w")}, {"out": ((1, 25), "float32")}),
    ]
    package = make_package({"x": ((1, 4), "float32")}, operations, {"out": ((1, 25), "float32")})
    monkeypatch.setattr(graph, "MAX_PARAMETERS", 100)
    ReferenceModel(Package(package))
    monkeypatch.setattr(graph, "MAX_PARAMETERS", 99)
    with pytest.raises(MachineError, match="parameters") as caught:
        ReferenceModel(Package(package))
    assert "run it on a Mac" in caught.value.remedy


def test_stable_diffusion_is_beyond_the_cap() -> None:
    """The smallest real UNet, of Stable Diffusion 1.x, has 859.5 million parameters; the mini model has 4."""
    assert 10_000_000 < graph.MAX_PARAMETERS < 859_520_964 / 4


@pytest.mark.parametrize(
    "change",
    [
        lambda inputs: inputs.pop("z"),
        lambda inputs: inputs.update(extra=np.zeros(1)),
        lambda inputs: inputs.update(z=inputs["z"].astype(np.float32)),
        lambda inputs: inputs.update(z=inputs["z"][:, :, :8]),
    ],
    ids=["missing", "unexpected", "type", "shape"],
)
def test_inputs_are_checked(parts: dict[str, ReferenceModel], change: Any) -> None:
    inputs = random_inputs(parts["vae_decoder"])
    change(inputs)
    with pytest.raises(ModelError, match="takes"):
        parts["vae_decoder"].predict(inputs)


@pytest.mark.parametrize("part", PARTS)
def test_outputs_are_as_described_and_the_same_every_time(
    parts: dict[str, ReferenceModel], part: str
) -> None:
    model = parts[part]
    inputs = random_inputs(model)
    kept = {name: value.copy() for name, value in inputs.items()}
    first, other, again = model.predict(inputs), model.predict(random_inputs(model, 1)), model.predict(inputs)
    for spec in model.description.outputs:
        assert (first[spec.name].shape, first[spec.name].dtype) == (spec.shape, spec.dtype)
        assert np.isfinite(first[spec.name]).all()
        np.testing.assert_array_equal(first[spec.name], again[spec.name])
        assert not np.array_equal(first[spec.name], other[spec.name])
    for name, value in inputs.items():
        np.testing.assert_array_equal(value, kept[name])


def test_an_output_is_not_overwritten_by_the_next_prediction(parts: dict[str, ReferenceModel]) -> None:
    model = parts["unet"]
    first = model.predict(random_inputs(model))["noise_pred"]
    kept = first.copy()
    model.predict(random_inputs(model, 1))
    np.testing.assert_array_equal(first, kept)


def test_predictions_from_several_threads_do_not_mix(parts: dict[str, ReferenceModel]) -> None:
    model = parts["vae_decoder"]
    inputs = [random_inputs(model, seed) for seed in range(4)]
    expected = [model.predict(value)["image"] for value in inputs]
    found: dict[int, np.ndarray] = {}

    def predict(index: int) -> None:
        found[index] = model.predict(inputs[index])["image"]

    threads = [threading.Thread(target=predict, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in range(4):
        np.testing.assert_array_equal(found[index], expected[index])


def n_matrix_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_the_matrix_library_keeps_to_one_thread_in_whichever_thread_it_is_called(
    parts: dict[str, ReferenceModel],
) -> None:
    """Else the last bits depend on who calls: OpenBLAS sums otherwise with two threads than with one."""
    model = parts["vae_decoder"]
    before = n_matrix_threads()
    seen: list[set[int]] = []

    def predict() -> None:
        at_work: list[set[int]] = []
        model.predict(random_inputs(model), lambda *_: at_work or at_work.append(n_matrix_threads()))
        seen.extend(at_work)

    predict()  # from here on the main thread may be the only one that threadpoolctl listens to
    for _ in range(2):
        thread = threading.Thread(target=predict)
        thread.start()
        thread.join()
    predict()
    assert len(seen) == 4
    assert all(at_work <= {1} for at_work in seen)
    assert n_matrix_threads() == before


def test_a_token_beyond_the_vocabulary_is_a_model_error(parts: dict[str, ReferenceModel]) -> None:
    ids = np.full((1, 77), 100_000, dtype=np.float32)
    with pytest.raises(ModelError, match="gather"):
        parts["text_encoder"].predict({"input_ids": ids})


def test_integers_and_constants_may_be_outputs(tools: Any, make_package: Any) -> None:
    operations = [
        tools.Op("const", {}, {"fixed": ((2,), "float32")}, {"val": np.array([1, 2], np.float32)}),
        tools.Op("cast", {"x": tools.Ref("x"), "dtype": "int32"}, {"whole": ((4,), "int32")}),
    ]
    outputs = {"fixed": ((2,), "float32"), "whole": ((4,), "int32")}
    model = ReferenceModel(Package(make_package(VECTOR, operations, outputs)))
    found = model.predict({"x": np.array([0.5, 1.5, -1.5, 3], dtype=np.float32)})
    assert found["fixed"].tolist() == [1, 2]
    assert found["whole"].tolist() == [0, 1, -1, 3]
    assert found["whole"].dtype == np.int32
