"""What a compiled model (`.mlmodelc`) says of itself: it has no specification, but a metadata.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from audio2img.errors import ModelError, reason_of
from audio2img.files import read_bounded
from audio2img.foreign_json import parse_json
from audio2img.mlprogram.mlpackage import ArraySpec, Description

SCHEMA_TYPES: dict[str, np.dtype[np.generic]] = {
    "Float16": np.dtype(np.float16),
    "Float32": np.dtype(np.float32),
    "Double": np.dtype(np.float64),
    "Int32": np.dtype(np.int32),
}
MAX_METADATA_BYTES = 1 << 24
REMEDY = "get the model again, or convert it: audio2img models convert"


def read_compiled_description(path: Path) -> Description:
    """What a `.mlmodelc` takes and gives, from its metadata.json.

    Raises ModelError if that file is missing or damaged.
    """
    metadata = path / "metadata.json"
    try:
        (content, *_) = parse_json(read_bounded(metadata, MAX_METADATA_BYTES))
        inputs = tuple(_read_schema(entry) for entry in content["inputSchema"])
        outputs = tuple(_read_schema(entry) for entry in content["outputSchema"])
    except OSError as error:
        raise ModelError(f"the compiled model {path} cannot be read: {reason_of(error)}", REMEDY) from error
    except ValueError as error:
        raise ModelError(f"{metadata} is damaged: {error}", REMEDY) from error
    except (KeyError, TypeError) as error:
        raise ModelError(f"{metadata} is damaged: it does not say what the model takes", REMEDY) from error
    return Description(inputs, outputs)


def _read_schema(entry: Mapping[str, Any]) -> ArraySpec:
    """One entry of inputSchema or outputSchema; its shape is a JSON list within a text."""
    shape = parse_json(entry["shape"] or "[]")
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"it has the shape {str(entry['shape'])[:60]!r}")
    optional = str(entry.get("isOptional", "0")) == "1"
    return ArraySpec(str(entry["name"]), tuple(shape), SCHEMA_TYPES[entry["dataType"]], optional)
