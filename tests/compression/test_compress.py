"""Compressed packages: written by us, read by our own reader, run by the reference runtime."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio2img.compression import pieces
from audio2img.compression.job import compress
from audio2img.compression.operation import PALETTE_TYPES
from audio2img.compression.palettes import Fit, palettize
from audio2img.compression.results import Result
from audio2img.compression.source import CompressionWishes
from audio2img.errors import ModelError, UsageError
from audio2img.mlprogram.graph import build_graph
from audio2img.mlprogram.mil import DataType
from audio2img.mlprogram.mlpackage import Package
from audio2img.mlprogram.reference import ReferenceModel

RNG = np.random.default_rng(7)
KERNEL = (RNG.standard_t(3, (32, 16, 3, 3)) * 0.05).astype(np.float16)
MATRIX = (RNG.standard_t(3, (48, 512)) * 0.05).astype(np.float16)
COLUMNS = (RNG.standard_t(3, (48, 64)) * 0.05).astype(np.float32)
BIAS = RNG.standard_normal(32).astype(np.float16)
MASK = np.where(np.tri(64, dtype=bool), 0, -np.inf).astype(np.float16)
INPUT = {"x": RNG.standard_normal((1, 16, 4, 4)).astype(np.float16)}
LARGE = {"kernel": KERNEL, "matrix": MATRIX, "columns": COLUMNS}


def quiet(label: str, done: float) -> None:
    """Progress that nobody looks at; what it is told must make sense."""
    assert label
    assert 0 <= done <= 1


def write_network(tools: Any, folder: Path, **changed: np.ndarray) -> Path:
    """A model folder with one part: a convolution, two matrices (one in float32), small constants, a mask."""
    arrays = {"kernel": KERNEL, "matrix": MATRIX, "columns": COLUMNS, "bias": BIAS, "mask": MASK, **changed}
    conv = {
        "x": tools.Ref("x"), "weight": tools.Ref("kernel"), "bias": tools.Ref("bias"), "pad_type": "custom",
        "pad": np.ones(4, np.int32), "strides": np.ones(2, np.int32), "dilations": np.ones(2, np.int32),
        "groups": np.int32(1),
    }  # fmt: skip
    product = {
        "x": tools.Ref("scores"), "y": tools.Ref("columns"),
        "transpose_x": np.bool_(False), "transpose_y": np.bool_(False),
    }  # fmt: skip
    operations = [
        tools.Op("const", {}, {name: (array.shape, array.dtype.name)}, {"val": tools.Stored(array)})
        for name, array in arrays.items()
    ]
    operations += [
        tools.Op("conv", conv, {"planes": ((1, 32, 4, 4), "float16")}),
        tools.Op(
            "reshape",
            {"x": tools.Ref("planes"), "shape": np.array([1, 512], np.int32)},
            {"row": ((1, 512), "float16")},
        ),
        tools.Op(
            "linear",
            {"x": tools.Ref("row"), "weight": tools.Ref("matrix")},
            {"scores": ((1, 48), "float32")},
        ),
        tools.Op("matmul", product, {"product": ((1, 64), "float32")}),
        tools.Op("add", {"x": tools.Ref("product"), "y": tools.Ref("mask")}, {"out": ((64, 64), "float32")}),
    ]
    folder.mkdir(parents=True)
    tools.write_package(
        folder / "net.mlpackage",
        {"x": ((1, 16, 4, 4), "float16")},
        operations,
        {"out": ((64, 64), "float32")},
    )
    (folder / "vocab.json").write_text("{}")
    return folder


@pytest.fixture
def network(tools: Any, tmp_path: Path) -> Path:
    return write_network(tools, tmp_path / "original")


def contents(folder: Path) -> dict[str, str]:
    """Relative path -> hash of every file."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def run(source: Path, dest: Path, bits: int = 4, **options: Any) -> Result:
    return compress(source, dest, CompressionWishes(bits, measure=False, **options), quiet)


