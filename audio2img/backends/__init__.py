"""Who draws: a table of backends, of which one is chosen for a model.

A new backend is a room with its row (see `table.BackendRow`), and its name in ROWS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from audio2img.backends.coreml.row import ROW as COREML
from audio2img.backends.table import BackendRow, ImageModel, KnownModel
from audio2img.backends.torch.row import ROW as TORCH
from audio2img.errors import Audio2ImgError, MachineError, UsageError
from audio2img.names import did_you_mean
from audio2img.store.catalog import default_name

if TYPE_CHECKING:
    from audio2img.backends.protocol import CancelCheck, DrawingWishes, ImageBackend

__all__ = [
    "AUTO",
    "ROWS",
    "BackendRow",
    "ImageModel",
    "KnownModel",
    "check_backend_name",
    "check_compute_units",
    "choose_row",
    "default_image_model",
    "load_backend",
    "name_of_recorded",
    "preferred_variant",
]

ROWS: tuple[BackendRow, ...] = (COREML, TORCH)
"""The first that can draw a model does."""

AUTO = "auto"


def check_backend_name(name: str) -> None:
    """Raises UsageError, with the choices, for what is neither "auto" nor the name of a row."""
    names = [AUTO, *(row.name for row in ROWS)]
    if name not in names:
        raise UsageError(
            f"there is no backend called {name!r}",
            f"{did_you_mean(name, names)}choose from: {', '.join(names)}",
            setting="backend",
        )


def check_compute_units(name: str) -> None:
    """Raises UsageError, with the choices, for what no row can be asked to draw on."""
    known = [unit for row in ROWS for unit in row.compute_units]
    if name not in known:
        raise UsageError(
            f"no backend can be asked to draw on {name!r}",
            f"{did_you_mean(name, known)}choose from: {', '.join(known)}",
        )


def choose_row(model: ImageModel, asked: str = AUTO) -> BackendRow:
    """The row that draws `model`: the one that is asked for, or the first that can.

    Raises UsageError where the model does not go with the backend that is asked for, MachineError where
    this machine lacks something, or where nothing draws with such a model.
    """
    check_backend_name(asked)
    reasons: list[Audio2ImgError] = []
    for row in ROWS:
        if asked in (AUTO, row.name):
            reason = row.can_draw(model)
            if reason is None:
                return row
            reasons.append(reason)
    if asked != AUTO:
        raise reasons[0]
    # What only this machine lacks says more than that the model is for another backend.
    lacking = next((reason for reason in reasons if isinstance(reason, MachineError)), None)
    raise lacking or MachineError(
        f"{model.name} is a {model.format} model, which draws nothing", "see: audio2img models list"
    )


def load_backend(
    model: ImageModel, wishes: DrawingWishes, cancelled: CancelCheck | None = None
) -> ImageBackend:
    """The model, loaded by the backend that draws with it. cancelled: asked meanwhile, where it can be.

    Raises ModelError for a damaged model, MachineError where this machine lacks something, UsageError
    for wishes that do not go together, CancelledError.
    """
    import logging

    row = choose_row(model, wishes.backend)
    logger = logging.getLogger(__name__)
    for name in [
        name for name in wishes.given if _does_not_fit(row, name, wishes) and name in wishes.general
    ]:
        logger.warning(
            "%s = %r is left out: the backend %s, which draws %s, knows none such (set by %s)",
            name, getattr(wishes, name), row.name, model.name, wishes.general[name],
        )  # fmt: skip
        wishes = wishes.without([name])
    for name in wishes.given:
        if name not in row.honours:
            others = [other for other in ROWS if name in other.honours and other.can_draw(model) is None]
            raise UsageError(
                f"the backend {row.name}, which draws {model.name}, knows no {name.replace('_', ' ')}",
                f"choose `backend={others[0].name}`, or leave it out" if others else "leave it out",
                setting=name,
            )
    return row.load(model, wishes, cancelled)


def _does_not_fit(row: BackendRow, name: str, wishes: DrawingWishes) -> bool:
    if name == "compute_units" and wishes.compute_units not in row.compute_units:
        return True
    return name not in row.honours


def name_of_recorded(recorded: str) -> str:
    """The row whose pictures remember `recorded` as their backend; "auto" for a name nobody knows."""
    return next((row.name for row in ROWS if recorded in row.recorded), AUTO)


def default_image_model(asked: str = AUTO) -> str:
    """The name of the model that draws when none is named: with the backend that is asked for, if one is."""
    check_backend_name(asked)
    named = next((row for row in ROWS if row.name == asked), None)
    return default_name("image") if named is None else named.default_model()


def preferred_variant() -> str | None:
    """Of a model that comes in several variants, the one that suits this machine; None: any."""
    return next((variant for row in ROWS if (variant := row.preferred_variant())), None)
