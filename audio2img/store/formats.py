"""Which files are taken, by name and by their first bytes: safetensors, ggml, Core ML, TFLite.

A pickle is a program for Python's unpickler: reading one runs whatever it says. None is fetched,
whatever a catalogue asks for.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path, PurePosixPath

from audio2img.store.rows import Format

PICKLES = (".ckpt", ".pt", ".pth", ".pkl", ".pickle", ".joblib", ".npy", ".npz")
TEXTS = (".json", ".txt", ".model")
WEIGHTS: dict[Format, tuple[str, ...]] = {
    "coreml": (),
    "diffusers": (".safetensors",),
    "ggml": (".bin",),
    "tflite": (".tflite",),
}
CORE_ML_FOLDERS = (".mlmodelc", ".mlpackage")
CORE_ML_PARTS = (
    ".bin", ".mil", ".json", ".mlmodel", ".net", ".shape", ".weights", ".txt", ".plist", ".layout",
)  # fmt: skip

MAX_PATH_CHARACTERS = 500
MAX_DEPTH = 32
MAX_NAME_BYTES = 255
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # devices of Windows

GGML_MAGIC = struct.pack("<I", 0x67676D6C)
TFLITE_MAGIC = b"TFL3"  # at byte 4, a FlatBuffers file identifier
MAX_SAFETENSORS_HEADER_BYTES = 100_000_000


def why_unsafe(path: object) -> str:
    """Why this is no path of a file inside of a folder, on any system; "" for one that is.

    What servers, archives, receipts and catalogues call a file is asked here before anything is done.
    """
    if not isinstance(path, str) or not path:
        return "is no path"
    if len(path) > MAX_PATH_CHARACTERS or path.count("/") >= MAX_DEPTH:
        return "is too long or too deep"
    if not path.isprintable():  # also without halves of characters, which have no bytes
        return "has characters that cannot be printed"
    if path.startswith("/") or "\\" in path or ":" in path:
        return "has an absolute path"
    for part in path.split("/"):
        if part in ("", ".", ".."):
            return "leads out of its folder"
        if len(part.encode()) > MAX_NAME_BYTES or RESERVED.fullmatch(part) or part.endswith((" ", ".")):
            return "has a name that not every system has"
    return ""


def check_name(path: str, format_: Format) -> str:
    """Why a file of this name is not taken for a model of this format; "" for one that is."""
    posix = PurePosixPath(path)
    suffix = posix.suffix.lower()
    if suffix in PICKLES or (format_ == "diffusers" and suffix == ".bin"):
        return "a pickle, which can run any program when it is loaded"
    if any(part.lower().endswith(CORE_ML_FOLDERS) for part in posix.parts[:-1]):
        return "" if format_ == "coreml" and suffix in CORE_ML_PARTS else "not a part of a Core ML model"
    if suffix in TEXTS or suffix in WEIGHTS[format_] or (format_ == "coreml" and suffix == ".zip"):
        return ""
    return f"not a file that a {format_} model is made of"


def is_pickle(path: str, format_: Format) -> bool:
    return check_name(path, format_).startswith("a pickle")


def is_weights(path: str, format_: Format) -> bool:
    """True for the files that hold numbers, without which there is no model."""
    if format_ == "coreml":
        return path.endswith(".zip") or any(mark in path for mark in CORE_ML_FOLDERS)
    return path.endswith(WEIGHTS[format_])


def check_content(path: Path, name: str, format_: Format) -> str:
    """Why the file's first bytes are not those of what its name says; "" where they are.

    name: what the file is called where it comes from (its own name may be a hash).
    """
    with path.open("rb") as stream:
        head = stream.read(64)
    size = path.stat().st_size
    if name.endswith(".safetensors"):
        n_header = struct.unpack("<Q", head[:8])[0] if len(head) > 8 else 0
        fits = 2 <= n_header <= min(MAX_SAFETENSORS_HEADER_BYTES, size - 8)
        return "" if fits and head[8:9] == b"{" else "it is not a safetensors file"
    if name.endswith(".zip"):
        import zipfile

        return "" if zipfile.is_zipfile(path) else "it is not a zip file"
    if name.endswith(".tflite"):
        return "" if head[4:8] == TFLITE_MAGIC else "it is not a TFLite file"
    if name.endswith(".bin") and format_ == "ggml":
        return "" if head[:4] == GGML_MAGIC else "it is not a ggml file"
    if name.endswith(".json"):
        return "" if head.lstrip()[:1] in (b"{", b"[") else "it is not JSON"
    return ""
