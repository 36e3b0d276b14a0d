"""A diffusers folder as the transformers of 2024 reads it, which Apple's package pins.

transformers 5 saves a text encoder without the prefix that its tensors had before, and reads both.
An older one finds no tensor of the names it knows, and **goes on with random weights and a warning**.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterable
from pathlib import Path

from audio2img.errors import ModelError

PREFIXES = {
    "text_encoder": ("", "text_model."),
    "safety_checker": ("vision_model.", "vision_model.vision_model."),
}
"""Component -> (what its tensors' names begin with since transformers 5, what before)."""

MAX_HEADER_BYTES = 100_000_000  # of the format


def old_names(component: str, names: Iterable[str]) -> dict[str, str]:
    """New name -> old name of the tensors of a component that has new ones; {} where nothing is to do."""
    names = list(names)
    if component not in PREFIXES:
        return {}
    new, old = PREFIXES[component]
    if any(name.startswith(old) for name in names):
        return {}
    return {name: old + name.removeprefix(new) for name in names if name.startswith(new)}


def view_folder(source: Path, folder: Path) -> None:
    """Make `folder` a view of the diffusers folder `source`: links, and copies of what must be renamed."""
    folder.mkdir()
    for path in source.iterdir():
        if path.name not in PREFIXES or not path.is_dir():
            (folder / path.name).symlink_to(path.resolve(), target_is_directory=path.is_dir())
            continue
        (folder / path.name).mkdir()
        for file in path.iterdir():
            seen = folder / path.name / file.name
            if file.suffix == ".safetensors":
                write_renamed(file, seen, path.name)
            else:
                seen.symlink_to(file.resolve())


def write_renamed(source: Path, dest: Path, component: str) -> None:
    """A safetensors file with old names: its header (8 bytes of length, then JSON) is written anew.

    A link where there is nothing to rename. Raises ModelError if the file is none.
    """
    with source.open("rb") as file:
        try:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > MAX_HEADER_BYTES:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(file.read(length))
            if not isinstance(header, dict):
                raise ValueError("its header is no table")
            names = old_names(component, (name for name in header if name != "__metadata__"))
        except (struct.error, ValueError, TypeError) as error:
            raise ModelError(f"{source} is damaged: {error}", "get the model again") from error
        if not names:
            dest.symlink_to(source.resolve())
            return
        content = json.dumps({names.get(name, name): entry for name, entry in header.items()}).encode("utf-8")
        content += b" " * (-len(content) % 8)
        with dest.open("wb") as renamed:
            renamed.write(struct.pack("<Q", len(content)) + content)
            shutil.copyfileobj(file, renamed, 1 << 22)