@pytest.mark.parametrize("bits", PALETTE_TYPES)
def test_what_is_written_is_read(network: Path, tmp_path: Path, bits: int) -> None:
    before = contents(network)
    result = run(network, tmp_path / "small", bits)
    package = Package(tmp_path / "small" / "net.mlpackage")
    constants = build_graph(package).constants
    for name, original in LARGE.items():
        known = palettize(original, bits)
        expected, fit = known.decode(original.shape), known.fit
        np.testing.assert_array_equal(constants[name], expected.astype(np.float32))
        (layer,) = [one for one in result.parts[0].layers if one.name == name]
        assert layer.snr_db == pytest.approx(fit.snr_db)
        error = original.astype(np.float64) - expected
        snr = 10 * math.log10((original.astype(np.float64) ** 2).sum() / (error**2).sum())
        assert layer.snr_db == pytest.approx(snr, abs=0.01)
    np.testing.assert_array_equal(constants["bias"], BIAS.astype(np.float32))
    np.testing.assert_array_equal(constants["mask"], MASK.astype(np.float32))
    assert contents(network) == before


@pytest.mark.parametrize("bits", PALETTE_TYPES)
def test_the_answer_is_near(network: Path, tmp_path: Path, bits: int) -> None:
    run(network, tmp_path / "small", bits)
    exact = ReferenceModel(Package(network / "net.mlpackage")).predict(INPUT)["out"]
    near = ReferenceModel(Package(tmp_path / "small" / "net.mlpackage")).predict(INPUT)["out"]
    shown = np.isfinite(exact)
    np.testing.assert_array_equal(np.isfinite(near), shown)
    error = np.sqrt(np.square(exact[shown] - near[shown]).mean())
    assert error < {1: 1.2, 2: 1.0, 4: 0.4}.get(bits, 0.1) * exact[shown].std()


def set_opset(network: Path, opset: str) -> Path:
    """The same program in another opset: what it uses is written alike in all of them."""
    (model,) = network.rglob("model.mlmodel")
    model.write_bytes(model.read_bytes().replace(b"CoreML6", opset.encode()))
    return network


@pytest.mark.parametrize(
    ("opset", "kind", "lut_shape"),
    [("CoreML7", DataType.UINT8, (64,)), ("CoreML8", DataType.UINT6, (1, 1, 1, 1, 64, 1))],
)
def test_a_palette_has_the_form_of_its_system(
    network: Path, tmp_path: Path, opset: str, kind: DataType, lut_shape: tuple[int, ...]
) -> None:
    run(set_opset(network, opset), tmp_path / "small", 6)
    package = Package(tmp_path / "small" / "net.mlpackage")
    function = package.load_function()
    (operation,) = [one for one in function.operations if one.name == "kernel"]
    parameters = {
        **operation.attributes,
        **{name: arguments[0].value for name, arguments in operation.inputs.items()},
    }
    assert function.opset == opset
    assert parameters["indices"].type.dtype is kind
    assert parameters["lut"].type.shape == lut_shape
    expected = palettize(KERNEL, 6).decode(KERNEL.shape).astype(np.float32)
    np.testing.assert_array_equal(build_graph(package).constants["kernel"], expected)


def test_a_program_for_a_system_without_palettes_is_refused(network: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="CoreML5"):
        run(set_opset(network, "CoreML5"), tmp_path / "small")
    assert list(tmp_path.iterdir()) == [network]


def test_the_file_is_as_small_as_promised(network: Path, tmp_path: Path) -> None:
    result = run(network, tmp_path / "small", 4)
    n_weights = KERNEL.size + MATRIX.size + COLUMNS.size
    luts = 2 * 16 * 2 + 16 * 4
    assert sum(layer.size_bytes for layer in result.parts[0].layers) == n_weights // 2 + luts
    assert result.average_bits == pytest.approx(4 + 8 * luts / n_weights)
    assert result.size_before - result.size_after > 0.6 * (
        2 * KERNEL.size + 2 * MATRIX.size + 4 * COLUMNS.size
    )


