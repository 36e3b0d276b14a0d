"""`audio2img actions`: Quick Actions and Shortcuts on a Mac."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from audio2img.cli import LazyGroup, completions
from audio2img.cli.help import Command
from audio2img.cli.options import json_option, talk_options
from audio2img.cli.results import print_json

if TYPE_CHECKING:
    from audio2img.macos.actions import Action
    from audio2img.macos.install import Found, Place

LAZY = {
    "install": ("actions_install", "Add them to this Mac, or bring them up to date."),
    "uninstall": ("actions_uninstall", "Remove them again."),
}

dest_option = click.option(
    "--dest", type=click.Path(), metavar="DIR", help="A folder instead of this Mac's own."
)
command_option = click.option("--command", "given_command", metavar="PATH", help="The audio2img they call.")


@click.group(
    "actions",
    cls=LazyGroup,
    lazy=LAZY,
    examples=("audio2img actions install", "audio2img actions list"),
)
def command() -> None:
    """Pictures by one press on a Mac: Quick Actions for Finder and menus, and Shortcuts."""


@command.command(
    "list",
    cls=Command,
    short_help="Name, kind, title and state of each, and where it is pressed.",
    examples=("audio2img actions list", "audio2img actions list --json"),
)
@dest_option
@json_option
@talk_options
def list_actions(dest: str | None, as_json: bool, **given: Any) -> None:
    """One line per action: name, kind, title, state, and where it is pressed.

    States: installed; outdated (another version made it: install brings it up to date); broken (the
    command it calls is gone); waits (made, but not added in the Shortcuts app yet); foreign
    (something that is not ours has its name).
    """
    tables = describe_actions(chosen_place(dest))
    if as_json:
        print_json(tables)
        return
    for table in tables:
        title = f"“{table['title']}”"
        state = "-" if table["state"] == "absent" else table["state"]
        click.echo(f"{table['name']:<20}{table['kind']:<14}{title:<34}{state:<11}{table['purpose']}")


@command.command(
    "show",
    cls=Command,
    short_help="The zsh script of an action, to read or to paste.",
    examples=(
        "audio2img actions show speak",
        "audio2img actions show clipboard --command /usr/local/bin/audio2img",
    ),
)
@click.argument("name", shell_complete=completions.actions)
@command_option
@talk_options
def show_action(name: str, given_command: str | None, **given: Any) -> None:
    """Print the zsh script of an action: to read it, or to paste it into a shortcut of your own."""
    from audio2img.macos.actions import find_actions
    from audio2img.macos.command import find_command
    from audio2img.macos.scripts import build_script

    (action,) = find_actions([name])
    click.echo(build_script(action, find_command(given_command)), nl=False)


def chosen_place(dest: str | None) -> Place:
    from audio2img.config import expand_path
    from audio2img.macos.install import folder_place, live_place

    return live_place() if dest is None else folder_place(expand_path(dest))


def describe_actions(place: Place) -> list[dict[str, Any]]:
    """What there is to know of every action, as plain JSON values."""
    from audio2img.macos import system
    from audio2img.macos.actions import ACTIONS
    from audio2img.macos.install import added_shortcuts, look

    added = added_shortcuts() if place.is_live and system.is_macos() else None
    return [_describe(look(action, place, None), added) for action in ACTIONS]


def _describe(found: Found, added: frozenset[str] | None) -> dict[str, Any]:
    action = found.action
    waits = found.state == "installed" and _is_to_be_added(action, added)
    return {
        "name": action.name,
        "kind": action.kind,
        "title": action.title,
        "purpose": action.purpose,
        "state": "waits" if waits else found.state,
        "path": None if found.state == "absent" else str(found.path),
        "command": str(found.command) if found.command else None,
    }


def _is_to_be_added(action: Action, added: frozenset[str] | None) -> bool:
    return action.kind == "shortcut" and added is not None and action.title not in added
