"""The table of models: one row each, validated on load, found by name or given as a path."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

from audio2img.config import embedded_models_dir, read_toml
from audio2img.errors import ModelError, UsageError

Kind = Literal["image", "speech"]

DEFAULTS: dict[Kind, str] = {"image": "mini", "speech": "mini-whisper"}


@dataclass(frozen=True)
class ModelRow:
    """One row of catalog.toml.

    embedded: path inside the folder of embedded models.
    vocabulary: "mini_world" for the models that know nothing else.
    min_probability: of a speech model, the mean token probability under which a segment is not speech.
    """

    name: str
    kind: Kind
    title: str
    purpose: str
    licence: str
    embedded: str
    vocabulary: str = ""
    min_probability: float | None = None

    @property
    def path(self) -> Path:
        return embedded_models_dir() / self.embedded


@dataclass(frozen=True)
class ResolvedModel:
    """A model on this machine: its name for people and the file or folder that holds it."""

    name: str
    kind: Kind
    path: Path
    vocabulary: str = ""
    min_probability: float | None = None


@lru_cache(maxsize=1)
def load_catalog() -> tuple[ModelRow, ...]:
    """Every known model. Raises UsageError when a row lacks a field or has one we do not know."""
    path = Path(__file__).with_name("catalog.toml")
    rows = tuple(_parse_row(row, path) for row in read_toml(path)["model"])
    names = [row.name for row in rows]
    if len(set(names)) != len(names):
        raise UsageError(f"{path}: a model name occurs twice", "every name must be unique")
    return rows


def _parse_row(row: dict[str, Any], path: Path) -> ModelRow:
    known = {field.name for field in fields(ModelRow)}
    name = row.get("name", "(a row without name)")
    if unknown := set(row) - known:
        raise UsageError(f"{path}: {name} has unknown fields: {', '.join(sorted(unknown))}")
    if missing := known - {"vocabulary", "min_probability"} - set(row):
        raise UsageError(f"{path}: {name} lacks: {', '.join(sorted(missing))}")
    if row["kind"] not in get_args(Kind):
        raise UsageError(f"{path}: {name} is of unknown kind {row['kind']!r}")
    return ModelRow(**row)


def find_row(name: str) -> ModelRow:
    """The row called `name`. Raises ModelError listing the choices."""
    for row in load_catalog():
        if row.name == name:
            return row
    choices = ", ".join(row.name for row in load_catalog())
    raise ModelError(f"there is no model called {name!r}", f"known models: {choices}; or give a path")


def resolve_model(name_or_path: str | None, kind: Kind) -> ResolvedModel:
    """The model of that name or at that path (None: the default of its kind).

    Raises ModelError when it is unknown, absent, or of the other kind.
    """
    asked = name_or_path or DEFAULTS[kind]
    if _looks_like_path(asked):
        path = Path(asked).expanduser()
        if not path.exists():
            raise ModelError(f"no {kind} model at {path}", "check the path, or run: audio2img models list")
        return ResolvedModel(path.stem if path.is_file() else path.resolve().name, kind, path)
    row = find_row(asked)
    if row.kind != kind:
        option = {"image": "--model", "speech": "--speech-model"}[row.kind]
        raise ModelError(f"{asked} is a {row.kind} model, not a model for {kind}", f"give it with {option}")
    if not row.path.exists():
        raise ModelError(f"the files of {asked} are missing: {row.path}", "reinstall audio2img")
    return ResolvedModel(row.name, kind, row.path, row.vocabulary, row.min_probability)


def _looks_like_path(text: str) -> bool:
    return any(mark in text for mark in ("/", "\\")) or text.startswith("~") or Path(text).exists()
