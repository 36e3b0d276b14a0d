"""Packages written anew with some of their weights compressed; the rest stays as it is, byte for byte."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from audio2img.compression.operation import encode_operation, stored_parts
from audio2img.compression.palettes import Fit
from audio2img.compression.pieces import Piece, make_pieces, plan_piece, read_piece
from audio2img.compression.program import Weight, find_weights, rewrite_model
from audio2img.compression.progress import Count, Progress
from audio2img.compression.recipes import Plan
from audio2img.errors import MachineError, ModelError
from audio2img.mlprogram.mil import BlobReference
from audio2img.mlprogram.mlpackage import MODEL_PATH_PREFIX, Package, read_model_file
from audio2img.mlprogram.protobuf import WireError
from audio2img.mlprogram.weights import (
    HEADER,
    METADATA,
    SENTINEL,
    STORED_TYPES,
    SUB_BYTE_BITS,
    VERSION,
)

WEIGHT_FILE = "weights/weight.bin"
ALIGNMENT = 64
TYPE_CODES = {dtype: code for code, dtype in STORED_TYPES.items()}
OPSETS = {"CoreML6": False, "CoreML7": False, "CoreML8": True}
"""Opsets that have palettes (macOS 13, 14 and 15) -> whether in the form of iOS 18."""


@dataclass(frozen=True)
class Writer:
    """Writes compressed packages of one model.

    packages and weights: of the model, by part; folder: where pieces are kept; n_workers: None chooses.
    """

    packages: Mapping[str, Package]
    weights: Mapping[str, Mapping[str, Weight]]
    folder: Path
    n_workers: int | None
    progress: Progress

    def write(self, plan: Plan, dest: Path, label: str) -> dict[tuple[str, str], Fit]:
        """Write the packages that `plan` changes into `dest`; (part, weight) -> how near it is.

        label: what to call it while it is shown. What an earlier call made is not made again.
        """
        self.folder.mkdir(exist_ok=True)
        pieces = {
            (part, name): plan_piece(self.folder, self.packages[part].path, self.weights[part][name], bits)
            for part, rows in plan.items()
            for name, bits in rows.items()
        }
        count = Count(self.progress, label, sum(piece.n_elements for piece in pieces.values()))
        fits = make_pieces(pieces.values(), self.n_workers, count)
        for part, rows in plan.items():
            chosen = {name: pieces[part, name] for name in rows}
            write_package(self.packages[part], chosen, dest / self.packages[part].path.name)
        return {name: fits[piece] for name, piece in pieces.items()}

    def paths(self, parts: Iterable[str], folder: Path) -> dict[str, Path]:
        """Where `write` puts the packages of these parts."""
        return {part: folder / self.packages[part].path.name for part in parts}


def check_package(package: Package) -> None:
    """Raises ModelError if a value is not where the program says, or its system has no palettes."""
    _is_modern(package)

    def look(old: BlobReference) -> BlobReference:
        package.weight_file(old.file_name).record(old.offset)
        return old

    _rewrite(package, {}, look)


def write_package(source: Package, pieces: Mapping[str, Piece], dest: Path) -> None:
    """Write the package `dest`: as `source`, with `pieces` in the place of its weights of these names."""
    weights = find_weights(source.load_function(), 0)
    modern = _is_modern(source)
    path = dest / source.model_path.relative_to(source.path).parent / WEIGHT_FILE
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        store = _WeightStore(file)
        replacements = {
            name: _write_piece(store, weights[name], piece, modern) for name, piece in pieces.items()
        }
        copied: dict[BlobReference, BlobReference] = {}

        def relocate(old: BlobReference) -> BlobReference:
            if old not in copied:
                weight_file = source.weight_file(old.file_name)
                record = weight_file.record(old.offset)
                unused_bits = record.unused_bits if record.unused_bits < 8 else 0
                copied[old] = store.add(record.code, weight_file.raw(record).data, unused_bits)
            return copied[old]

        model = _rewrite(source, replacements, relocate)
        store.finish()
    old_weights = source.model_path.parent / "weights"
    for old in sorted(source.path.rglob("*")):
        target = dest / old.relative_to(source.path)
        if old.is_dir() or old.name.startswith(".") or old_weights in old.parents:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if old == source.model_path:
            target.write_bytes(model)
        else:
            shutil.copyfile(old, target)


def _is_modern(package: Package) -> bool:
    """Whether palettes have the form of iOS 18. Raises ModelError for a program that has none."""
    opset = package.load_function().opset
    if opset not in OPSETS:
        raise ModelError(
            f"the model {package.path} has the opset {opset!r}, for which no palettes are known",
            f"convert it for one of {', '.join(OPSETS)}, such as macOS 13",
        )
    return OPSETS[opset]


def _rewrite(
    package: Package, replace: Mapping[str, bytes], relocate: Callable[[BlobReference], BlobReference]
) -> bytes:
    try:
        return rewrite_model(memoryview(read_model_file(package.model_path)), replace, relocate)
    except WireError as error:
        raise ModelError(
            f"the model {package.path} is damaged: {error}", "get or convert it again"
        ) from error


def _write_piece(store: _WeightStore, weight: Weight, piece: Piece, modern: bool) -> bytes:
    """The operation that gives the weight, whose palette and indices are now in `store`."""
    content = read_piece(piece)
    if content is None:
        raise MachineError(f"{piece.path} was changed while it was needed", "run the same command again")
    parts = stored_parts(weight.tensor, piece.bits, modern)
    places = {}
    for (parameter, tensor), array in zip(parts.items(), (content.indices, content.palette), strict=True):
        unused_bits = -weight.n_elements * SUB_BYTE_BITS.get(tensor.dtype, 8) % 8
        places[parameter] = store.add(TYPE_CODES[tensor.dtype], array.data, unused_bits)
    return encode_operation(weight.name, weight.tensor, parts, places, modern)


class _WeightStore:
    """A weight file that grows value by value (see audio2img.mlprogram.weights)."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._n_values = file, 0
        file.write(HEADER.pack(0, VERSION))

    def add(self, code: int, data: memoryview, unused_bits: int) -> BlobReference:
        """Write a value; how a program refers to it."""
        offset = self._file.tell()
        self._file.write(METADATA.pack(SENTINEL, code, data.nbytes, offset + METADATA.size, unused_bits))
        self._file.write(data)
        self._file.write(bytes(-self._file.tell() % ALIGNMENT))
        self._n_values += 1
        return BlobReference(MODEL_PATH_PREFIX + WEIGHT_FILE, offset)

    def finish(self) -> None:
        """Write how many values there are."""
        self._file.seek(0)
        self._file.write(HEADER.pack(self._n_values, VERSION))
