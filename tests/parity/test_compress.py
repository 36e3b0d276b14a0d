"""Our compressed packages against coremltools: what it reads of them, and how near its own are."""

from __future__ import annotations

import importlib.util
import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio2img.compression.job import compress
from audio2img.compression.kmeans import count_values
from audio2img.compression.palettes import Fit, make_palette, measure, palettize
from audio2img.compression.program import find_weights, read_weights
from audio2img.compression.source import CompressionWishes
from audio2img.mlprogram.graph import build_graph
from audio2img.mlprogram.mlpackage import Package

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("text_encoder", "unet", "vae_decoder", "vae_encoder")


def ignore(label: str, done: float) -> None:
    """Nobody looks at the progress."""


def oracle_constants(path: Path) -> tuple[dict[str, Any], Any]:
    """Name -> value of every constant as coremltools reads and decompresses it; and its program."""
    import coremltools as ct
    from coremltools.converters.mil.frontend.milproto import load as milproto

    spec = ct.utils.load_spec(str(path))
    weights = path / "Data" / "com.apple.CoreML" / "weights"
    program = milproto.load(spec, spec.specificationVersion, str(weights))
    constants: dict[str, Any] = {}
    for operation in program.functions["main"].operations:
        if operation.op_type == "const":
            constants[operation.outputs[0].name] = operation.outputs[0].val
        elif operation.op_type.startswith("constexpr_"):
            constants[operation.outputs[0].name] = operation.materialized_val_inference()
    return constants, program


def compressed(source: Path, dest: Path, bits: int, parts: tuple[str, ...] = PARTS) -> Path:
    compress(source, dest, CompressionWishes(bits, parts=parts, measure=False), ignore)
    return dest


def for_macos15(source: Path, dest: Path) -> Path:
    """The VAE's encoder as a program for macOS 15, which writes all that it uses alike."""
    package = next(source.glob("*_vae_encoder.mlpackage"))
    shutil.copytree(package, dest / package.name)
    (model,) = dest.rglob("model.mlmodel")
    content = model.read_bytes()
    assert content.startswith(b"\x08\x07")  # specification version 7
    model.write_bytes(b"\x08\x09" + content[2:].replace(b"CoreML6", b"CoreML8"))
    return dest


@pytest.mark.parametrize(("bits", "system"), [(8, "iOS16"), (6, "iOS16"), (1, "iOS16"), (6, "iOS18")])
def test_coremltools_reads_what_we_write(
    converted_mini: Callable[[int], Path], tmp_path: Path, bits: int, system: str
) -> None:
    """Valid as its system's program, every constant equal to our reading: every part in the common form,
    the smallest part in others."""
    source = converted_mini(16)
    parts = PARTS if (bits, system) == (6, "iOS16") else ("vae_encoder",)
    if system == "iOS18":
        source = for_macos15(source, tmp_path / "newer")
    folder = compressed(source, tmp_path / "small", bits, parts)
    for part in parts:
        path = next(folder.glob(f"*_{part}.mlpackage"))
        oracle, program = oracle_constants(path)
        assert program.functions["main"].opset_version.name == system
        ours = build_graph(Package(path)).constants
        n_compared = 0
        for name, value in ours.items():
            if name in oracle and not isinstance(value, str):
                np.testing.assert_array_equal(value, np.asarray(oracle[name]).astype(value.dtype), name)
                n_compared += value.size
        assert n_compared > 300_000
        original = Package(next(source.glob(f"*_{part}.mlpackage")))
        weights = find_weights(original.load_function())
        for name, weight in weights.items():
            exact = read_weights(original, weight).astype(np.float64)
            error = np.square(exact - ours[name]).sum() / np.square(exact).sum()
            assert error < {1: 0.7}.get(bits, 0.005), name


def test_coremltools_loads_the_package(converted_mini: Callable[[int], Path], tmp_path: Path) -> None:
    import coremltools as ct

    source = for_macos15(converted_mini(16), tmp_path / "newer")
    folder = compressed(source, tmp_path / "small", 4, ("vae_encoder",))
    for path in folder.glob("*_vae_encoder.mlpackage"):
        model = ct.models.MLModel(str(path), skip_model_load=True)
        spec = model.get_spec()
        assert spec.specificationVersion == ct.target.macOS15.value
        kinds = {
            operation.type
            for operation in spec.mlProgram.functions["main"].block_specializations["CoreML8"].operations
        }
        assert "constexpr_lut_to_dense" in kinds
        metadata = ct.optimize.coreml.get_weights_metadata(model, weight_threshold=2048)
        assert metadata is not None


