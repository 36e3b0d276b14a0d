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

from audio2img.compression.palettes import encode_operation, stored_bytes, stored_parts
from audio2img.compression.program import ProgramEdit, Weight, find_weights, rewrite_model
from audio2img.errors import ModelError
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
OPSETS = {"CoreML6": False, "CoreML7": False, "CoreML8": True}
"""Opsets that have palettes (macOS 13, 14 and 15) -> whether in the form of iOS 18."""

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
    """A weight to compress: what is stored of it, and where that goes, in the same order."""

    weight: Weight
    bits: int
    parts: dict[str, TensorType]
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


def plan_package(package: Package, bits: Mapping[str, int]) -> PackagePlan:
    """Lay out `package` with palettes of so many bits for its weights of these names.

    Raises ModelError if the package is damaged, or one for a system without palettes.
    """
    function = package.load_function()
    weights = find_weights(function, 0)
    modern = _is_modern(package, function)
    layout = _Layout()
    planned = {}
    for name, one in bits.items():
        parts = stored_parts(weights[name].tensor, one, modern)
        blobs = tuple(map(layout.add_tensor, parts.values()))
        planned[name] = PlannedWeight(weights[name], one, parts, blobs)
    copied: dict[BlobReference, Blob] = {}

    def relocate(old: BlobReference) -> BlobReference:
        if old not in copied:
            copied[old] = layout.add_record(package.weight_file(old.file_name).record(old.offset))
        return BlobReference(MODEL_PATH_PREFIX + WEIGHT_FILE, copied[old].offset)

    replacements = {name: _operation(name, one, modern) for name, one in planned.items()}
    edit = ProgramEdit(relocate, replacements)
    try:
        model = rewrite_model(memoryview(read_model_file(package.model_path)), edit)
    except WireError as error:
        raise ModelError(
            f"the model {package.path} is damaged: {error}", "get or convert it again"
        ) from error
    return PackagePlan(package.path, tuple(copied.items()), planned, model, layout.end)


def _is_modern(package: Package, function: Function) -> bool:
    """Whether palettes have the form of iOS 18. Raises ModelError for a program that has none."""
    if function.opset not in OPSETS:
        raise ModelError(
            f"the model {package.path} has the opset {function.opset!r}, for which no palettes are known",
            f"convert it for one of {', '.join(OPSETS)}, such as macOS 13",
        )
    return OPSETS[function.opset]


def _operation(name: str, planned: PlannedWeight, modern: bool) -> bytes:
    places = {
        parameter: BlobReference(MODEL_PATH_PREFIX + WEIGHT_FILE, blob.offset)
        for parameter, blob in zip(planned.parts, planned.blobs, strict=True)
    }
    return encode_operation(name, planned.weight.tensor, planned.parts, places, modern)


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
