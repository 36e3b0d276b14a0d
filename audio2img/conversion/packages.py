"""From a torch module to a saved package: trace, convert, palettize, cut in two, make reproducible."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from audio2img.conversion.modules import Signature
from audio2img.conversion.plan import PartJob

SMALL_TENSOR_ELEMENTS, SMALL_TENSOR_BITS = 16_384, 8
MIN_PALETTIZED_ELEMENTS = 2048  # below this a palette costs more than it saves
AUTHOR = "The audio2img project"
# Names derived from the content keep two runs byte for byte alike; coremltools draws random ones.
ITEM_NAMESPACE = uuid.UUID("6f1d3c52-4c1c-5d0e-9b53-0b1f7c3f6a90")


def save_packages(signature: Signature, job: PartJob) -> None:
    """Convert the part and save it as job.packages()."""
    import torch

    patch_coremltools()
    torch.manual_seed(0)
    with torch.no_grad():
        model = convert(signature)
    if job.bits < 16 and signature.precision == "float16":
        model = palettize(model, job.bits)
    model.author = AUTHOR
    model.license = job.license_name
    model.short_description = f"{job.model}: {job.part.replace('_', ' ')}"
    whole = Path(job.package)
    model.save(str(whole))
    if job.chunked:
        cut_in_two(whole, job)
    for package in job.packages():
        make_reproducible(package)


def patch_coremltools() -> None:
    """Let coremltools 9.0 run under NumPy 2.4, where int() of a 1-element array is an error."""
    import coremltools.converters.mil.frontend.torch.ops as torch_ops
    import numpy as np

    original = torch_ops._cast

    def cast(context: Any, node: Any, dtype: Callable[[Any], Any], dtype_name: str) -> None:
        value = torch_ops._get_inputs(context, node, expected=1)[0]
        if value.can_be_folded_to_const() and not isinstance(value.val, dtype):  # type: ignore[arg-type]
            constant = dtype(np.asarray(value.val).item())
            context.add(torch_ops.mb.const(val=constant, name=node.name), node.name)
        else:
            original(context, node, dtype, dtype_name)

    torch_ops._cast = cast


def convert(signature: Signature) -> Any:
    """The module as an ML program for macOS 13 (coremltools' MLModel), its outputs in float32."""
    import coremltools as ct
    import numpy as np
    import torch

    inputs = signature.make_inputs(0)
    traced = torch.jit.trace(signature.module.eval(), tuple(inputs.values()), strict=False, check_trace=False)
    dtype = {"float16": np.float16, "float32": np.float32}[signature.input_dtype]
    precision = {"float16": ct.precision.FLOAT16, "float32": ct.precision.FLOAT32}[signature.precision]
    return ct.convert(
        traced,
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.macOS13,
        inputs=[
            ct.TensorType(name=name, shape=tuple(value.shape), dtype=dtype) for name, value in inputs.items()
        ],
        outputs=[ct.TensorType(name=name, dtype=np.float32) for name in signature.outputs],
        compute_precision=precision,
        compute_units=ct.ComputeUnit.CPU_ONLY,
        skip_model_load=True,
    )


def palettize(model: Any, bits: int) -> Any:
    """The model with every large weight as a palette of 2**bits values, found by k-means.

    Small tensors keep at least 8 bits: first and last layers, shortcuts and projections are small,
    and of the error that 6 bits make in the UNet's answer they make three quarters.
    The exact one-dimensional k-means for all: coremltools gives tensors below 10,000 elements to
    scikit-learn, whose result is a little worse and depends on the number of threads.
    """
    from coremltools.models.neural_network import quantization_utils
    from coremltools.optimize.coreml import _quantization_passes as passes

    def exact_kmeans(bits: int, weight: Any, **_options: Any) -> Any:
        return quantization_utils._get_kmeans_lookup_table_and_weight(bits, weight, force_kmeans1d=True)

    passes._get_kmeans_lookup_table_and_weight = exact_kmeans
    if bits < SMALL_TENSOR_BITS:
        model = _palettize_above(model, bits, SMALL_TENSOR_ELEMENTS)
    return _palettize_above(model, max(bits, SMALL_TENSOR_BITS), MIN_PALETTIZED_ELEMENTS)


def _palettize_above(model: Any, bits: int, n_elements: int) -> Any:
    """The model with every weight of more than `n_elements` elements as a palette, if it is not yet one."""
    from coremltools.optimize import coreml

    config = coreml.OpPalettizerConfig(mode="kmeans", nbits=bits, weight_threshold=n_elements)
    return coreml.palettize_weights(model, coreml.OptimizationConfig(global_config=config))


def cut_in_two(whole: Path, job: PartJob) -> None:
    """Replace a saved package by its halves; the first gives what the second takes beside the inputs."""
    import shutil

    from coremltools.models.utils import bisect_model, load_spec, save_spec

    bisect_model(str(whole), str(whole.parent), check_output_correctness=False)
    metadata = load_spec(str(whole)).description.metadata
    for number, half in enumerate(job.packages(), start=1):
        spec_path = half / "Data" / "com.apple.CoreML" / "model.mlmodel"
        spec = load_spec(str(half))
        spec.description.metadata.author = metadata.author
        spec.description.metadata.license = metadata.license
        spec.description.metadata.shortDescription = f"{metadata.shortDescription}, half {number} of 2"
        save_spec(spec, str(spec_path))
    shutil.rmtree(whole)


def make_reproducible(package: Path) -> None:
    """Give the package's items names that depend on nothing but what they are, and sort what has no order."""
    from coremltools.proto import Model_pb2

    manifest_path = package / "Manifest.json"
    manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
    names = {
        old: str(uuid.uuid5(ITEM_NAMESPACE, f"{package.name}/{item['path']}")).upper()
        for old, item in manifest["itemInfoEntries"].items()
    }
    entries = {names[old]: item for old, item in manifest["itemInfoEntries"].items()}
    manifest["itemInfoEntries"] = dict(sorted(entries.items()))
    manifest["rootModelIdentifier"] = names[manifest["rootModelIdentifier"]]
    manifest_path.write_text(json.dumps(manifest, indent=4) + "\n", encoding="utf-8")

    spec_path = package / "Data" / "com.apple.CoreML" / "model.mlmodel"
    spec = Model_pb2.Model()
    spec.ParseFromString(spec_path.read_bytes())
    spec_path.write_bytes(spec.SerializeToString(deterministic=True))
