"""The table of models, ours and the person's own: found by name, and where they are on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from audio2img.config import config_dir, expand_path
from audio2img.errors import ModelError, UsageError
from audio2img.names import did_you_mean, nearest_names
from audio2img.store.defaults import this_machine
from audio2img.store.our_models import OUR_MODELS
from audio2img.store.receipts import installed
from audio2img.store.rows import VARIANT_MARK, Kind, ModelRow, Variant, Wanted

OPTIONS: dict[Kind, str] = {
    "image": "give it as `model`",
    "speech": "give it as `speech_model`",
    "vad": "it tells speech from silence; give it as vad_model in settings.toml",
    "sound": "it names sounds; give it as `sound_model`",
}
EMBEDDED: dict[str, str] = {"image": "`model=mini`", "speech": "`speech_model=mini-whisper`"}


@dataclass(frozen=True)
class ResolvedModel:
    """A model on this machine: its name for people and the file or folder that holds it.

    format: of `rows.Format`; "" where only a path is known. diffusers_path: the same model in diffusers'
    form, of the embedded ones.
    """

    name: str
    kind: Kind
    path: Path
    vocabulary: str = ""
    min_probability: float | None = None
    format: str = ""
    diffusers_path: Path | None = None


def own_catalog() -> Path:
    """The file with the person's own rows; it need not exist."""
    return config_dir() / "models.toml"


def load_catalog() -> tuple[ModelRow, ...]:
    """Every known model, the person's own first, so that they can replace one of ours.

    Raises UsageError that names the file and the row when something is wrong with it.
    """
    if not own_catalog().exists():
        return OUR_MODELS
    from audio2img.store.parse import read_rows

    own = read_rows(own_catalog())
    check_unique(own)
    names = {name for row in own for name in (row.name, *row.aliases)}
    return own + tuple(row for row in OUR_MODELS if row.name not in names)


def check_unique(rows: tuple[ModelRow, ...]) -> None:
    """Names are unique; an alias may stand for one model on some systems and for another elsewhere.

    Raises UsageError.
    """
    owners: dict[str, ModelRow] = {}
    for row in rows:
        for name in (row.name, *row.aliases):
            other = owners.get(name)
            is_alias = other is not None and name not in (row.name, other.name)
            if other is not None and not (is_alias and other.platforms != row.platforms):
                raise UsageError(
                    f"{row.origin}: the model {row.name}: the name {name} occurs twice",
                    "every name must be unique",
                )
            owners[name] = row


def find_row(name: str, kind: Kind | None = None) -> ModelRow:
    """The row of that name or alias; where several share an alias, the one for this system.

    kind: what is looked for, for the choices. Raises ModelError listing them.
    """
    return _find_rows(name, kind)[0]


def _find_rows(name: str, kind: Kind | None = None) -> list[ModelRow]:
    """The rows of that name or alias, those for this system first."""
    rows = load_catalog()
    found = [row for row in rows if name == row.name or name in row.aliases]
    if not found:
        here = f"; the file or folder here is ./{name}" if os.path.exists(name) else ""
        raise ModelError(
            f"there is no model called {name!r}",
            f"{_choices(name, rows, kind)}; or give a path{here}",
        )
    return _those_for_this_system_first(found)


def names_here() -> dict[str, ModelRow]:
    """Every name and alias, and the row that it means on this machine."""
    found: dict[str, ModelRow] = {}
    for row in _those_for_this_system_first(load_catalog()):
        for name in (row.name, *row.aliases):
            found.setdefault(name, row)
    return found


def _those_for_this_system_first(rows: Iterable[ModelRow]) -> list[ModelRow]:
    return sorted(rows, key=lambda row: this_machine().platform not in row.platforms)


def _choices(name: str, rows: tuple[ModelRow, ...], kind: Kind | None) -> str:
    """What may have been meant, then the embedded ones of that kind, which always work.

    kind: where none is asked for, it is that of the likeliest name.
    """
    kinds = {one: row.kind for row in rows if kind in (None, row.kind) for one in (*row.aliases, row.name)}
    near = nearest_names(name, kinds, 1)
    meant = kinds[near[0]] if near else kind
    rows = tuple(row for row in rows if meant in (None, row.kind))
    shown = [row.name for row in rows if row.embedded] or [row.name for row in rows[:3]]
    left = f" and {len(rows) - len(shown)} more" if len(rows) > len(shown) else ""
    guess = did_you_mean(name, [one for one, its_kind in kinds.items() if its_kind == meant])
    return f"{guess}known models: {', '.join(shown)}{left}"


