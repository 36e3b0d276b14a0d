"""The row of the table by which a backend is found: what it is called, and what it can draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from audio2img.backends.protocol import CancelCheck, DrawingWishes, ImageBackend
    from audio2img.errors import Audio2ImgError


class ImageModel(Protocol):
    """A model as a row looks at it, on this machine or still to be fetched.

    format: as the catalogue has it; "" for a model that is known by its path alone. path: its file or
    folder; None where it has none, or is not here yet. diffusers_path: the same model in that form.
    """

    @property
    def name(self) -> str: ...

    @property
    def format(self) -> str: ...

    @property
    def path(self) -> Path | None: ...

    @property
    def diffusers_path(self) -> Path | None: ...


@dataclass(frozen=True)
class KnownModel:
    """What is known of a model before it is here: an ImageModel."""

    name: str
    format: str
    path: Path | None = None
    diffusers_path: Path | None = None


@dataclass(frozen=True)
class BackendRow:
    """A backend in the table.

    name: as a person asks for it. recorded: the names by which its pictures remember it. honours: fields
    of DrawingWishes that it heeds; others are refused. compute_units: what it can be asked to draw on.
    default_model: the name of the model that it draws with when none is named.
    preferred_variant: of a model that comes in
    several, the one that suits this machine; None where it does not matter.
    can_draw: None for a model that it draws on this machine; else why not, as the error to raise: a
    MachineError where only this machine lacks something, a UsageError where it is a model for others.
    load: raises ModelError for a damaged model, MachineError where this machine lacks something,
    CancelledError when its last argument, where it can be asked meanwhile, says so.
    """

    name: str
    recorded: tuple[str, ...]
    honours: tuple[str, ...]
    compute_units: tuple[str, ...]
    can_draw: Callable[[ImageModel], Audio2ImgError | None]
    load: Callable[[ImageModel, DrawingWishes, CancelCheck | None], ImageBackend]
    default_model: Callable[[], str]
    preferred_variant: Callable[[], str | None] = lambda: None
