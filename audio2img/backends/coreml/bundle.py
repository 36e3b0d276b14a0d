"""An image model as a folder of Core ML parts, found, read and checked; nothing is loaded for running yet."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from audio2img.backends.coreml.contract import Contract, Part, check_contract
from audio2img.backends.coreml.layout import TOKENIZER_FILES, Attention, attention_of, find_layout
from audio2img.backends.coreml.settings import SIDECAR_NAME, BundleSettings, read_settings
from audio2img.diffusion import ModelDefaults
from audio2img.diffusion.hashing import hash_files
from audio2img.mlprogram.mlmodelc import read_compiled_description
from audio2img.mlprogram.mlpackage import Description, read_description


@dataclass(frozen=True)
class Bundle:
    """A model whose parts are all here and fit together.

    folder: where its parts are; tokenizer_folder: where vocab.json and merges.txt are.
    """

    folder: Path
    tokenizer_folder: Path
    parts: Mapping[str, Part]
    contract: Contract
    settings: BundleSettings

    @property
    def attention(self) -> Attention | None:
        return attention_of(self.folder.resolve())

    @property
    def defaults(self) -> ModelDefaults:
        return self.settings.facts.defaults

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) over the hashes of the parts and of the files beside them, by name."""
        digest = hashlib.sha256()
        for name in sorted(self.parts):
            digest.update(f"{name} {hash_files(self.parts[name].path)}\n".encode())
        beside = [self.tokenizer_folder / name for name in TOKENIZER_FILES] + [self.folder / SIDECAR_NAME]
        for path in filter(Path.is_file, beside):
            digest.update(f"{path.name} {hash_files(path)}\n".encode())
        return digest.hexdigest()


def load_bundle(folder: Path, name: str | None = None, preferred: Attention | None = None) -> Bundle:
    """The bundle in `folder`, found, read and checked.

    name: what to call the model; None takes the sidecar's or the folder's name.
    preferred: see layout.find_layout.
    Raises ModelError, with the part's name, if one is missing, damaged, or not as the others need it.
    """
    layout = find_layout(folder, preferred)
    parts = {part: Part(part, path, _describe(path)) for part, path in layout.parts.items()}
    contract = check_contract(parts)
    settings = read_settings(layout.root, contract, layout.tokenizer)
    if name is not None:
        settings = replace(settings, name=name)
    return Bundle(layout.root, layout.tokenizer, parts, contract, settings)


def _describe(path: Path) -> Description:
    return read_description(path) if path.suffix == ".mlpackage" else read_compiled_description(path)
