"""Core ML's row in the table of backends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audio2img.backends.table import BackendRow, ImageModel
from audio2img.errors import Audio2ImgError, MachineError, UsageError
from audio2img.store.defaults import CORE_ML_IMAGE, EMBEDDED_IMAGE

if TYPE_CHECKING:
    from audio2img.backends.protocol import CancelCheck, DrawingWishes, ImageBackend

FORMAT = "coreml"
DIFFUSERS_INDEX = "model_index.json"  # what no folder of Core ML models has


def can_draw(model: ImageModel) -> Audio2ImgError | None:
    """See BackendRow. A folder that is known by its path is taken, unless it is one of diffusers'."""
    path = model.path
    if model.format == FORMAT:
        return None if path is not None else _why_not_fetched(model)
    if not model.format and path is not None and path.is_dir() and not (path / DIFFUSERS_INDEX).is_file():
        return None
    return UsageError(
        f"{model.name} is no Core ML model, which is all that the backend coreml draws with",
        "leave `backend` out, or take another model, such as `model=sd21-base-palettized`",
    )


def _why_not_fetched(model: ImageModel) -> Audio2ImgError | None:
    """What is fetched is far too large for the evaluator that draws away from macOS."""
    from audio2img.backends.coreml import apple

    if apple.is_here():
        return None
    return MachineError(
        f"{model.name} is a Core ML model of full size, which only macOS can draw",
        "take a model in diffusers' form, such as `model=sd21-base-diffusers`",
    )


def load(model: ImageModel, wishes: DrawingWishes, cancelled: CancelCheck | None) -> ImageBackend:
    """See BackendRow."""
    from audio2img.backends.coreml.backend import CoreMLBackend

    assert model.path is not None, "a Core ML model has a folder"
    return CoreMLBackend.load(model.path, model.name, wishes.compute_units, wishes.low_memory, cancelled)


def default_model() -> str:
    """Away from macOS only small models are drawn, such as the embedded one."""
    from audio2img.backends.coreml import apple

    return CORE_ML_IMAGE if apple.is_here() else EMBEDDED_IMAGE


def preferred_variant() -> str | None:
    from audio2img.backends.coreml.units import preferred_attention

    return preferred_attention()


ROW = BackendRow(
    name="coreml",
    recorded=("coreml", "reference"),
    honours=("compute_units", "low_memory"),
    compute_units=("ALL", "CPU_AND_GPU", "CPU_AND_NE", "CPU_ONLY"),
    can_draw=can_draw,
    load=load,
    default_model=default_model,
    preferred_variant=preferred_variant,
)
