"""`audio2img completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

from typing import Any

import click

from audio2img.cli.help import Command
from audio2img.cli.options import talk_options

# A zsh that nobody has set up, as on a new Mac, has no compdef.
WITH_COMPDEF = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i; }"


@click.command(
    "completion",
    cls=Command,
    examples=(
        "audio2img completion zsh",
        "audio2img completion bash",
    ),
)
@click.argument("shell", type=click.Choice(["zsh", "bash", "fish"]))
@talk_options
def command(shell: str, **given: Any) -> None:
    """Print the script that lets SHELL complete our commands, options, models, styles and schedulers.

    For zsh and bash put eval "$(audio2img completion SHELL)" into the file that it reads at its start.
    """
    from click.shell_completion import get_completion_class

    from audio2img.cli import COMPLETE, cli

    completion = get_completion_class(shell)
    assert completion is not None, "click has one for each choice"
    if shell == "zsh":
        click.echo(WITH_COMPDEF)
    click.echo(completion(cli, {}, "audio2img", COMPLETE).source())
