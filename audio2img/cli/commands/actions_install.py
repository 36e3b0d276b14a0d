"""`audio2img actions install`: Quick Actions and Shortcuts into place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click

from audio2img.cli import completions
from audio2img.cli.commands.actions import command_option, dest_option
from audio2img.cli.help import Command
from audio2img.cli.options import json_option, talk_options
from audio2img.cli.results import print_json
from audio2img.errors import MachineError

if TYPE_CHECKING:
    from pathlib import Path

    from audio2img.macos.actions import Action
    from audio2img.macos.install import Change, Place

    Changes = Mapping[Action, Change]

ALLOW = "once, in the Shortcuts app: Settings, Advanced, Allow Running Scripts"


@click.command(
    "install",
    cls=Command,
    examples=("audio2img actions install", "audio2img actions install --dest to-my-mac"),
)
@click.argument("names", nargs=-1, metavar="[NAME...]", shell_complete=completions.actions)
@dest_option
@command_option
@click.option("--dry-run", is_flag=True, help="Only say what would be made.")
@json_option
@talk_options
def command(
    names: tuple[str, ...],
    dest: str | None,
    given_command: str | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Add actions to this Mac, or bring them up to date; without NAME all of them. Prints their paths.

    Shortcuts are signed by this Mac and opened for you to add. With --dest they are only written
    into a folder, unsigned.
    """
    from audio2img.cli.commands.actions import chosen_place
    from audio2img.macos import system
    from audio2img.macos.actions import find_actions
    from audio2img.macos.command import find_command
    from audio2img.macos.install import look, planned_change

    actions = find_actions(names)
    place = chosen_place(dest)
    if place.is_live and not system.is_macos() and not dry_run:
        raise MachineError(
            "Quick Actions and Shortcuts are a part of macOS, and this is another system",
            "write them into a folder to take to a Mac: audio2img actions install --dest DIR",
        )
    path = find_command(given_command)
    changes = {action: planned_change(look(action, place, path)) for action in actions}
    say = _speaker(quiet)
    if dry_run:
        for action, change in changes.items():
            say(f"{'' if change == 'unchanged' else 'would be '}{change}: {_name(action)}")
        _print_results(changes, place, as_json)
        return
    failed = _install_all(changes, place, path, say)
    done = {action: change for action, change in changes.items() if action not in failed}
    _print_results(done, place, as_json)
    if place.is_live:
        _tell_macos(done, place, say)
    if failed:
        first = next(iter(failed.values()))
        raise MachineError(f"not made: {', '.join(map(_name, failed))}: {first.message}", first.remedy)


def _install_all(
    changes: Changes, place: Place, command: Path, say: Callable[[str], None]
) -> dict[Action, MachineError]:
    """Make what is to be made; what could not be, and why: one that fails does not hold up the others."""
    from audio2img.macos.install import install

    failed = {}
    for action, change in changes.items():
        if place.is_live and action.kind == "shortcut" and change != "unchanged":
            say(f"signing: {_name(action)} (this may take a minute)")
        try:
            install(action, place, command)
        except MachineError as error:
            failed[action] = error
        else:
            say(f"{change}: {_name(action)} ({action.purpose})")
    return failed


def _tell_macos(changes: Changes, place: Place, say: Callable[[str], None]) -> None:
    """Register new services; open the shortcuts that are new, or were never added."""
    from audio2img.macos.install import added_shortcuts, offer_shortcut, register_services

    if any(action.kind == "quick action" and change != "unchanged" for action, change in changes.items()):
        answer = register_services()
        if not answer.ok:
            say(f"macOS was not told at once ({answer.text}): log out and in to see them in the menus")
    shortcuts = {action: change for action, change in changes.items() if action.kind == "shortcut"}
    added = added_shortcuts() if shortcuts else None
    for action, change in shortcuts.items():
        if change == "unchanged" and (added is None or action.title in added):
            continue
        path = place.path(action)
        answer = offer_shortcut(path)
        opened = (
            "opened for you: press Add Shortcut" if answer.ok else f"not opened ({answer.text}): open {path}"
        )
        say(f"{_name(action)} is {opened}; {ALLOW}")


def _print_results(changes: Changes, place: Place, as_json: bool) -> None:
    if not as_json:
        for action in changes:
            click.echo(place.path(action))
        return
    print_json(
        [
            {
                "name": action.name,
                "kind": action.kind,
                "title": action.title,
                "change": change,
                "path": str(place.path(action)),
            }
            for action, change in changes.items()
        ]
    )


def _speaker(quiet: bool) -> Callable[[str], None]:
    def say(text: str) -> None:
        if not quiet:
            click.echo(text, err=True)

    return say


def _name(action: Action) -> str:
    return f"{action.kind} “{action.title}”"
