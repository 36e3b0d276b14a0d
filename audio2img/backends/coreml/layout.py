"""Where the parts of a model lie: every folder layout in which Apple's Core ML models come.

Apple's converter writes packages, `Stable_Diffusion_version_<model>_<part>.mlpackage`, for Python;
what it publishes for Swift are compiled resources, `TextEncoder.mlmodelc`, `Unet.mlmodelc`, ... with
vocab.json and merges.txt beside them. Its repositories hold both, in `original/packages`,
`original/compiled`, `split_einsum/packages`, ...; its zips unpack to one folder of compiled resources.
Any of these folders may be given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from audio2img.backends.coreml import apple
from audio2img.errors import ModelError

Attention = Literal["original", "split_einsum"]
"""How a UNet's attention was converted: for the graphics card, or for the Neural Engine."""

COMPILED_NAMES = {
    "text_encoder": "TextEncoder",
    "text_encoder_2": "TextEncoder2",
    "unet": "Unet",
    "unet_chunk1": "UnetChunk1",
    "unet_chunk2": "UnetChunk2",
    "vae_decoder": "VAEDecoder",
    "vae_encoder": "VAEEncoder",
    "safety_checker": "SafetyChecker",
}
"""The parts this backend knows, with the file names of Apple's compiled layout."""

UNET_CHUNKS = ("unet_chunk1", "unet_chunk2")
TOKENIZER_FILES = ("vocab.json", "merges.txt")
SEARCH_DEPTH = 3  # repository / attention / packages or compiled
REMEDY = "get the model again, or convert it: audio2img models convert"


@dataclass(frozen=True)
class Layout:
    """root: the folder of the parts; parts: their paths by name; tokenizer: the folder of its two files."""

    root: Path
    parts: dict[str, Path]
    tokenizer: Path


def find_layout(folder: Path, preferred: Attention | None = None) -> Layout:
    """The parts of the model in `folder`, or in one folder below it.

    preferred: which attention to take where a repository holds both. On a Mac compiled models go
    before packages (they need not be compiled), elsewhere packages.
    Raises ModelError when there is no model, when it lacks a part, or when there are several.
    """
    if not folder.is_dir():
        raise ModelError(f"there is no model folder {folder}", "see what there is: audio2img models list")
    root = folder if _unets(folder) else _best_below(folder, preferred)
    parts = {part: path for part in COMPILED_NAMES if (path := _find_part(root, part)) is not None}
    if "unet" in parts:  # the halves are the same UNet again
        parts = {part: path for part, path in parts.items() if part not in UNET_CHUNKS}
    needed = ("text_encoder", "vae_decoder", *(() if "unet" in parts else UNET_CHUNKS))
    if missing := [part for part in needed if part not in parts]:
        raise ModelError(f"the folder {root} has no {missing[0].replace('_', ' ')}", REMEDY)
    return Layout(root, parts, _find_tokenizer(root, folder))


def attention_of(root: Path) -> Attention | None:
    """What the names of the folder and those above it say of the attention; None where they say nothing."""
    for name in (root.name, root.parent.name, root.parent.parent.name):
        if "split_einsum" in name or "split-einsum" in name:
            return "split_einsum"
        if "original" in name:
            return "original"
    return None


def _unets(folder: Path) -> list[Path]:
    names = ("Unet.mlmodelc", "UnetChunk1.mlmodelc", "Unet.mlpackage", "UnetChunk1.mlpackage")
    found = [folder / name for name in names if (folder / name).is_dir()]
    return [*found, *folder.glob("*_unet.mlpackage"), *folder.glob("*_unet_chunk1.mlpackage")]


def _folders_below(folder: Path, depth: int) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.suffix not in (".mlmodelc", ".mlpackage") and not path.name.startswith("."):
            yield path
            if depth > 1:
                yield from _folders_below(path, depth - 1)


def _best_below(folder: Path, preferred: Attention | None) -> Path:
    wanted = ".mlmodelc" if apple.is_here() else ".mlpackage"

    def rank(path: Path) -> tuple[bool, bool]:
        other_attention = preferred is not None and attention_of(path) not in (preferred, None)
        return other_attention, all(unet.suffix != wanted for unet in _unets(path))

    found = sorted((path for path in _folders_below(folder, SEARCH_DEPTH) if _unets(path)), key=rank)
    if not found:
        raise ModelError(f"the folder {folder} has no unet", REMEDY)
    best = [path for path in found if rank(path) == rank(found[0])]
    if len(best) > 1:
        names = ", ".join(path.relative_to(folder).as_posix() for path in best)
        raise ModelError(f"the folder {folder} has several models: {names}", "give the folder of one of them")
    return best[0]


def _find_part(root: Path, part: str) -> Path | None:
    name = COMPILED_NAMES[part]
    compiled = [path for path in [root / f"{name}.mlmodelc"] if path.is_dir()]
    packages = sorted({*root.glob(f"*_{part}.mlpackage"), *root.glob(f"{name}.mlpackage")})
    if len(packages) > 1:
        names = ", ".join(path.name for path in packages)
        raise ModelError(f"the folder {root} has several models: {names}", "put each in its own folder")
    candidates = compiled + packages if apple.is_here() else packages + compiled
    return candidates[0] if candidates else None


def _find_tokenizer(root: Path, folder: Path) -> Path:
    """Apple's folders of packages have no vocabulary; the compiled resources beside them do."""
    for place in (root, root / "tokenizer", root.parent / "compiled", root.parent, folder):
        if all((place / name).is_file() for name in TOKENIZER_FILES):
            return place
    missing = next(name for name in TOKENIZER_FILES if not (root / name).is_file())
    raise ModelError(f"the model in {root} has no {missing}", f"copy it there, or {REMEDY}")
