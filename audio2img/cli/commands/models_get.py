"""`audio2img models get`: download models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from audio2img.cli import completions
from audio2img.cli.help import Command
from audio2img.cli.options import json_option, offline_option, talk_options
from audio2img.cli.results import print_json
from audio2img.errors import MachineError

if TYPE_CHECKING:
    from audio2img.store.rows import Kind, Wanted


DEFAULT = "default"
DEFAULT_KINDS: tuple[Kind, ...] = ("image", "speech")


@click.command(
    "get",
    cls=Command,
    examples=("audio2img models get default", "audio2img models get whisper-base sd-turbo"),
)
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME...|default", shell_complete=completions.models_to_get
)
@click.option("--anyway", is_flag=True, help="Even a model that this machine cannot run.")
@click.option("--accept-license", is_flag=True, help="Accept the licences that are shown; for scripts.")
@offline_option
@json_option
@talk_options
def command(
    names: tuple[str, ...], anyway: bool, accept_license: bool, as_json: bool, quiet: bool, verbose: bool
) -> None:
    """Download models by name; "default" stands for those this machine takes when none is named.

    Prints where each is. What was interrupted goes on where it stopped; what is here already is
    only named.
    """
    from audio2img.cli.downloads import download
    from audio2img.cli.licences import agree
    from audio2img.store.receipts import installed

    models = wanted_models(names)
    if DEFAULT in names and not quiet:
        _say_what_draws()
    missing = [model for model in models if not model.row.embedded and installed(model.key) is None]
    if missing:
        from audio2img.store.get import check_gettable

        for model in missing:
            check_gettable(model)
            if not anyway:
                _check_runs_here(model)
        download(missing, agree(missing, accept_license, quiet), quiet)
    _print_paths(models, as_json)


def wanted_models(names: tuple[str, ...]) -> list[Wanted]:
    """The models meant by `names`, each once. Raises ModelError for unknown ones."""
    from audio2img.backends import preferred_variant
    from audio2img.store.catalog import default_name, find_wanted

    plain = [default_name(kind) for kind in DEFAULT_KINDS] if DEFAULT in names else []
    plain += [name for name in names if name != DEFAULT]
    models = [find_wanted(name, preferred_variant()) for name in plain]
    return list({model.key: model for model in models}.values())


def _say_what_draws() -> None:
    """What a person waits for in vain who takes the defaults where nothing but the embedded model draws."""
    from audio2img.installation import how_to_add
    from audio2img.store.catalog import default_name
    from audio2img.store.defaults import EMBEDDED_IMAGE
    from audio2img.wording import as_typed

    if default_name("image") != EMBEDDED_IMAGE:
        return
    install = how_to_add("diffusers").removeprefix("run: ")
    click.echo(f"pictures of anything need PyTorch first: {install}", err=True)
    click.echo(as_typed("then, once more: audio2img models get default"), err=True)
    click.echo("until then the embedded mini model draws; speech is recognized in full", err=True)


def _check_runs_here(model: Wanted) -> None:
    """Raises MachineError for gigabytes that this machine could not use."""
    from audio2img.backends import KnownModel, choose_row
    from audio2img.store.defaults import check_fits

    check_fits(model.row)
    if model.row.kind != "image":
        return
    try:
        choose_row(KnownModel(model.name, model.row.format))
    except MachineError as error:
        insist = f"or, for another machine: audio2img models get {model.name} --anyway"
        raise MachineError(error.message, f"{error.remedy}; {insist}") from None


def _print_paths(models: list[Wanted], as_json: bool) -> None:
    from audio2img.cli.commands.models import as_table
    from audio2img.pipeline.inventory import describe_model

    found = [describe_model(model) for model in models]
    if as_json:
        print_json([as_table(model) for model in found])
    else:
        for model in found:
            click.echo(model.path)
