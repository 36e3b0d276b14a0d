"""The command line. Each command lives in a module of its own, imported when it is called."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from itertools import takewhile
from typing import Any, NoReturn

import click

from audio2img import __version__
from audio2img.cli.help import Group

COMPLETE = "_AUDIO2IMG_COMPLETE"  # click's own name for it
# command -> (module, what `--help` says of it)
COMMANDS = {
    "run": ("run", "Speech, or any sound, to picture: the main job."),
    "record": ("record", "Record from a microphone into a file."),
    "transcribe": ("transcribe", "Speech to text."),
    "classify": ("classify", "Name the sounds in a recording."),
    "generate": ("generate", "Text to picture."),
    "serve": ("serve", "The page where one speaks and sees."),
    "show": ("show", "How a picture was made."),
    "models": ("models", "The models there are."),
    "styles": ("styles", "The styles and templates there are."),
    "config": ("config", "Your settings: what is set, where, and changing it."),
    "actions": ("actions", "Quick Actions and Shortcuts on a Mac."),
    "devices": ("devices", "The microphones there are."),
    "doctor": ("doctor", "Check that everything works on this machine."),
    "completion": ("completion", "What zsh, bash or fish need to complete commands."),
    "demo": ("demo", "A spoken sentence becomes a picture, with nothing to download."),
}


class LazyGroup(Group):
    """A group that imports a command's module only when that command is called.

    lazy: command -> (module of this package that holds it as `command`, what `--help` says of it).
    """

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *self.lazy]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        module = import_module(f"audio2img.cli.commands.{self.lazy[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with what was meant where there is no such command."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from audio2img.cli.suggestions import suggest_command

            hint = suggest_command(args, self.list_commands(ctx), ctx.command_path)
            raise click.UsageError(f"{error.message.rstrip('.')}{hint}", ctx) from error

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's; an option of a command that stands before it is told so."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            example = f"{ctx.command_path} COMMAND {error.option_name}"
            raise click.UsageError(
                f"No such option {error.option_name} here: options follow their command, as in: {example}",
                ctx,
            ) from error

    def command_rows(self, ctx: click.Context) -> list[tuple[str, str]]:
        return [*super().command_rows(ctx), *((name, text) for name, (_, text) in self.lazy.items())]


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    examples=("audio2img run memo.m4a", "audio2img generate 'a red fox in the snow' --style ink"),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="audio2img %(version)s")
def cli() -> None:
    """Say what you see, get the picture.

    Speech becomes words, words become a picture, all on this machine.
    """


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with the code of what happened (see errors.py)."""
    from audio2img.cli.outcome import Outcome
    from audio2img.cli.streams import prepare_streams

    words = sys.argv[1:] if argv is None else argv
    # Asked of the words themselves: they may be put together so that no option is ever parsed.
    outcome = Outcome(as_json="--json" in takewhile(lambda word: word != "--", words))
    with outcome:
        if COMPLETE not in os.environ:  # to a shell, click speaks by itself, in bytes
            prepare_streams()
        cli.main(args=argv, prog_name="audio2img", standalone_mode=False, obj=outcome)
        sys.stdout.flush()
    if outcome.leaves_work:  # in a thread, which Python would wait for
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(outcome.exit_code)
    sys.exit(outcome.exit_code)
