"""The models there are: what each is for, whether it is here and of use on this machine; and getting one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from audio2img.backends import KnownModel, choose_row, preferred_variant
from audio2img.errors import MachineError, UsageError
from audio2img.files import size_on_disk
from audio2img.machine import missing_packages, this_platform
from audio2img.store.catalog import default_name, find_wanted, load_catalog, names_here, preferred_of
from audio2img.store.defaults import why_too_large
from audio2img.store.receipts import Receipt, installed, installed_models
from audio2img.store.report import Reporter
from audio2img.store.rows import Kind, ModelRow, Wanted

if TYPE_CHECKING:
    from audio2img.pipeline.events import Event

TELL_EVERY_BYTES = 1 << 20


@dataclass(frozen=True)
class ModelInfo:
    """What there is to know of a model, or of one variant of it.

    name: as it is asked for, with the variant's where there are several; aliases: what else means it on
    this machine. kind: "image" draws, "speech" hears words, "vad" tells when somebody speaks, "sound" names
    sounds. purpose: what it is good for. default: taken on this machine when none of its kind is named.
    why_not: why this machine can do nothing with it, "" where it can.
    path: its file or folder; None where it is not here. embedded: it came with the package.
    size_bytes: on this machine, or to download, then perhaps roughly; memory_bytes: in use, roughly.
    licence_accepted: when (ISO 8601, UTC), "" for never. mirrors: where it is to be had; mirror: where it
    was had from. unverified: what the mirrors give was not compared with another source by us.
    vocabulary: "mini_world" for those that know nothing else. files: of which it consists, or those that
    are known before.
    """

    name: str
    aliases: tuple[str, ...]
    kind: Kind
    format: str
    title: str
    purpose: str
    installed: bool
    embedded: bool
    default: bool
    why_not: str
    path: Path | None
    size_bytes: int
    memory_bytes: int
    platforms: tuple[str, ...]
    licence: str
    licence_url: str
    licence_accepted: str
    mirrors: tuple[str, ...]
    mirror: str
    unverified: bool
    vocabulary: str
    files: tuple[str, ...]


def list_models(kind: Kind | None = None) -> tuple[ModelInfo, ...]:
    """Every model there is, the rows of your own models.toml first; of one kind, where it is given.

    Nothing is asked of the network. Raises UsageError for a kind that is none, and for a models.toml that
    has a fault.
    """
    kinds = get_args(Kind)
    if kind is not None and kind not in kinds:
        raise UsageError(f"there are no models of kind {kind!r}", f"choose from: {', '.join(kinds)}")
    rows = [row for row in load_catalog() if kind in (None, row.kind)]
    models = [Wanted(row, variant) for row in rows for variant in row.variants]
    here, names = installed_models(), names_here()
    return tuple(_describe(model, here.get(model.key), names) for model in models)


def get_model(
    name: str,
    *,
    accept_license: bool = False,
    anyway: bool = False,
    on_event: Callable[[Event], None] | None = None,
) -> Path:
    """The file or folder of the model of that name, which is downloaded if it is not here yet.

    name: one of `list_models()`, or an alias; of several variants the one that suits this machine is taken.
    accept_license: you have read the model's licence and accept it; is not asked for again where it was
    accepted before. anyway: even a model that needs more memory than there is.
    on_event: is told how far it is, in the stage "fetch"; what it raises ends the download.

    What was interrupted goes on where it stopped, with the next call. Raises ModelError for an unknown name,
    with the network off, and where no mirror has it; UsageError for a licence that is not accepted and a
    models.toml that has a fault; MachineError where memory is too little or the disk is full.
    """
    from audio2img.store.get import check_gettable
    from audio2img.store.get import get_model as download
    from audio2img.store.licences import accept, accepted_before

    model = find_wanted(name, preferred_variant())
    here = _path_of(model, installed(model.key))
    if here is not None:
        return here
    check_gettable(model)
    too_large = why_too_large(model.row)
    if too_large and not anyway:
        raise MachineError(too_large, "take a smaller model, or get it all the same with `anyway=True`")
    licence = accepted_before(model)
    if licence is None and not accept_license:
        terms = f"{model.row.licence}, {model.row.licence_url}"
        raise UsageError(
            f"the licence of {model.name} must be accepted first: {terms}",
            "read it, then pass `accept_license=True`",
        )
    licence = licence or accept(model, "accept_license=True")
    try:
        return Path(download(model, licence, _Teller(on_event) if on_event else Reporter()).model_path)
    except _ListenerError as ended:
        raise ended.error from None


def describe_model(model: Wanted) -> ModelInfo:
    """What there is to know of one model. Nothing is asked of the network."""
    return _describe(model, installed(model.key), names_here())


def _describe(model: Wanted, receipt: Receipt | None, names: Mapping[str, ModelRow]) -> ModelInfo:
    """names: see catalog.names_here."""
    row, variant = model.row, model.variant
    path = _path_of(model, receipt)
    size = receipt.size_bytes if receipt else size_on_disk(path) if path else variant.download_bytes
    return ModelInfo(
        name=model.name,
        aliases=tuple(alias for alias in row.aliases if names[alias].name == row.name),
        kind=row.kind,
        format=row.format,
        title=row.title,
        purpose=row.purpose,
        installed=path is not None,
        embedded=bool(row.embedded),
        default=preferred_of(names[default_name(row.kind)], preferred_variant()).key == model.key,
        why_not=_why_not(model, path),
        path=path,
        size_bytes=size,
        memory_bytes=row.memory_bytes,
        platforms=row.platforms,
        licence=row.licence,
        licence_url=row.licence_url,
        licence_accepted=receipt.licence.accepted if receipt else "",
        mirrors=tuple(map(str, row.mirrors)),
        mirror=receipt.mirror if receipt else "",
        unverified=row.unverified,
        vocabulary=row.vocabulary,
        files=tuple(file.path for file in (receipt.files if receipt else variant.files)),
    )


def _path_of(model: Wanted, receipt: Receipt | None) -> Path | None:
    embedded = model.row.embedded_path
    if embedded is not None:
        return embedded if embedded.exists() else None
    return Path(receipt.model_path) if receipt else None


def _why_not(model: Wanted, path: Path | None) -> str:
    """Of what the machine lacks, the first thing: a system, a package, memory."""
    row = model.row
    if row.kind == "image":
        try:
            choose_row(KnownModel(model.name, row.format, path, row.diffusers_path))
        except MachineError as error:
            return error.message
    if this_platform() not in row.platforms:
        return f"{model.name} is for {' and '.join(row.platforms)} only"
    if row.kind == "sound":
        from audio2img.installation import EXTRAS

        if missing_packages(EXTRAS["sounds"]):
            return f"{model.name} needs the extra sounds, which is not installed"
    return why_too_large(row)


class _ListenerError(Exception):
    """What a caller's callback raised: no failure of the network or the disk, whatever its class."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class _Teller(Reporter):
    """A download as events: over all files of it, and no more often than somebody can read."""

    def __init__(self, on_event: Callable[[Event], None]) -> None:
        self._on_event = on_event
        self._done: dict[str, int] = {}
        self._total: int | None = None
        self._told = 0

    def say(self, text: str) -> None:
        self._tell(None, text)

    def begin(self, files: Sequence[tuple[str, int | None]]) -> None:
        sizes = [size for _, size in files if size is not None]
        self._total = sum(sizes) if len(sizes) == len(files) else None
        self._done, self._told = {}, 0

    def advance(self, path: str, done_bytes: int, total_bytes: int | None) -> None:
        self._done[path] = done_bytes
        done = sum(self._done.values())
        if done_bytes == total_bytes or done - self._told >= TELL_EVERY_BYTES:
            self._told = done
            self._tell(min(1.0, done / self._total) if self._total else None, path)

    def _tell(self, done: float | None, text: str) -> None:
        from audio2img.pipeline.events import Event

        try:
            self._on_event(Event("fetch", done, text))
        except Exception as error:
            raise _ListenerError(error) from error