def test_two_runs_give_the_same_bytes(network: Path, tmp_path: Path) -> None:
    run(network, tmp_path / "one", 4)
    run(network, tmp_path / "two", 4, n_workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_palette_can_be_made_smaller(network: Path, tmp_path: Path) -> None:
    run(network, tmp_path / "eight", 8)
    run(tmp_path / "eight", tmp_path / "four", 4)
    eight = build_graph(Package(tmp_path / "eight" / "net.mlpackage")).constants
    four = build_graph(Package(tmp_path / "four" / "net.mlpackage")).constants
    for name, original in LARGE.items():
        source = np.asarray(eight[name]).astype(original.dtype)
        np.testing.assert_array_equal(
            four[name], palettize(source, 4).decode(source.shape).astype(np.float32)
        )
    with pytest.raises(UsageError, match="smaller"):
        run(tmp_path / "four", tmp_path / "six", 6)
    assert not (tmp_path / "six").exists()


def test_other_files_come_along(network: Path, tmp_path: Path) -> None:
    (network / "tokenizer").mkdir()
    (network / "tokenizer" / "notes.txt").write_text("words")
    (network / "Unet.mlmodelc").mkdir()
    (network / "Unet.mlmodelc" / "big").write_text("the uncompressed model, compiled")
    (network / ".DS_Store").write_text("")
    (network / "audio2img.json").write_text('{"format": 1, "name": "net", "steps": 3}')
    result = run(network, tmp_path / "small")
    small = contents(tmp_path / "small")
    assert small["tokenizer/notes.txt"] == contents(network)["tokenizer/notes.txt"]
    assert not {name for name in small if "mlmodelc" in name or ".DS_Store" in name}
    sidecar = json.loads((tmp_path / "small" / "audio2img.json").read_text())
    assert sidecar["name"] == "net"
    assert sidecar["compression"]["scheme"] == "palette4"
    assert sidecar["compression"]["source_sha256"] == result.source_hash


def test_the_report_is_there_and_honest(network: Path, tmp_path: Path) -> None:
    run(network, tmp_path / "small", 8)
    folder = tmp_path / "small" / "compression"
    report = json.loads((folder / "report.json").read_text())
    assert report["latents_db"] is None
    assert report["unmeasured"] == "it was not asked for"
    assert {layer["name"] for layer in report["parts"][0]["layers"]} == set(LARGE)
    assert all(layer["snr_db"] > 30 for layer in report["parts"][0]["layers"])
    text = (folder / "report.md").read_text()
    assert "No picture was drawn: it was not asked for" in text
    assert "| kernel | 32x16x3x3 | palette8 |" in text


def test_a_whole_repository_of_apples_is_understood(
    mini_bundle: Path, tmp_path: Path, core_ml_stand_in: object
) -> None:
    """On a Mac compiled models go first, and the vocabulary is with them; the packages are beside."""
    packages, compiled = tmp_path / "repo/original/packages", tmp_path / "repo/original/compiled"
    compiled.mkdir(parents=True)
    shutil.copytree(mini_bundle, packages)
    for name in ("vocab.json", "merges.txt"):
        shutil.move(packages / name, compiled / name)
    for name in ("TextEncoder", "Unet", "VAEDecoder"):
        (compiled / f"{name}.mlmodelc").mkdir()
    result = run(tmp_path / "repo", tmp_path / "small", parts=("vae_encoder",))
    assert [part.name for part in result.parts] == ["vae_encoder"]
    names = {path.name for path in (tmp_path / "small").iterdir()}
    assert {"vocab.json", "merges.txt", "audio2img.json", "compression"} < names
    assert len([name for name in names if name.endswith(".mlpackage")]) == 4


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4096])


def spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace((0xDEADBEEF).to_bytes(4, "little"), b"none"))


