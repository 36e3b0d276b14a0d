"""The first time: a command whose models are not here yet offers to get them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from audio2img.errors import ModelError, about_setting

if TYPE_CHECKING:
    from audio2img.pipeline.wishes import Wishes
    from audio2img.store.rows import Kind, Wanted

SETTINGS: dict[Kind, str] = {"image": "model", "speech": "speech_model", "sound": "sound_model"}


def ensure_models(wishes: Wishes, quiet: bool, kinds: Sequence[Kind]) -> None:
    """See to it that the models the command is going to use are on this machine.

    Asks when a person is here. Raises ModelError, with the command that gets them,
    when nobody is, when the network is off, or for a name that nobody knows.
    """
    from audio2img.backends import AUTO, KnownModel, choose_row, default_image_model, preferred_variant
    from audio2img.store.catalog import find_missing
    from audio2img.store.defaults import check_fits

    image = wishes.model or default_image_model(wishes.backend or AUTO)
    names = {"image": image, "speech": wishes.speech_model, "sound": wishes.sound_model}
    found = []
    for kind in kinds:
        with about_setting(SETTINGS[kind]):
            found.append(find_missing(names[kind], kind, preferred_variant()))
    missing = [model for model in found if model is not None and model.row.kind in kinds]
    for model in missing:  # before gigabytes are on their way
        if model.row.kind == "image":
            choose_row(KnownModel(model.name, model.row.format), wishes.backend or AUTO)
        check_fits(model.row)
    if missing:
        _get(missing, quiet)


def _get(missing: list[Wanted], quiet: bool) -> None:
    from audio2img.cli.downloads import download
    from audio2img.cli.licences import agree, describe_download, is_person_here
    from audio2img.config import is_offline
    from audio2img.store.catalog import EMBEDDED

    names = " ".join(model.name for model in missing)
    embedded = " ".join(EMBEDDED[model.row.kind] for model in missing if model.row.kind in EMBEDDED)
    if is_offline() or not is_person_here():
        total = sum(model.variant.download_bytes for model in missing) / 1e6
        off = ", and the network is off" if is_offline() else ""
        instead = f"; or take what comes with audio2img: {embedded}" if embedded else ""
        raise ModelError(
            f"{names} must be downloaded first, {total:,.0f} MB in all{off} "
            f"({'; '.join(map(describe_download, missing))})",
            f"run: audio2img models get {names}{instead}",
        )
    download(missing, agree(missing, accept_license=False), quiet)
