"""`audio2img actions uninstall`: remove what `install` made, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from audio2img.cli import completions
from audio2img.cli.commands.actions import dest_option
from audio2img.cli.help import Command
from audio2img.cli.options import json_option, talk_options
from audio2img.cli.results import print_json

if TYPE_CHECKING:
    from pathlib import Path

    from audio2img.macos.actions import Action
    from audio2img.macos.install import Place


@click.command(
    "uninstall",
    cls=Command,
    examples=("audio2img actions uninstall", "audio2img actions uninstall --dest to-my-mac"),
)
@click.argument("names", nargs=-1, metavar="[NAME...]", shell_complete=completions.actions)
@dest_option
@json_option
@talk_options
def command(names: tuple[str, ...], dest: str | None, as_json: bool, quiet: bool, verbose: bool) -> None:
    """Remove actions of ours; without NAME all of them. Prints the paths that are gone.

    What is not ours is left alone. A shortcut that you added stays in the Shortcuts app until you
    delete it there: macOS has no command for that.
    """
    from audio2img.cli.commands.actions import chosen_place
    from audio2img.macos.actions import find_actions
    from audio2img.macos.install import clear, look, refuse_foreign, uninstall

    actions = find_actions(names)
    place = chosen_place(dest)
    found = [look(action, place, None) for action in actions]
    for one in found:
        if names:
            refuse_foreign(one)
        elif one.state == "foreign" and not quiet:
            click.echo(f"left alone, not made by audio2img: {one.path}", err=True)
    gone = {
        one.action: path for one in found if one.state != "foreign" and (path := uninstall(one.action, place))
    }
    clear(place)
    if as_json:
        print_json([{"name": action.name, "path": str(path)} for action, path in gone.items()])
    else:
        for path in gone.values():
            click.echo(path)
    _tell_macos(gone, place, quiet)
    if not gone and not quiet:
        click.echo("nothing of ours is installed there", err=True)


def _tell_macos(gone: dict[Action, Path], place: Place, quiet: bool) -> None:
    from audio2img.macos import system
    from audio2img.macos.install import added_shortcuts, register_services

    if not gone or not place.is_live or not system.is_macos():
        return
    register_services()
    added = added_shortcuts() or frozenset(action.title for action in gone)
    for action in gone:
        if action.kind == "shortcut" and action.title in added and not quiet:
            click.echo(f"delete “{action.title}” in the Shortcuts app yourself", err=True)