@pytest.mark.parametrize("damage", [cut, spoil, Path.unlink])
def test_a_damaged_source_is_refused(network: Path, tmp_path: Path, damage: Any) -> None:
    damage(network / "net.mlpackage/Data/com.apple.CoreML/weights/weight.bin")
    with pytest.raises(ModelError, match="weight"):
        run(network, tmp_path / "small")
    assert list(tmp_path.iterdir()) == [network]


def test_weights_that_are_no_numbers_are_refused(tools: Any, tmp_path: Path) -> None:
    spoiled = MATRIX.copy()
    spoiled[3, 5] = np.nan
    source = write_network(tools, tmp_path / "original", matrix=spoiled)
    with pytest.raises(ModelError, match="matrix is no number"):
        run(source, tmp_path / "small")
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    ("dest", "words"),
    [
        ("original", "there already"),
        ("original/small", "within the model"),
        ("nowhere/small", "no folder"),
    ],
)
def test_a_bad_destination_is_refused(network: Path, tmp_path: Path, dest: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        run(network, tmp_path / dest)
    assert list(tmp_path.iterdir()) == [network]


def test_a_folder_without_packages_is_refused(network: Path, tmp_path: Path) -> None:
    shutil.rmtree(network / "net.mlpackage")
    with pytest.raises(ModelError):
        run(network, tmp_path / "small")
    with pytest.raises(ModelError, match="nowhere"):
        run(tmp_path / "nowhere", tmp_path / "small")


def test_an_unknown_part_is_refused(network: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'unet'") as caught:
        run(network, tmp_path / "small", parts=("unet",))
    assert "net" in caught.value.remedy
    assert list(tmp_path.iterdir()) == [network]


class PowerCutError(Exception):
    pass


def interrupted_run(source: Path, dest: Path, after: int) -> Path:
    """Compress until `after` weights are done; the work folder."""

    def progress(label: str, done: float) -> None:
        nonlocal after
        if label == "compressing" and done > 0:
            after -= 1
            if after == 0:
                raise PowerCutError

    with pytest.raises(PowerCutError):
        compress(source, dest, CompressionWishes(4, measure=False), progress)
    assert not dest.exists()
    (work,) = dest.parent.glob(f".{dest.name}.compress-*")
    return work


def count_pieces(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the weights that are worked on from now on."""
    names: list[str] = []
    original = pieces.make_piece

    def make_piece(piece: pieces.Piece) -> Fit:
        names.append(piece.name)
        return original(piece)

    monkeypatch.setattr(pieces, "make_piece", make_piece)
    return names


def test_an_interrupted_run_is_taken_up(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(network, tmp_path / "whole")
    work = interrupted_run(network, tmp_path / "small", after=2)
    assert len(list(work.rglob("*.npz"))) == 2
    names = count_pieces(monkeypatch)
    run(network, tmp_path / "small")
    assert len(names) == 1
    assert contents(tmp_path / "small") == contents(tmp_path / "whole")
    assert not work.exists()


def test_damaged_work_is_done_again(network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(network, tmp_path / "whole")
    work = interrupted_run(network, tmp_path / "small", after=3)
    first, second, _ = sorted(work.rglob("*.npz"))
    first.write_bytes(first.read_bytes()[:-7])  # was not finished
    content = bytearray(second.read_bytes())
    content[200] ^= 0xFF  # within the indices
    second.write_bytes(content)
    names = count_pieces(monkeypatch)
    run(network, tmp_path / "small")
    assert len(names) == 2
    assert contents(tmp_path / "small") == contents(tmp_path / "whole")


def test_another_source_is_not_mixed_with_old_work(tools: Any, network: Path, tmp_path: Path) -> None:
    interrupted_run(network, tmp_path / "small", after=2)
    shutil.rmtree(network)
    write_network(tools, network, kernel=-KERNEL)
    run(network, tmp_path / "small")
    constants = build_graph(Package(tmp_path / "small" / "net.mlpackage")).constants
    expected = palettize(-KERNEL, 4).decode(KERNEL.shape)
    np.testing.assert_array_equal(constants["kernel"], expected.astype(np.float32))
    assert not list(tmp_path.glob(".*"))