def test_our_palettes_are_no_worse(converted_mini: Callable[[int], Path]) -> None:
    """Each weight of the UNet, against the k-means that coremltools takes for it."""
    from coremltools.optimize.coreml._quantization_passes import palettize_weights

    package = Package(next(converted_mini(16).glob("*_unet.mlpackage")))
    weights = find_weights(package.load_function())
    gains = []
    for weight in list(weights.values())[::10]:
        values = np.asarray(read_weights(package, weight))
        for bits in (2, 4, 6, 8):
            lut, indices = palettize_weights._get_lut_and_indices(values, "KMEANS", bits, None)
            theirs = float(np.square(values.astype(np.float64).ravel() - lut[indices.ravel()]).sum())
            ours = palettize(values, bits).fit
            if ours.error:
                gains.append(10 * math.log10(theirs / ours.error))
    assert min(gains) > -0.01  # dB; both round their palettes to float16
    assert np.mean(gains) > 0


@pytest.mark.parametrize("tail", ["normal", "heavy", "very heavy"])
def test_large_tensors_are_as_good_as_exact(tail: str) -> None:
    """Against coremltools' exact one-dimensional k-means, which tries every border."""
    from coremltools._deps import _kmeans1d

    rng = np.random.default_rng(11)
    draws = {
        "normal": rng.standard_normal(400_000),
        "heavy": rng.standard_t(3, 400_000),
        "very heavy": rng.standard_t(1.5, 100_000),
    }
    weights = (draws[tail] * 0.02).astype(np.float16)
    histogram = count_values(weights)
    for bits in (1, 2, 3, 4, 6):
        exact = _kmeans1d.cluster(histogram.values, 1 << bits, weights=histogram.counts)
        best = measure(histogram, np.sort(np.array(exact.centroids)).astype(np.float16))
        ours: Fit = measure(histogram, make_palette(histogram, bits, np.dtype(np.float16)))
        assert ours.snr_db > best.snr_db - 0.001


def test_apples_apply_script_finds_the_same_layers(
    converted_mini: Callable[[int], Path], tmp_path: Path
) -> None:
    """Apple matches layers by their first value and size, which needs the PyTorch model; we go by names."""
    import json

    from diffusers import UNet2DConditionModel

    from audio2img.compression.recipes import read_recipe

    folder = Path(converted_mini(16))
    package = Package(next(folder.glob("*_unet.mlpackage")))
    weights = find_weights(package.load_function())
    model = UNet2DConditionModel.from_pretrained(ROOT / "models/mini/diffusers/unet")
    layers = {
        name.removesuffix(".weight"): parameter.detach().numpy()
        for name, parameter in model.named_parameters()
        if name.endswith(".weight") and parameter.numel() > 2048
    }
    recipe = tmp_path / "apple.json"
    recipe.write_text(json.dumps({"recipes": {"all": dict.fromkeys(layers, 6)}}))
    found = read_recipe(recipe, {"unet": weights})["unet"]
    assert len(found) == len(layers)
    hashes = {float(np.float16(value.ravel()[0])) + value.size for value in layers.values()}
    for name in found:
        values = read_weights(package, weights[name])
        assert float(values.ravel()[0]) + values.size in hashes


@pytest.fixture(scope="module")
def bench() -> Any:
    path = ROOT / "scripts" / "bench_compression.py"
    spec = importlib.util.spec_from_file_location("bench_compression", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_compression"] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def test_the_benchmarks_unet_is_as_large_as_the_real_one(bench: Any) -> None:
    assert sum(math.prod(shape) for _, shape in bench.unet_shapes()) == bench.SD21_PARAMETERS


def test_the_benchmark_compares_like_with_like(bench: Any, tmp_path: Path) -> None:
    bench.write_package(tmp_path / "source" / bench.PACKAGE_NAME, bench.scaled_shapes(0.001))
    runs = bench.compare(tmp_path / "source", 6, tmp_path)
    ours, plain = runs["ours"], runs["coremltools"]
    assert ours.snr_db > plain.snr_db - 0.01
    assert ours.least_snr_db > plain.least_snr_db - 0.01
    assert ours.size_bytes < plain.size_bytes * 1.1
    assert ours.peak_bytes > 0
