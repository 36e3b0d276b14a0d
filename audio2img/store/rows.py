"""What the catalogue says of a model, as plain values: rows, variants, mirrors, files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from audio2img.config import embedded_models_dir
from audio2img.machine import Platform

Kind = Literal["image", "speech", "vad", "sound"]
Format = Literal["coreml", "diffusers", "ggml", "tflite"]

EVERYWHERE: tuple[Platform, ...] = ("macos", "linux", "windows")
VARIANT_MARK = ":"  # between a model's name and a variant's: sd21-base-palettized:original


@dataclass(frozen=True)
class FileSpec:
    """A file of a model. size_bytes, sha256 (hex): None where nobody has recorded them yet."""

    path: str
    size_bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Mirror:
    """One place that has a model.

    hub, revision: a repository of a Hugging Face hub, and a commit of 40 hex digits or a branch.
    url: the address of the model's only file, or, with a slash at its end, of a folder with its files.
    """

    hub: str = ""
    revision: str = "main"
    url: str = ""

    def __str__(self) -> str:
        return self.url or f"{self.hub} at {self.revision[:10]}"


@dataclass(frozen=True)
class Variant:
    """One way in which a model comes. name: empty for the only one.

    files: those known by name; patterns: those of a hub repository to take besides (fnmatch).
    folder: where among the files the model itself is, "" for the top.
    about_bytes: roughly how much is downloaded, where `files` cannot tell.
    """

    name: str = ""
    files: tuple[FileSpec, ...] = ()
    patterns: tuple[str, ...] = ()
    folder: str = ""
    about_bytes: int = 0

    @property
    def download_bytes(self) -> int:
        """What is to be downloaded: exact where every file's size is known, else rough."""
        sizes = [file.size_bytes for file in self.files]
        if self.patterns or not sizes or None in sizes:
            return self.about_bytes
        return sum(size for size in sizes if size is not None)

    @property
    def is_archive(self) -> bool:
        return any(file.path.endswith(".zip") for file in self.files)


@dataclass(frozen=True)
class ModelRow:
    """One row of a catalogue.

    origin: the file that it was read from; None for ours. embedded: path inside the folder of embedded
    models, "" for others; embedded_diffusers: that of the same model in diffusers' form, "" where there is
    none. memory_bytes: what running it takes, roughly. unverified: revisions, sizes or hashes are missing
    or come from one source alone; `audio2img models verify --remote` asks the mirrors.
    vocabulary: "mini_world" for the models that know nothing else.
    min_probability: of a speech model, the mean token probability under which a segment is not speech.
    """

    name: str
    kind: Kind
    format: Format
    title: str
    purpose: str
    licence: str
    licence_url: str
    origin: Path | None = None
    aliases: tuple[str, ...] = ()
    platforms: tuple[Platform, ...] = EVERYWHERE
    memory_bytes: int = 0
    mirrors: tuple[Mirror, ...] = ()
    variants: tuple[Variant, ...] = ()
    embedded: str = ""
    embedded_diffusers: str = ""
    unverified: bool = False
    vocabulary: str = ""
    min_probability: float | None = None

    @property
    def embedded_path(self) -> Path | None:
        """Where an embedded model is; None for one that is downloaded."""
        return embedded_models_dir() / self.embedded if self.embedded else None

    @property
    def diffusers_path(self) -> Path | None:
        """Where an embedded model is in diffusers' form; None where it has none."""
        return embedded_models_dir() / self.embedded_diffusers if self.embedded_diffusers else None


@dataclass(frozen=True)
class Wanted:
    """A row together with the variant of it that is meant."""

    row: ModelRow
    variant: Variant

    @property
    def name(self) -> str:
        """As a person writes it: the row's name, and the variant's where there are several."""
        return f"{self.row.name}{VARIANT_MARK}{self.variant.name}" if self.variant.name else self.row.name

    @property
    def key(self) -> str:
        """The same as a file name."""
        return f"{self.row.name}--{self.variant.name}" if self.variant.name else self.row.name