def find_wanted(name: str, preferred: str | None = None) -> Wanted:
    """What `name` or `name:variant` means. preferred: the variant to take where none is named.

    Raises ModelError listing the choices.
    """
    row, variant = split_name(name)
    return Wanted(row, variant) if variant else preferred_of(row, preferred)


def preferred_of(row: ModelRow, preferred: str | None) -> Wanted:
    """The variant to take where none is named: that called `preferred`, or the first."""
    return Wanted(row, next((one for one in row.variants if one.name == preferred), row.variants[0]))


def split_name(name: str, kind: Kind | None = None) -> tuple[ModelRow, Variant | None]:
    """The row that `name` or `name:variant` means, and the variant if it names one. kind: see find_row."""
    plain, _, variant_name = name.partition(VARIANT_MARK)
    rows = _find_rows(plain, kind)
    if not variant_name:
        return rows[0], None
    for row in rows:
        for variant in row.variants:
            if variant.name == variant_name:
                return row, variant
    names = ", ".join(
        f"{row.name}{VARIANT_MARK}{one.name}" for row in rows for one in row.variants if one.name
    )
    remedy = f"choose from: {names}" if names else f"there is only {rows[0].name} itself"
    raise ModelError(f"{rows[0].name} has no variant {variant_name!r}", remedy)


def default_name(kind: Kind) -> str:
    """The model of a kind that is taken when none is named, on this machine."""
    return this_machine().defaults[kind]


def find_missing(name_or_path: str | None, kind: Kind, preferred: str | None = None) -> Wanted | None:
    """What would have to be downloaded before `resolve_model` finds it; None where nothing would.

    Raises ModelError for unknown names, and for models of another kind.
    """
    asked = name_or_path or default_name(kind)
    if looks_like_path(asked):
        return None
    row = _row_of_kind(asked, kind)
    if row.embedded or _find_installed(asked, preferred) is not None:
        return None
    return find_wanted(asked, preferred)


def resolve_model(name_or_path: str | None, kind: Kind, preferred: str | None = None) -> ResolvedModel:
    """The model of that name or at that path; None means this machine's default of its kind.

    preferred: the variant that suits the machine, where a model has several. Raises ModelError when it
    is unknown, not installed, or of another kind.
    """
    asked = name_or_path or default_name(kind)
    if looks_like_path(asked):
        path = expand_path(asked)
        if not path.exists():
            raise ModelError(f"no {kind} model at {path}", "check the path, or run: audio2img models list")
        return ResolvedModel(path.stem if path.is_file() else path.resolve().name, kind, path)
    row = _row_of_kind(asked, kind)
    path_and_name = _find_installed(asked, preferred)
    if path_and_name is None:
        raise _not_installed(asked, kind, is_default=name_or_path is None, preferred=preferred)
    path, name = path_and_name
    return ResolvedModel(
        name, kind, path, row.vocabulary, row.min_probability, row.format, row.diffusers_path
    )


def _row_of_kind(name: str, kind: Kind) -> ModelRow:
    row, _ = split_name(name, kind)
    if row.kind != kind:
        article = "an" if row.kind == "image" else "a"
        raise ModelError(f"{name} is {article} {row.kind} model, not a model for {kind}", OPTIONS[row.kind])
    return row


def _find_installed(name: str, preferred: str | None) -> tuple[Path, str] | None:
    """Path and full name of a model on this machine; of several variants the preferred one first."""
    row, variant = split_name(name)
    if row.embedded_path is not None:
        return (row.embedded_path, row.name) if row.embedded_path.exists() else None
    variants = [variant] if variant else sorted(row.variants, key=lambda one: one.name != preferred)
    for one in variants:
        wanted = Wanted(row, one)
        if receipt := installed(wanted.key):
            return Path(receipt.model_path), wanted.name
    return None


def _not_installed(name: str, kind: Kind, is_default: bool, preferred: str | None) -> ModelError:
    wanted = find_wanted(name, preferred)
    if wanted.row.embedded:
        return ModelError(
            f"the files of {name} are missing: {wanted.row.embedded_path}", "reinstall audio2img"
        )
    size = f"{wanted.variant.download_bytes / 1e6:,.0f} MB to download"
    if not is_default or kind not in EMBEDDED:
        return ModelError(f"{name} is not on this machine ({size})", f"run: audio2img models get {name}")
    return ModelError(
        f"the {kind} model {name} is not on this machine ({size})",
        f"run: audio2img models get default; or try the embedded one: {EMBEDDED[kind]}",
    )


def looks_like_path(text: str) -> bool:
    """A path has a separator, or begins with ~ or a point; what else there is in the folder is a name."""
    return any(mark in text for mark in ("/", "\\")) or text.startswith(("~", "."))
