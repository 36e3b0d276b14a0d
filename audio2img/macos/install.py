"""Writing actions into place, saying what is there, and removing what is ours.

What is ours says so itself: the script inside a workflow or an unsigned shortcut begins with our mark
and the action's name. A signed shortcut cannot be read; it lies in a folder of our own, its unsigned
form beside it. Whatever else has the name of an action is never touched.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from audio2img import files
from audio2img.config import data_dir, home_dir
from audio2img.errors import InputError, MachineError
from audio2img.macos import automator, shortcuts, system
from audio2img.macos.actions import Action
from audio2img.macos.command import is_command
from audio2img.macos.scripts import build_script, command_in_script, name_in_script

State = Literal["installed", "outdated", "broken", "absent", "foreign"]
Change = Literal["made", "updated", "unchanged"]


@dataclass(frozen=True)
class Place:
    """Where actions go. is_live: macOS looks there, so shortcuts are signed and services registered."""

    workflows: Path
    shortcuts: Path
    is_live: bool

    def path(self, action: Action) -> Path:
        folder = self.workflows if action.kind == "quick action" else self.shortcuts
        return folder / action.file_name

    def source(self, action: Action) -> Path:
        """Where the unsigned form of a shortcut lies."""
        return self.shortcuts / "unsigned" / action.file_name if self.is_live else self.path(action)


@dataclass(frozen=True)
class Found:
    """state: broken when the program that it calls is gone, foreign when something not ours is there.

    command: the program that it calls, where known.
    """

    action: Action
    path: Path
    state: State
    command: Path | None = None


def live_place() -> Place:
    """The folders of the person who is logged in. Raises MachineError where no home is known."""
    return Place(home_dir() / "Library" / "Services", data_dir() / "shortcuts", True)


def folder_place(folder: Path) -> Place:
    """One folder for everything, unsigned: to look at, or to take to a Mac."""
    return Place(folder, folder, False)


def look(action: Action, place: Place, command: Path | None) -> Found:
    """What is in the place of `action`; outdated when it is not what would be installed to call `command`.

    Without `command`, the one that is called now is taken as right.
    """
    path = place.path(action)
    if not os.path.lexists(path):
        return Found(action, path, "absent")
    if path.is_symlink():  # nothing that we make is one
        return Found(action, path, "foreign")
    content = _read(action, place)
    script = _script_of(content)
    if name_in_script(script) != action.name:
        is_foreign = action.kind == "quick action" or not place.is_live
        return Found(action, path, "foreign" if is_foreign else "outdated")
    called = command_in_script(script)
    if called is None or not is_command(called):
        return Found(action, path, "broken", called)
    state: State = "installed" if content == _build(action, command or called) else "outdated"
    return Found(action, path, state, called)


def planned_change(found: Found) -> Change:
    """What `install` does where this was found. Raises InputError for something that is not ours."""
    refuse_foreign(found)
    if found.state == "installed":
        return "unchanged"
    return "made" if found.state == "absent" else "updated"


def install(action: Action, place: Place, command: Path) -> Change:
    """Write `action`, calling `command`, or bring it up to date; the old one stays until all is written.

    Raises InputError where something that is not ours has its name, MachineError when the folder or
    the signing of a shortcut refuses.
    """
    found = look(action, place, command)
    change = planned_change(found)
    if change == "unchanged":
        return change
    content = _build(action, command)
    with _explained(found.path.parent):
        found.path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, dict):
            _replace_workflow(found.path, content)
        elif place.is_live:
            signed = shortcuts.sign(action, content, found.path.parent)
            place.source(action).parent.mkdir(exist_ok=True)
            place.source(action).unlink(missing_ok=True)  # without it the old one is never taken for new
            files.replace_file(found.path, signed)
            files.replace_file(place.source(action), content)
        else:
            files.replace_file(found.path, content)
    return change


def uninstall(action: Action, place: Place) -> Path | None:
    """Remove `action`, if it is there; its path. Raises InputError for one that is not ours, MachineError."""
    found = look(action, place, None)
    refuse_foreign(found)
    if found.state == "absent":
        return None
    with _explained(found.path.parent):
        if action.kind == "quick action":
            gone = files.temporary_path(found.path.parent)
            found.path.rename(gone)
            shutil.rmtree(gone)
        else:
            place.source(action).unlink(missing_ok=True)
            found.path.unlink(missing_ok=True)
    return found.path


def clear(place: Place) -> None:
    """Remove what killed runs left, and the folders that are only ours once they are empty.

    In a folder that somebody chose, which another machine may write into, only what is old.
    """
    for folder in {place.workflows, place.shortcuts}:
        if place.is_live:
            files.clear_leftovers(folder, older_than_s=0.0)
        else:
            files.clear_leftovers(folder)
    if place.is_live:
        for folder in (place.shortcuts / "unsigned", place.shortcuts, place.shortcuts.parent):
            with contextlib.suppress(OSError):  # not there, or something else is in it
                folder.rmdir()


def refuse_foreign(found: Found) -> None:
    """Raise InputError when something that is not ours is in the place of an action."""
    if found.state == "foreign":
        raise InputError(
            f"{found.path} was not made by audio2img, or was changed since, and is left alone",
            "rename it or put it in the bin yourself, or name only the other actions",
        )


def register_services() -> system.Answer:
    """Have macOS read the Quick Actions again."""
    return system.ask(system.PBS, "-update")


def offer_shortcut(path: Path) -> system.Answer:
    """Open a signed shortcut in the Shortcuts app, which asks whether to add it."""
    return system.ask(system.OPEN, path)


def added_shortcuts() -> frozenset[str] | None:
    """The names of the shortcuts in the Shortcuts app; None when it does not say."""
    answer = system.ask(system.SHORTCUTS, "list")
    return frozenset(answer.text.splitlines()) if answer.ok else None


def _build(action: Action, command: Path) -> dict[str, bytes] | bytes:
    """The files of a workflow by name, or the unsigned shortcut."""
    script = build_script(action, command)
    if action.kind == "quick action":
        return automator.workflow_files(action, script)
    return shortcuts.shortcut_bytes(action, script)


def _read(action: Action, place: Place) -> dict[str, bytes] | bytes:
    """The same as it lies there; empty when it cannot be read."""
    try:
        return (
            automator.read_workflow(place.path(action))
            if action.kind == "quick action"
            else place.source(action).read_bytes()
        )
    except OSError:
        return b""


def _script_of(content: dict[str, bytes] | bytes) -> str:
    return automator.script_of(content) if isinstance(content, dict) else shortcuts.script_of(content)


def _replace_workflow(path: Path, contents: dict[str, bytes]) -> None:
    with files.replace_folder(path) as fresh:
        (fresh / automator.CONTENTS).mkdir()
        for name, data in contents.items():
            files.write_synced(fresh / automator.CONTENTS / name, data)


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MachineError(
            f"cannot write into {folder}: {error.strerror or error}",
            "give yourself the right to, or choose another folder with --dest",
        ) from error
