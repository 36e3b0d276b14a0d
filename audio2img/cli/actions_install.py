"""`audio2img actions install`: Quick Actions and Shortcuts into place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from audio2img.cli.actions import chosen_place, command_option, dest_option
from audio2img.cli.options import json_option, talk_options
from audio2img.cli.results import print_json
from audio2img.errors import MachineError
from audio2img.macos import system
from audio2img.macos.actions import Action, find_actions
from audio2img.macos.command import find_command
from audio2img.macos.install import (
    Change,
    Place,
    added_shortcuts,
    install,
    look,
    offer_shortcut,
    refuse_foreign,
    register_services,
)

ALLOW = "once, in the Shortcuts app: Settings, Advanced, Allow Running Scripts"


@click.command("install")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@dest_option
@command_option
@click.option("--dry-run", is_flag=True, help="Only say what would be made.")
@json_option
@talk_options
def command(
    names: tuple[str, ...],
    dest: Path | None,
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
    actions = find_actions(names)
    place = chosen_place(dest)
    if place.is_live and not system.is_macos() and not dry_run:
        raise MachineError(
            "Quick Actions and Shortcuts are a part of macOS, and this is another system",
            "write them into a folder to take to a Mac: audio2img actions install --dest DIR",
        )
    path = find_command(given_command)
    for action in actions:
        refuse_foreign(look(action, place, path))
    installing = _Installing(place, path, dry_run, quiet)
    tables = []
    for action in actions:
        for table in installing.run(action):
            tables.append(table)
            if not as_json:
                click.echo(table["path"])
    if as_json:
        print_json(tables)
    installing.finish()


class _Installing:
    """One action after the other; a shortcut that cannot be signed does not hold up the others."""

    def __init__(self, place: Place, command: Path, dry_run: bool, quiet: bool) -> None:
        self._place = place
        self._command = command
        self._dry_run = dry_run
        self._quiet = quiet
        self._unsigned: list[tuple[Action, MachineError]] = []
        self._has_new_services = False
        is_asked = place.is_live and system.is_macos() and not dry_run
        self._added = added_shortcuts() if is_asked else None

    def run(self, action: Action) -> Iterator[dict[str, Any]]:
        """Its table, unless it could not be made."""
        path = self._place.path(action)
        if self._dry_run:
            state = look(action, self._place, self._command).state
            change: Change = {"installed": "unchanged", "absent": "made"}.get(state, "updated")  # type: ignore[assignment]
            self._say(f"{'unchanged' if change == 'unchanged' else f'would be {change}'}: {_name(action)}")
        else:
            if self._place.is_live and action.kind == "shortcut":
                self._say(f"signing: {_name(action)} (this may take a minute)")
            try:
                change = install(action, self._place, self._command)
            except MachineError as error:
                if action.kind != "shortcut":
                    raise
                self._unsigned.append((action, error))
                return
            self._say(f"{change}: {_name(action)} ({action.purpose})")
            self._offer(action, path, change)
        yield {
            "name": action.name,
            "kind": action.kind,
            "title": action.title,
            "change": change,
            "path": str(path),
        }

    def finish(self) -> None:
        """Tell macOS of new services, and a person of what was not made. Raises MachineError for that."""
        if self._has_new_services:
            answer = register_services()
            if not answer.ok:
                self._say(
                    f"macOS was not told at once ({answer.text}): log out and in to see them in the menus"
                )
        if self._unsigned:
            names = ", ".join(f"“{action.title}”" for action, _ in self._unsigned)
            first = self._unsigned[0][1]
            raise MachineError(f"not made: {names}: {first.message}", first.remedy)

    def _offer(self, action: Action, path: Path, change: Change) -> None:
        if not self._place.is_live:
            return
        if action.kind == "quick action":
            self._has_new_services |= change != "unchanged"
        elif change != "unchanged" or (self._added is not None and action.title not in self._added):
            answer = offer_shortcut(path)
            asked = (
                "opened for you: press Add Shortcut" if answer.ok else f"open {path} yourself ({answer.text})"
            )
            self._say(f"{_name(action)} is {asked}; {ALLOW}")

    def _say(self, text: str) -> None:
        if not self._quiet:
            click.echo(text, err=True)


def _name(action: Action) -> str:
    return f"{action.kind} “{action.title}”"
