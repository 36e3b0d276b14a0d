"""The row of torch and diffusers in the table of backends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from audio2img.backends.table import BackendRow, ImageModel
from audio2img.errors import Audio2ImgError, MachineError, UsageError
from audio2img.store.defaults import DIFFUSERS_IMAGE, this_machine

if TYPE_CHECKING:
    from audio2img.backends.protocol import CancelCheck, DrawingWishes, ImageBackend

FORMAT = "diffusers"


def can_draw(model: ImageModel) -> Audio2ImgError | None:
    """See BackendRow."""
    if not _is_ours(model):
        return UsageError(
            f"{model.name} is no diffusers model, which is all that the backend diffusers draws with",
            "leave `backend` out, or take another model, such as `model=sd21-base-diffusers`",
        )
    if not this_machine().has_diffusers:
        return MachineError(
            f"{model.name} is drawn with torch and diffusers, which are not installed",
            _how_to_install,
        )
    return None


def _how_to_install() -> str:
    from audio2img.installation import how_to_add

    return how_to_add("diffusers")


def load(model: ImageModel, wishes: DrawingWishes, cancelled: CancelCheck | None) -> ImageBackend:
    """See BackendRow. torch asks before each part of a folder; a single file is loaded in one go."""
    from audio2img.backends.torch.backend import DiffusersBackend
    from audio2img.backends.torch.plan import PlanWishes

    path = _path_of(model)
    assert path is not None, "a diffusers model has a folder or a file"
    plan = PlanWishes(wishes.compute_units, wishes.precision, wishes.low_memory, wishes.compile)
    return DiffusersBackend.load(path, model.name, plan, wishes.loras, cancelled)


def _path_of(model: ImageModel) -> Path | None:
    return model.path if model.format in ("", FORMAT) else model.diffusers_path


def _is_ours(model: ImageModel) -> bool:
    if model.format:
        return model.format == FORMAT or model.diffusers_path is not None
    from audio2img.backends.torch.folder import looks_like_ours

    return model.path is not None and (model.path.is_file() or looks_like_ours(model.path))


ROW = BackendRow(
    name="diffusers",
    recorded=("diffusers",),
    compute_units=("cuda", "mps", "cpu"),
    honours=("compute_units", "low_memory", "precision", "compile", "loras"),
    can_draw=can_draw,
    load=load,
    default_model=lambda: DIFFUSERS_IMAGE,
)
