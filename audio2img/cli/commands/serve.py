"""`audio2img serve`: the page where one speaks and sees."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from audio2img.cli.help import Command
from audio2img.cli.numbers import NumberRange
from audio2img.cli.options import (
    image_model_options,
    offline_option,
    output_option,
    sound_model_option,
    speech_options,
    takes_wishes,
    talk_options,
)

if TYPE_CHECKING:
    from audio2img.pipeline.wishes import Wishes


@click.command(
    "serve",
    cls=Command,
    examples=(
        "audio2img serve",
        "audio2img serve --model mini --speech-model mini-whisper --no-open",
    ),
)
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--port", type=NumberRange(0, 65535), metavar="N", default=7860, show_default=True,
    help="0 takes a free one.",
)  # fmt: skip
@click.option(
    "--open/--no-open",
    "open_page",
    default=None,
    show_default="at a terminal",
    help="Open it in the browser.",
)
@click.option(
    "--token",
    metavar="TEXT",
    show_default="made up at each start",
    help="What opens the page; none for none.",
)
@click.option("--public", metavar="HOST", help="The name under which others reach it, through a proxy.")
@speech_options
@sound_model_option
@image_model_options
@output_option
@offline_option
@talk_options
@takes_wishes
def command(
    host: str,
    port: int,
    open_page: bool | None,
    token: str | None,
    public: str | None,
    quiet: bool,
    verbose: bool,
    wishes: Wishes,
) -> None:
    """The page where one speaks and sees. Prints its address, and serves it until Ctrl-C.

    It is for this machine alone, and its address has a token that nobody else knows. The pictures go where
    those of the other commands go.
    """
    from audio2img.cli.first_run import ensure_models
    from audio2img.errors import MachineError, UsageError, about_setting
    from audio2img.installation import EXTRAS, how_to_add
    from audio2img.machine import missing_packages
    from audio2img.output import format_of

    if missing := missing_packages(EXTRAS["web"]):
        raise MachineError(f"the page needs {', '.join(missing)}", lambda: how_to_add("web"))
    output = wishes.output_path()
    if format_of(output) is not None:
        with about_setting("output"):
            raise UsageError(f"the gallery does not fit into {output}", "give a folder as `target`")
    wishes.options()
    ensure_models(wishes, quiet, ("image", "speech"))
    from audio2img.server.serving import serve

    def tell(address: str) -> None:
        click.echo(address)
        sys.stdout.flush()
        if not quiet:
            click.echo("The studio is open at that address; Ctrl-C closes it.", err=True)
        if open_page if open_page is not None else sys.stdout.isatty():
            click.launch(address)

    serve(wishes, output, host=host, port=port, token=token, public=public or "", on_ready=tell)
