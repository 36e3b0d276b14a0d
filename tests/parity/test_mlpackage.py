"""Our reading of packages against coremltools': every constant, of every compressed form, equal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio2img.mlprogram.graph import build_graph
from audio2img.mlprogram.mlpackage import Package

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]


def oracle_constants(path: Path) -> dict[str, Any]:
    """Name -> value of every constant that an operation uses, as coremltools reads and decompresses it."""
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
            values = operation.materialized_val_inference()
            values = values if isinstance(values, tuple) else (values,)
            constants.update(zip((out.name for out in operation.outputs), values, strict=True))
    return constants


def compare_constants(path: Path) -> int:
    """Check every constant that our graph has; the number of elements compared."""
    graph = build_graph(Package(path))
    oracle = oracle_constants(path)
    total = 0
    for name, value in graph.constants.items():
        expected = oracle.get(name)
        if expected is None:  # bound without a name, which coremltools does not keep
            continue
        if isinstance(value, str):
            assert value == expected
            continue
        expected = np.asarray(expected)
        assert value.shape == expected.shape
        np.testing.assert_array_equal(value, expected.astype(value.dtype), err_msg=name)
        total += value.size
    return total


PARTS = ("text_encoder", "unet", "vae_decoder", "vae_encoder")


@pytest.mark.parametrize("part", PARTS)
def test_the_embedded_packages(mini_bundle: Path, part: str) -> None:
    path = next(mini_bundle.glob(f"*_{part}.mlpackage"))
    assert compare_constants(path) > {"text_encoder": 300_000, "unet": 3_000_000}.get(part, 300_000)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", PARTS)
def test_float16_packages(converted_mini: Callable[[int], Path], part: str) -> None:
    path = next(converted_mini(16).glob(f"*_{part}.mlpackage"))
    assert compare_constants(path) > 300_000


def small_model(target: str) -> Any:
    """A convolution and a matrix product with large weights, as an ML program for `target`."""
    import coremltools as ct
    from coremltools.converters.mil import Builder

    rng = np.random.default_rng(3)
    conv = rng.standard_normal((64, 32, 3, 3)).astype(np.float32)
    matrix = rng.standard_normal((96, 64)).astype(np.float32)

    @Builder.program(
        input_specs=[Builder.TensorSpec(shape=(1, 32, 8, 8))], opset_version=getattr(ct.target, target)
    )
    def program(x: Any) -> Any:
        y = Builder.conv(x=x, weight=conv, pad_type="same")
        y = Builder.reshape(x=Builder.transpose(x=y, perm=[0, 2, 3, 1]), shape=[64, 64])
        return Builder.linear(x=y, weight=matrix)

    return ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=getattr(ct.target, target),
        compute_units=ct.ComputeUnit.CPU_ONLY,
        skip_model_load=True,
    )


def compressions() -> dict[str, tuple[str, Callable[[Any], Any]]]:
    """Name -> (deployment target, what compresses a model)."""
    from coremltools.optimize import coreml as cto

    def palettize(**options: Any) -> Callable[[Any], Any]:
        config = cto.OptimizationConfig(cto.OpPalettizerConfig(mode="kmeans", **options))
        return lambda model: cto.palettize_weights(model, config)

    def quantize(**options: Any) -> Callable[[Any], Any]:
        config = cto.OptimizationConfig(cto.OpLinearQuantizerConfig(**options))
        return lambda model: cto.linear_quantize_weights(model, config)

    def prune(model: Any) -> Any:
        config = cto.OpMagnitudePrunerConfig(target_sparsity=0.6)
        return cto.prune_weights(model, cto.OptimizationConfig(config))

    def prune_and(second: Callable[..., Any], config: Any) -> Callable[[Any], Any]:
        return lambda model: second(prune(model), cto.OptimizationConfig(config), joint_compression=True)

    return {
        **{f"palette {bits}": ("macOS13", palettize(nbits=bits)) for bits in (1, 2, 4, 6, 8)},
        "affine": ("macOS13", quantize(mode="linear")),
        "affine symmetric": ("macOS13", quantize(mode="linear_symmetric")),
        "sparse": ("macOS13", prune),
        "palette 3, new form": ("macOS15", palettize(nbits=3)),
        "grouped palette": (
            "macOS15",
            palettize(nbits=4, granularity="per_grouped_channel", group_size=16),
        ),
        "palette of vectors": ("macOS15", palettize(nbits=4, cluster_dim=2)),
        "blocks of 4 bits": (
            "macOS15",
            quantize(mode="linear_symmetric", dtype="int4", granularity="per_block", block_size=16),
        ),
        "blocks of 8 bits": ("macOS15", quantize(mode="linear", dtype="uint8", granularity="per_tensor")),
        "sparse, new form": ("macOS15", prune),
        "sparse palette": (
            "macOS15",
            prune_and(cto.palettize_weights, cto.OpPalettizerConfig(mode="kmeans", nbits=4)),
        ),
        "sparse scales": (
            "macOS15",
            prune_and(cto.linear_quantize_weights, cto.OpLinearQuantizerConfig(mode="linear_symmetric")),
        ),
    }


FORMS = (
    "palette 1", "palette 2", "palette 4", "palette 6", "palette 8", "affine", "affine symmetric", "sparse",
    "palette 3, new form", "grouped palette", "palette of vectors", "blocks of 4 bits", "blocks of 8 bits",
    "sparse, new form", "sparse palette", "sparse scales",
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_compressed_form(tmp_path: Path, form: str) -> None:
    target, compress = compressions()[form]
    path = tmp_path / "small.mlpackage"
    compress(small_model(target)).save(str(path))
    kinds = {operation.type for operation in Package(path).load_function().operations}
    assert any(kind.startswith("constexpr_") for kind in kinds)
    assert compare_constants(path) > 64 * 32 * 9 + 96 * 64


def test_a_program_that_nobody_here_has_made(shared_data: Path) -> None:
    """Its description and its constants, as coremltools reads them."""
    import coremltools as ct

    from audio2img.mlprogram.mlpackage import read_description

    path = shared_data / "foreign-coreml" / "nmp.mlpackage"
    spec = ct.utils.load_spec(str(path))
    ours = read_description(path)
    for found, theirs in ((ours.inputs, spec.description.input), (ours.outputs, spec.description.output)):
        assert [one.name for one in found] == [one.name for one in theirs]
        assert {one.dtype.name for one in found} == {"float32"}
        assert {one.type.multiArrayType.dataType for one in theirs} == {65568}  # the same, as Core ML counts
        shapes = [tuple(one.type.multiArrayType.shape) for one in theirs]
        assert all(one.shape == shape for one, shape in zip(found, shapes, strict=True) if shape)
    assert compare_constants(path) > 36_000
