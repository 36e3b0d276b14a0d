"""A converted part against the torch module it came from, on random inputs of a fixed seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio2img.backends.coreml.runtime import load_part, runtime_name
from audio2img.conversion.modules import Signature
from audio2img.conversion.plan import LEAST_DB, LEAST_DB_ROUNDED, PartJob
from audio2img.errors import MachineError, ModelError
from audio2img.mlprogram.constexpr import FORMS
from audio2img.mlprogram.mlpackage import Package, read_description
from audio2img.mlprogram.ops import OPERATIONS
from audio2img.mlprogram.signal import psnr_db

CHECK_SEED = 1  # not the tracing's, so that a value frozen into the graph shows

Arrays = dict[str, NDArray[Any]]


def check_part(signature: Signature, job: PartJob) -> tuple[dict[str, float], str]:
    """(PSNR in dB of each output, ""), or ({}, why it could not be checked here).

    Raises ModelError, naming the part, if an output is below plan.LEAST_DB.
    """
    if strange := unknown_operations(job):
        return {}, f"not checked: needs Core ML for {', '.join(strange)}"
    inputs, expected = answer_of_torch(signature)
    try:
        found = run_packages(job, inputs)
    except MachineError as error:
        reason = "too large for this machine" if "parameters" in error.message else error.message
        return {}, f"not checked: {reason}"
    decibels = {name: round(psnr_db(found[name], expected[name]), 1) for name in signature.outputs}
    least = (LEAST_DB_ROUNDED if runtime_name() == "coreml" else LEAST_DB)[job.bits]
    for name, value in decibels.items():
        if not value >= least:
            raise ModelError(
                f"the converted {job.part} is wrong: its {name} is {value} dB from torch's, at least {least} "
                f"is expected of {job.bits} bits",
                "try another version of torch or coremltools, or report it with the versions",
            )
    return decibels, ""


def unknown_operations(job: PartJob) -> list[str]:
    """The operations of a part that nothing on this machine can run."""
    if runtime_name() == "coreml":
        return []
    known = OPERATIONS.keys() | FORMS.keys() | {"const"}
    functions = [Package(package).load_function() for package in job.packages()]
    return sorted({one.type for function in functions for one in function.operations} - known)


def answer_of_torch(signature: Signature) -> tuple[Arrays, Arrays]:
    """(the inputs as a package takes them, the module's outputs for them in float32), both by name."""
    import torch

    dtype = np.dtype(signature.input_dtype)
    inputs = {name: value.numpy().astype(dtype) for name, value in signature.make_inputs(CHECK_SEED).items()}
    tensors = [
        torch.from_numpy(value.astype(np.int32 if name == "input_ids" else np.float32))
        for name, value in inputs.items()
    ]
    with torch.no_grad():
        results = signature.module(*tensors)
    results = results if isinstance(results, tuple) else (results,)
    return inputs, {
        name: result.float().numpy() for name, result in zip(signature.outputs, results, strict=True)
    }


def run_packages(job: PartJob, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """What the saved package gives for `inputs`; of two halves the second gets the first's answer too."""
    values = dict(inputs)
    for package in job.packages():
        takes = {spec.name: spec for spec in read_description(package).inputs}
        model = load_part(package, "CPU_ONLY")
        values.update(model.predict({name: values[name].astype(takes[name].dtype) for name in takes}))
        del model
    return values
