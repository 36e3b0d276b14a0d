"""Reading packages: what is written comes back, and no damage gives anything but a named ModelError."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audio2img.errors import MachineError, ModelError
from audio2img.mlprogram.mlpackage import Package, read_description
from audio2img.mlprogram.reference import ReferenceModel

MODEL_FILE = Path("Data/com.apple.CoreML/model.mlmodel")
WEIGHT_FILE = Path("Data/com.apple.CoreML/weights/weight.bin")
WEIGHT = np.random.default_rng(0).standard_normal((4, 2, 3, 3)).astype(np.float16)


def write_small_network(tools: Any, path: Path) -> Path:
    """A package with a bit of everything: convolution, palette, reshape, matrix product, softmax."""
    indices = np.random.default_rng(1).integers(0, 4, 6 * 16)
    packed = np.frombuffer(tools.pack_bits(indices.tolist(), 2), dtype=np.uint8)
    conv = {
        "x": tools.Ref("x"),
        "weight": tools.Ref("weight"),
        "pad_type": "custom",
        "pad": np.ones(4, np.int32),
        "strides": np.ones(2, np.int32),
        "dilations": np.ones(2, np.int32),
        "groups": np.int32(1),
    }
    palette = {
        "indices": tools.Stored(packed),
        "lut": tools.Stored(np.array([-1, -0.5, 0.5, 1], np.float16)),
        "shape": np.array([6, 16], np.uint32),
    }
    operations = [
        tools.Op("const", {}, {"weight": (WEIGHT.shape, "float16")}, {"val": tools.Stored(WEIGHT)}),
        tools.Op("conv", conv, {"planes": ((1, 4, 4, 4), "float16")}),
        tools.Op("silu", {"x": tools.Ref("planes")}, {"lit": ((1, 4, 4, 4), "float16")}),
        tools.Op(
            "reshape",
            {"x": tools.Ref("lit"), "shape": np.array([4, 16], np.int32)},
            {"rows": ((4, 16), "float16")},
        ),
        tools.Op("constexpr_lut_to_dense", {}, {"matrix": ((6, 16), "float16")}, palette),
        tools.Op(
            "linear", {"x": tools.Ref("rows"), "weight": tools.Ref("matrix")}, {"scores": ((4, 6), "float16")}
        ),
        tools.Op("softmax", {"x": tools.Ref("scores"), "axis": np.int32(-1)}, {"out": ((4, 6), "float32")}),
    ]
    return tools.write_package(
        path, {"x": ((1, 2, 4, 4), "float16")}, operations, {"out": ((4, 6), "float32")}
    )


@pytest.fixture(scope="session")
def small_network(tools: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_network(tools, tmp_path_factory.mktemp("small") / "net.mlpackage")


@pytest.fixture
def damaged(small_network: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(small_network, tmp_path / "net.mlpackage"))


INPUT = {"x": np.linspace(-1, 1, 32, dtype=np.float16).reshape(1, 2, 4, 4)}


def load_and_predict(path: Path) -> None:
    result = ReferenceModel(Package(path)).predict(INPUT)["out"]
    assert result.shape == (4, 6)


def test_the_description_is_read(small_network: Path) -> None:
    description = read_description(small_network)
    assert [str(spec) for spec in description.inputs] == ["x: float16 [1, 2, 4, 4]"]
    assert [str(spec) for spec in description.outputs] == ["out: float32 [4, 6]"]


def test_constants_are_read(small_network: Path) -> None:
    package = Package(small_network)
    operations = {operation.name: operation for operation in package.load_function().operations}
    weight = package.read_constant(operations["weight"].attributes["val"])
    assert isinstance(weight, np.ndarray)
    assert weight.dtype == np.float16
    np.testing.assert_array_equal(weight, WEIGHT)
    (pad_type,) = operations["planes"].inputs["pad_type"]
    assert pad_type.value is not None
    assert package.read_constant(pad_type.value) == "custom"


def test_the_small_network_predicts(small_network: Path) -> None:
    result = ReferenceModel(Package(small_network)).predict(INPUT)["out"]
    np.testing.assert_allclose(result.sum(axis=1), 1, rtol=1e-5)
    assert result.std() > 0.01


@pytest.mark.parametrize("name", [MODEL_FILE, WEIGHT_FILE, Path("Manifest.json")])
def test_a_missing_file_is_named(damaged: Path, name: Path) -> None:
    (damaged / name).unlink()
    with pytest.raises(ModelError, match=r"net\.mlpackage"):
        load_and_predict(damaged)


def test_there_is_no_package(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.mlpackage"):
        Package(tmp_path / "none.mlpackage")


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.pop("rootModelIdentifier"),
        lambda manifest: manifest.update(itemInfoEntries=[]),
        lambda manifest: manifest["itemInfoEntries"]["A"].update(path="../../../etc/passwd"),
        lambda manifest: manifest["itemInfoEntries"]["A"].update(path="/etc/passwd"),
        lambda manifest: manifest["itemInfoEntries"]["A"].update(path=7),
        lambda manifest: manifest["itemInfoEntries"]["A"].update(path="com.apple.CoreML/none"),
        lambda manifest: manifest["itemInfoEntries"]["A"].update(path="com.apple.CoreML"),
    ],
)
def test_a_wrong_manifest_is_refused(damaged: Path, change: Callable[[Any], None]) -> None:
    manifest = json.loads((damaged / "Manifest.json").read_text())
    change(manifest)
    (damaged / "Manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=r"net\.mlpackage"):
        Package(damaged)


def test_a_cut_model_file_is_refused(damaged: Path) -> None:
    whole = (damaged / MODEL_FILE).read_bytes()
    for size in range(0, len(whole), 7):
        (damaged / MODEL_FILE).write_bytes(whole[:size])
        with pytest.raises(ModelError, match=r"net\.mlpackage"):
            load_and_predict(damaged)


def test_a_cut_weight_file_is_refused(damaged: Path) -> None:
    whole = (damaged / WEIGHT_FILE).read_bytes()
    for size in range(0, len(whole), 16):
        (damaged / WEIGHT_FILE).unlink()  # a new file: the old one may still be mapped
        (damaged / WEIGHT_FILE).write_bytes(whole[:size])
        with pytest.raises(ModelError, match=r"net\.mlpackage"):
            load_and_predict(damaged)


@pytest.mark.parametrize("name", [MODEL_FILE, WEIGHT_FILE])
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), min_size=1, max_size=4)
)
def test_flipped_bits_give_a_result_or_a_named_error(
    damaged: Path, small_network: Path, name: Path, flips: list[tuple[float, int]]
) -> None:
    content = bytearray((small_network / name).read_bytes())
    for place, bit in flips:
        content[int(place * len(content))] ^= 1 << bit
    (damaged / name).unlink()
    (damaged / name).write_bytes(bytes(content))
    message = str(damaged)
    try:
        model = ReferenceModel(Package(damaged))
        model.predict({spec.name: np.zeros(spec.shape, spec.dtype) for spec in model.description.inputs})
    except (ModelError, MachineError) as error:
        message = error.message
    assert str(damaged) in message


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300))
def test_any_bytes_as_a_model_are_refused(damaged: Path, content: bytes) -> None:
    (damaged / MODEL_FILE).write_bytes(content)
    with pytest.raises(ModelError, match=r"net\.mlpackage"):
        Package(damaged).load_function()


def test_weights_outside_of_the_package_are_refused(damaged: Path) -> None:
    content = (damaged / MODEL_FILE).read_bytes()
    inside = b"@model_path/weights/weight.bin"
    for outside in (b"@model_path/../../../../pass.n", b"/tmp/of/somebody/else/entirely"):
        assert len(outside) == len(inside)
        (damaged / MODEL_FILE).write_bytes(content.replace(inside, outside))
        with pytest.raises(ModelError, match="outside"):
            load_and_predict(damaged)


def test_a_model_of_another_kind_is_refused(tools: Any, damaged: Path) -> None:
    network = tools.number_field(1, 4) + tools.bytes_field(500, b"")
    (damaged / MODEL_FILE).write_bytes(network)
    with pytest.raises(ModelError, match="no ML program") as caught:
        Package(damaged)
    assert "convert" in caught.value.remedy
