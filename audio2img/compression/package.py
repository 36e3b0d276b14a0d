"""A package written anew with some of its weights compressed.

Where each value goes in the new weight file is known before any weight is looked at: a palette's
size depends on the weight's shape only. So the file is laid out first, and its parts can then be
filled in any order, by several processes.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from audio2img.compression.program import (
    MACOS13_OPSET,
    MACOS15_OPSET,
    SPECIFICATION_VERSIONS,
    UNCHANGED_UNTIL_MACOS15,
    ProgramEdit,
    Weight,
    find_weights,
    rewrite_model,
)
from audio2img.compression.schemes import Treatment, Treatments
from audio2img.compression.tensors import Form, encode_operation, plan_form, stored_bytes
from audio2img.errors import ModelError, UsageError
from audio2img.mlprogram.mil import BlobReference, Function, TensorType
from audio2img.mlprogram.mlpackage import MODEL_PATH_PREFIX, Package, read_model_file
from audio2img.mlprogram.protobuf import WireError
from audio2img.mlprogram.weights import (
    HEADER,
    METADATA,
    SENTINEL,
    STORED_TYPES,
    SUB_BYTE_BITS,
    VERSION,
    BlobRecord,
)

WEIGHT_FILE = "weights/weight.bin"
ALIGNMENT = 64
TYPE_CODES = {dtype: code for code, dtype in STORED_TYPES.items()}


@dataclass(frozen=True)
class Blob:
    """A value in the new weight file: its metadata is at `offset`, its data right after."""

    offset: int
    code: int
    size: int
    unused_bits: int

    @property
    def start(self) -> int:
        return self.offset + METADATA.size

    @property
    def end(self) -> int:
        """Where the next value's metadata may be."""
        return -(-(self.start + self.size) // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class PlannedWeight:
    """A weight to compress: what it becomes, and where its parts go, in the order of form.stored."""

    weight: Weight
    treatment: Treatment
    form: Form
    blobs: tuple[Blob, ...]

    @property
    def size_bytes(self) -> int:
        return sum(blob.size for blob in self.blobs)


@dataclass(frozen=True)
class PackagePlan:
    """A package and what becomes of it.

    copied: values that stay as they are, with where they come from; weights: those that are compressed,
    by name; model: the new program with its description (Model.proto); size_bytes: of the weight file.
    """

    source: Path
    copied: tuple[tuple[BlobReference, Blob], ...]
    weights: Mapping[str, PlannedWeight]
    model: bytes
    size_bytes: int


def plan_package(package: Package, treatments: Treatments) -> PackagePlan:
    """Lay out `package` with `treatments` applied to its weights of these names.

    Raises ModelError if the package is damaged, UsageError if it cannot hold what is asked for.
    """
    function = package.load_function()
    weights = find_weights(function, 0)
    opset = _new_opset(package, function, treatments)
    modern = SPECIFICATION_VERSIONS[opset] >= SPECIFICATION_VERSIONS[MACOS15_OPSET]
    layout = _Layout()
    planned = {}
    for name, treatment in treatments.items():
        form = plan_form(weights[name].tensor, weights[name].axis, treatment, modern)
        blobs = tuple(layout.add_tensor(tensor) for tensor in form.stored.values())
        planned[name] = PlannedWeight(weights[name], treatment, form, blobs)
    copied: dict[BlobReference, Blob] = {}

    def relocate(old: BlobReference) -> BlobReference:
        if old not in copied:
            copied[old] = layout.add_record(package.weight_file(old.file_name).record(old.offset))
        return BlobReference(MODEL_PATH_PREFIX + WEIGHT_FILE, copied[old].offset)

    replacements = {name: _operation(name, one) for name, one in planned.items()}
    edit = ProgramEdit(relocate, replacements, None if opset == function.opset else opset)
    try:
        model = rewrite_model(memoryview(read_model_file(package.model_path)), edit)
    except WireError as error:
        raise ModelError(
            f"the model {package.path} is damaged: {error}", "get or convert it again"
        ) from error
    return PackagePlan(package.path, tuple(copied.items()), planned, model, layout.end)


def _new_opset(package: Package, function: Function, treatments: Treatments) -> str:
    """The opset that has the forms of `treatments`, no older than the program's own."""
    if function.opset in SPECIFICATION_VERSIONS:
        opset = function.opset
    elif function.opset.startswith("CoreML") and function.opset < MACOS13_OPSET:
        opset = MACOS13_OPSET
    else:
        raise ModelError(
            f"the model {package.path} has the unknown opset {function.opset!r}",
            "convert it again: audio2img models convert",
        )
    is_modern = SPECIFICATION_VERSIONS[opset] >= SPECIFICATION_VERSIONS[MACOS15_OPSET]
    if is_modern or not any(treatment.needs_macos15 for treatment in treatments.values()):
        return opset
    kept = {operation.type for operation in function.operations if operation.name not in treatments}
    unknown = sorted(kept - UNCHANGED_UNTIL_MACOS15)
    if unknown:
        raise UsageError(
            f"the model {package.path} is one for macOS 13 and uses {', '.join(unknown)}, "
            "which cannot be raised to macOS 15",
            "leave out --group-size, or convert the model for macOS 15",
        )
    return MACOS15_OPSET


def _operation(name: str, planned: PlannedWeight) -> bytes:
    places = {
        parameter: BlobReference(MODEL_PATH_PREFIX + WEIGHT_FILE, blob.offset)
        for parameter, blob in zip(planned.form.stored, planned.blobs, strict=True)
    }
    return encode_operation(name, planned.weight.tensor, planned.form, places)


class _Layout:
    """Gives values their places in a weight file, one after the other."""

    def __init__(self) -> None:
        self.end = HEADER.size

    def add_tensor(self, tensor: TensorType) -> Blob:
        size = stored_bytes(tensor)
        bits = SUB_BYTE_BITS.get(tensor.dtype, 8)
        n_elements = 1
        for length in tensor.shape:
            n_elements *= length
        return self._add(TYPE_CODES[tensor.dtype], size, -n_elements * bits % 8)

    def add_record(self, record: BlobRecord) -> Blob:
        return self._add(record.code, record.size, record.unused_bits if record.unused_bits < 8 else 0)

    def _add(self, code: int, size: int, unused_bits: int) -> Blob:
        blob = Blob(self.end, code, size, unused_bits)
        self.end = blob.end
        return blob


def weight_path(package: Path, source: Package) -> Path:
    """Where the weight file of the new package at `package` is: beside its model file, as in `source`."""
    return package / source.model_path.relative_to(source.path).parent / WEIGHT_FILE


def start_weight_file(plan: PackagePlan, source: Package, path: Path) -> None:
    """Make the weight file of `plan` at `path`: full length, every metadata record, every copied value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = [blob for one in plan.weights.values() for blob in one.blobs]
    kept = [blob for _, blob in plan.copied]
    with path.open("wb") as file:
        file.truncate(plan.size_bytes)
        file.write(HEADER.pack(len(made) + len(kept), VERSION))
        for blob in made + kept:
            file.seek(blob.offset)
            file.write(METADATA.pack(SENTINEL, blob.code, blob.size, blob.start, blob.unused_bits))
        for reference, blob in plan.copied:
            weight_file = source.weight_file(reference.file_name)
            file.seek(blob.start)
            file.write(weight_file.raw(weight_file.record(reference.offset)).data)


def finish_package(plan: PackagePlan, source: Package, package: Path) -> None:
    """Write everything but the weight file, which is there already."""
    old_weights = source.model_path.parent / "weights"
    for path in sorted(source.path.rglob("*")):
        target = package / path.relative_to(source.path)
        if path.is_dir() or path.name.startswith(".") or old_weights in path.parents:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if path == source.model_path:
            target.write_bytes(plan.model)
        else:
            shutil.copyfile(path, target)
