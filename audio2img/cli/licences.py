"""Before anything is downloaded: what, how large, under which licence, and whether the person agrees."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from audio2img.errors import CancelledError, UsageError

if TYPE_CHECKING:
    from audio2img.store.receipts import LicenceRecord
    from audio2img.store.rows import Wanted


def is_person_here() -> bool:
    """True when somebody can be asked: input and messages are both a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def agree(models: Sequence[Wanted], accept_license: bool, quiet: bool = False) -> dict[str, LicenceRecord]:
    """The licences of `models`, each accepted, by the models' keys.

    They are shown first. A licence accepted for an earlier download of the same model still counts.
    Raises UsageError when nobody is here to ask and `accept_license` is False, CancelledError for a no.
    """
    from audio2img.store.licences import accept, accepted_before

    earlier = {model.key: accepted_before(model) for model in models}
    open_ones = [model for model in models if earlier[model.key] is None]
    if not quiet or (open_ones and not accept_license):
        click.echo("\n".join(describe_download(model) for model in models), err=True)
    how = ""
    if open_ones:
        how = "--accept-license" if accept_license else _ask(open_ones)
    return {model.key: earlier[model.key] or accept(model, how) for model in models}


def describe_download(model: Wanted) -> str:
    n_bytes = model.variant.download_bytes
    about = "" if n_bytes and n_bytes != model.variant.about_bytes else "about "
    size = f"{about}{n_bytes / 1e6:,.1f} MB" if n_bytes else "size not known"
    unverified = ", not verified by us" if model.row.unverified else ""
    return f"{model.name}: {size}{unverified}; licence {model.row.licence}, {model.row.licence_url}"


def _ask(models: Sequence[Wanted]) -> str:
    names = " ".join(model.name for model in models)
    if not is_person_here():
        raise UsageError(
            f"the licence of {names} must be accepted first ({models[0].row.licence_url})",
            f"run: audio2img models get --accept-license {names}",
        )
    licences = "licence" if len({model.row.licence for model in models}) == 1 else "licences"
    if not click.confirm(f"Download {names} and accept the {licences}?", err=True):
        raise CancelledError("nothing was downloaded")
    return "at the terminal"
