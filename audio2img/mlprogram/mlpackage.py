"""A reader of `.mlpackage` folders that needs no coremltools: description, program, constants.

A package is a folder with Manifest.json, which names the model file among its items, and Data/,
which holds them: the model (protobuf, Model.proto) and beside it the weights that its program
refers to (see weights).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from audio2img.errors import ModelError, reason_of
from audio2img.files import read_bounded
from audio2img.foreign_json import parse_json
from audio2img.mlprogram import mil
from audio2img.mlprogram.mil import BlobReference, DataType, Feature, Function, TensorType, Value
from audio2img.mlprogram.protobuf import WireError
from audio2img.mlprogram.weights import NUMPY_TYPES, REMEDY, WeightFile, decode_elements

MAX_MODEL_FILE_BYTES = 1 << 30  # the program without its weights; Stable Diffusion's have a few MB
MAX_MANIFEST_BYTES = 1 << 20
MODEL_PATH_PREFIX = "@model_path/"  # in a program: the folder of the model file

ARRAY_TYPES: dict[int, np.dtype[np.generic]] = {
    65552: np.dtype(np.float16),
    65568: np.dtype(np.float32),
    65600: np.dtype(np.float64),
    131104: np.dtype(np.int32),
    131080: np.dtype(np.int8),
}
"""NumPy type of each ArrayFeatureType.ArrayDataType of FeatureTypes.proto."""

Constant = NDArray[np.generic] | str
"""A constant: an array of the type as stored, or a text (parameters such as pad_type)."""


@dataclass(frozen=True)
class ArraySpec:
    """An input or output of a model: its name, shape and element type."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    optional: bool = False

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype} {list(self.shape)}"


@dataclass(frozen=True)
class Description:
    """What a model takes and gives, and what its maker wrote about it."""

    inputs: tuple[ArraySpec, ...]
    outputs: tuple[ArraySpec, ...]
    metadata: dict[str, str] = field(default_factory=dict)


class Package:
    """An opened package. Raises ModelError, naming the package, if it is missing, damaged or no ML program.

    path: the `.mlpackage` folder; model_path: the model file in it; description: its inputs and outputs.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model_path = find_model_file(path)
        self._weights: dict[str, WeightFile] = {}
        try:
            self._spec = mil.parse_model(memoryview(read_model_file(self.model_path)))
        except WireError as error:
            raise self._damaged(error) from error
        if self._spec.program is None:
            raise ModelError(
                f"the model {path} is no ML program",
                "convert it again with coremltools and convert_to='mlprogram'",
            )
        self.description = Description(
            tuple(self._array_spec(feature) for feature in self._spec.inputs),
            tuple(self._array_spec(feature) for feature in self._spec.outputs),
            self._spec.metadata,
        )

    def load_function(self) -> Function:
        """The program's function that the description describes."""
        assert self._spec.program is not None
        try:
            return mil.parse_function(self._spec.program, self._spec.default_function)
        except WireError as error:
            raise self._damaged(error) from error

    def read_constant(self, value: Value) -> Constant:
        """The constant `value`, with its weights looked up on file. Arrays may be read-only views of it."""
        if value.type is None:
            raise self._damaged("a constant is no tensor")
        if isinstance(value.data, BlobReference):
            return self.weight_file(value.data.file_name).read(value.data.offset, value.type)
        try:
            return decode_immediate(value.data, value.type)
        except ModelError as error:
            raise self._damaged(error.message) from error

    def weight_file(self, name: str) -> WeightFile:
        """The weight file that the program calls `name`, opened once."""
        if name not in self._weights:
            relative = PurePosixPath(name.removeprefix(MODEL_PATH_PREFIX))
            if relative.is_absolute() or ".." in relative.parts or "\\" in name or "\0" in name:
                raise self._damaged(f"its weights lie outside of it, at {name!r}")
            self._weights[name] = WeightFile(self.model_path.parent / relative)
        return self._weights[name]

    def _array_spec(self, feature: Feature) -> ArraySpec:
        dtype = ARRAY_TYPES.get(feature.array_type)
        if dtype is None:
            raise ModelError(
                f"the model {self.path} has {feature.name!r}, which is no array of numbers", REMEDY
            )
        return ArraySpec(feature.name, feature.shape, dtype, feature.optional)

    def _damaged(self, reason: object) -> ModelError:
        return ModelError(f"the model {self.path} is damaged: {reason}", REMEDY)


def find_model_file(package: Path) -> Path:
    """The model file within a package, by its manifest. Raises ModelError if either is missing or damaged."""
    manifest = package / "Manifest.json"
    try:
        content = parse_json(read_bounded(manifest, MAX_MANIFEST_BYTES))
        item = content["itemInfoEntries"][content["rootModelIdentifier"]]["path"]
        relative = PurePosixPath(item)
        if relative.is_absolute() or ".." in relative.parts or "\\" in item or "\0" in item:
            raise ValueError(f"the model lies outside of the package, at {item!r}")
    except OSError as error:
        raise ModelError(f"there is no Core ML package in {package}: {reason_of(error)}", REMEDY) from error
    except ValueError as error:
        raise ModelError(f"{manifest} is damaged: {error}", REMEDY) from error
    except (KeyError, TypeError) as error:
        raise ModelError(f"{manifest} is damaged: it names no model", REMEDY) from error
    return package / "Data" / relative


def read_model_file(path: Path) -> bytes:
    """The bytes of a model file. Raises ModelError if it cannot be read or is unreasonably large."""
    try:
        return read_bounded(path, MAX_MODEL_FILE_BYTES)
    except OSError as error:
        raise ModelError(f"the model {path} cannot be read: {reason_of(error)}", REMEDY) from error


def read_description(path: Path) -> Description:
    """What the package at `path` takes and gives; its program is not decoded, its weights not opened."""
    return Package(path).description


def decode_immediate(
    data: tuple[float, ...] | tuple[str, ...] | bytes | BlobReference | None, tensor: TensorType
) -> Constant:
    """The constant written in the program itself. Raises ModelError if it does not fit its type.

    Numbers of most types are rows of protobuf numbers; float16, 8-bit and smaller ones are packed bytes.
    A row of one number fills any shape that has one element.
    """
    if data is None or isinstance(data, BlobReference):
        raise ModelError("a constant has no value", REMEDY)
    if tensor.dtype is DataType.STRING:
        if not isinstance(data, tuple) or len(data) != 1 or not isinstance(data[0], str):
            raise ModelError("a constant of type string is no text", REMEDY)
        return data[0]
    if isinstance(data, bytes):
        return decode_elements(np.frombuffer(data, dtype=np.uint8), tensor)
    if tensor.dtype not in NUMPY_TYPES:
        raise ModelError(f"a constant of type {tensor.dtype.name.lower()} is written as numbers", REMEDY)
    if len(data) != math.prod(tensor.shape) or any(isinstance(element, str) for element in data):
        raise ModelError(f"a constant of shape {list(tensor.shape)} has {len(data)} elements", REMEDY)
    try:
        return np.array(data, dtype=NUMPY_TYPES[tensor.dtype]).reshape(tensor.shape)
    except (OverflowError, ValueError) as error:
        what = f"a constant does not fit its type {tensor.dtype.name.lower()}"
        raise ModelError(what, REMEDY) from error
