"""LoRA files (Hu et al. 2021, arXiv 2106.09685) as a person names them: PATH, or PATH:WEIGHT."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audio2img.config import expand_path
from audio2img.diffusion.hashing import hash_files
from audio2img.errors import InputError, ModelError, UsageError
from audio2img.types import LoraUse

SUFFIX = ".safetensors"
_WEIGHTED = re.compile(r"(?P<path>.+):(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))")


@dataclass(frozen=True)
class LoraFile:
    """A LoRA on this machine. weight: how strongly it works, 1 as it was trained."""

    path: Path
    weight: float = 1.0

    @property
    def name(self) -> str:
        return self.path.name

    def as_recorded(self) -> LoraUse:
        """What is written down of it. Raises ModelError if it cannot be read."""
        return LoraUse(self.name, hash_files(self.path), self.weight)


def parse_lora(text: str) -> LoraFile:
    """The file that `text` names, with its weight after a colon (a drive's colon is none).

    Raises UsageError for a weight that cannot be used, ModelError when the file is missing or is no
    safetensors file.
    """
    match = _WEIGHTED.fullmatch(text)
    path = expand_path(match["path"] if match else text)
    weight = float(match["weight"]) if match else 1.0
    if not -10 <= weight <= 10:
        raise UsageError(
            f"the weight {weight:g} of {path.name} cannot be used", "choose -10 to 10; 1 is usual"
        )
    if path.suffix.lower() != SUFFIX:
        raise ModelError(
            f"{path} is no safetensors file; others can run any program when they are loaded",
            f"give a {SUFFIX} file: `loras=PATH` or `loras=PATH:0.8`",
        )
    if not path.is_file():
        raise ModelError(f"there is no LoRA file {path}", "check the path")
    return LoraFile(path, weight)


def check_same(recorded: Sequence[LoraUse], given: Sequence[LoraUse]) -> None:
    """Raises InputError unless the files are those that a picture was drawn with, in their order."""
    for wanted in recorded:
        remedy = f"give the same file: `loras={wanted.name}:{wanted.weight:g}`"
        same_name = next((one for one in given if one.name == wanted.name), None)
        if same_name is None and wanted.sha256 not in [one.sha256 for one in given]:
            raise InputError(f"the picture was drawn with the LoRA {wanted.name}", remedy)
        if same_name is not None and same_name.sha256 != wanted.sha256:
            raise InputError(f"{wanted.name} is not the LoRA that the picture was drawn with", remedy)
    here = [(one.sha256, one.weight) for one in given]
    if here != [(one.sha256, one.weight) for one in recorded]:
        wishes = " ".join(f"`loras={one.name}:{one.weight:g}`" for one in recorded) or "none"
        raise InputError("the picture was drawn with other LoRA files or weights", f"give exactly: {wishes}")
