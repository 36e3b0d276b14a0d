"""The command line. Each command lives in a module of its own, imported when it is called."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import NoReturn

import click

from audio2img import __version__

# command -> (module, what `--help` says of it)
COMMANDS = {
    "run": ("run", "Speech to picture: the main job."),
    "record": ("record", "Record from a microphone into a WAV file."),
    "transcribe": ("transcribe", "Speech to text."),
    "generate": ("generate", "Text to picture."),
    "show": ("show", "How a picture was made."),
    "models": ("models", "The models there are."),
    "devices": ("devices", "The microphones there are."),
    "doctor": ("doctor", "Check that everything works on this machine."),
    "demo": ("demo", "A spoken sentence becomes a picture, with nothing to download."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"audio2img.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, message="audio2img %(version)s")
def cli() -> None:
    """Say what you see, get the picture.

    Speech becomes words, words become a picture, all on this machine.
    """


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with the code of what happened (see errors.py)."""
    from audio2img.cli.outcome import Outcome

    outcome = Outcome()
    with outcome:
        cli.main(args=argv, prog_name="audio2img", standalone_mode=False, obj=outcome)
    sys.exit(outcome.exit_code)
