"""The folders of a compression: the source with its parts, the work folder, the destination."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from audio2img.backends.coreml.layout import COMPILED_NAMES, TOKENIZER_FILES, find_layout
from audio2img.backends.coreml.settings import MAX_SIDECAR_BYTES, SIDECAR_NAME
from audio2img.diffusion.hashing import hash_files
from audio2img.errors import MachineError, ModelError, UsageError, reason_of
from audio2img.files import read_bounded, sync_file, sync_folder
from audio2img.foreign_json import parse_json

REPORT_FOLDER = "compression"
"""In a compressed model: the report, its pictures and the recipe."""

SPARE_BYTES = 64 << 20


def find_packages(source: Path) -> dict[str, Path]:
    """Part -> package, of the folder `source`. Raises ModelError if there is none."""
    packages = {part_name(path): path for path in sorted(source.glob("*.mlpackage")) if path.is_dir()}
    if not packages:
        has_compiled = any(source.glob("*.mlmodelc"))
        remedy = (
            "get or convert the model as packages (.mlpackage)" if has_compiled else "give a model's folder"
        )
        kind = " but compiled models, which cannot be compressed" if has_compiled else ""
        raise ModelError(f"there are no packages in {source}{kind}", remedy)
    return packages


def find_root(folder: Path) -> Path:
    """The folder of the packages: `folder`, or the one below it. Raises ModelError if there is no model."""
    if folder.is_dir() and any(folder.glob("*.mlpackage")):
        return folder
    root = find_layout(folder).root
    beside = root.parent / "packages"  # Apple's repositories have them beside `compiled`
    return beside if any(beside.glob("*.mlpackage")) else root


def part_name(package: Path) -> str:
    """unet for Stable_Diffusion_version_x_unet.mlpackage and Unet.mlpackage; else the file's name."""
    stem = package.stem.lower()
    for part, compiled in COMPILED_NAMES.items():
        for ending in (part, compiled.lower()):
            if stem == ending or stem.endswith("_" + ending):
                return part
    return package.stem


def check_destination(source: Path, dest: Path) -> None:
    """Raises UsageError unless `dest` is a free name outside of `source`."""
    if dest.exists() or dest.is_symlink():
        raise UsageError(f"{dest} is there already", "give a name that is free")
    resolved, inside = dest.resolve(), source.resolve()
    if resolved == inside or inside in resolved.parents:
        raise UsageError(f"{dest} lies within the model it is made from", "choose another place")
    if not dest.parent.is_dir():
        raise UsageError(f"there is no folder {dest.parent}", f"make it: mkdir -p {dest.parent}")


def work_folder(dest: Path, key: str) -> Path:
    """Where unfinished work for `dest` is kept."""
    return dest.parent / f".{dest.name}.compress-{key}"


def find_work(dest: Path) -> list[Path]:
    """All unfinished work for `dest`."""
    start = work_folder(dest, "").name
    return [path for path in dest.parent.iterdir() if path.name.startswith(start) and path.is_dir()]


def check_space(folder: Path, needed_bytes: int) -> None:
    """Raises MachineError if the disk of `folder` has not room for `needed_bytes` and a little more."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes + SPARE_BYTES:
        missing = (needed_bytes + SPARE_BYTES - free) / 1e6
        raise MachineError(
            f"the disk of {folder} has {free / 1e6:.0f} MB free, {needed_bytes / 1e6:.0f} MB are needed",
            f"free {missing:.0f} MB there, or choose another place",
        )


def hash_folder(folder: Path) -> str:
    """SHA-256 (hex) over the files that a compressed copy is made from, by name."""
    digest = hashlib.sha256()
    for path in iter_files(folder):
        digest.update(f"{path.relative_to(folder).as_posix()} {hash_files(path)}\n".encode())
    return digest.hexdigest()


def iter_files(folder: Path) -> Iterator[Path]:
    """Every file but hidden ones, compiled models and an earlier report, in the order of their names."""
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        parts = path.relative_to(folder).parts
        is_left_out = parts[0].endswith(".mlmodelc") or parts[0] == REPORT_FOLDER
        if path.is_file() and not is_left_out and not any(part.startswith(".") for part in parts):
            yield path


def copy_others(source: Path, dest: Path, rewritten: set[str]) -> None:
    """Copy what is in `source` but the packages named in `rewritten`; the vocabulary from where it is."""
    for path in iter_files(source):
        relative = path.relative_to(source)
        if relative.parts[0] not in rewritten:
            target = dest / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    if not all((dest / name).is_file() for name in TOKENIZER_FILES):
        with contextlib.suppress(ModelError):  # parts alone need none
            tokenizer = find_layout(source).tokenizer
            for name in TOKENIZER_FILES:
                shutil.copyfile(tokenizer / name, dest / name)


def add_to_sidecar(folder: Path, entry: dict[str, object]) -> None:
    """Write `entry` as "compression" into the sidecar in `folder`, which is made where missing."""
    path = folder / SIDECAR_NAME
    content: dict[str, object] = {"format": 1}
    if path.is_file():
        try:
            content = parse_json(read_bounded(path, MAX_SIDECAR_BYTES))
            if not isinstance(content, dict):
                raise ValueError("it is no table")
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{path} is damaged: {reason_of(error)}", "get or convert the model again"
            ) from error
    content["compression"] = entry
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def sync_all(folder: Path) -> None:
    """Make everything under `folder` outlive a power cut, as far as the system can. Raises OSError."""
    for path in [*folder.rglob("*"), folder]:
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("r+b") as file:
                sync_file(file.fileno())
