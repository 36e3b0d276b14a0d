"""The Quick Actions and Shortcuts on this Mac: what is installed, and what macOS itself says of it.

They were written without a Mac at hand; these checks are how one confirms them.
"""

from __future__ import annotations

from pathlib import Path

from audio2img.config import home_dir
from audio2img.diagnosis.checks import Check
from audio2img.macos import automator, system
from audio2img.macos.actions import ACTIONS, Kind
from audio2img.macos.install import Found, added_shortcuts, live_place, look

AUTOMATOR_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"  # what a script of Automator starts with
HARD_TEXT = '-it\'s "quoted" \\ and\nthen über'
INSTALL = "run: audio2img actions install"


def check_quick_actions() -> Check:
    """Whether they are whole, whether macOS reads and lists them, and whether what they call runs there."""
    name = "quick actions"
    found = _look_for("quick action")
    here = [one for one in found if one.state not in ("absent", "foreign")]
    if not here:
        return _none_here(name)
    problems = [f"“{one.action.title}” is {one.state}" for one in here if one.state != "installed"]
    remedy = INSTALL if problems else ""
    commands = {one.command for one in here if one.command is not None}
    problems += [reason for command in sorted(commands) if (reason := _why_it_does_not_run(command))]
    if system.is_macos():
        refused = [reason for one in here if (reason := _why_not_read(one.path))]
        unlisted = _unlisted(here)
        problems += refused + unlisted
        remedy = remedy or ("log out and in, or " + INSTALL.removeprefix("run: ") if unlisted else INSTALL)
    if problems:
        return Check(name, "note", "; ".join(problems), remedy or INSTALL)
    called = ", ".join(map(str, sorted(commands)))
    return Check(name, "ok", f"{len(here)} of {len(found)} installed; they call {called}")


def check_shortcuts() -> Check:
    """Which shortcuts were made and which of them were added; whether `shortcuts` answers at all."""
    name = "shortcuts"
    found = _look_for("shortcut")
    here = [one for one in found if one.state != "absent"]
    if not here and not system.is_macos():
        return _none_here(name)
    added = added_shortcuts() if system.is_macos() else frozenset()
    if added is None:
        return Check(name, "note", f"{system.SHORTCUTS} does not answer", "restart this Mac, then look again")
    if not here:
        return _none_here(name)
    wrong = [f"“{one.action.title}” is {one.state}" for one in here if one.state != "installed"]
    if wrong:
        return Check(name, "note", "; ".join(wrong), INSTALL)
    if waiting := [f"“{one.action.title}”" for one in here if one.action.title not in added]:
        return Check(name, "note", f"not added in the Shortcuts app yet: {', '.join(waiting)}", INSTALL)
    return Check(name, "ok", f"{len(here)} of {len(found)} made and added")


def check_dialogs() -> Check:
    """Whether osascript hands on words as the actions give them to it: quotes, a dash first, two lines."""
    name = "dialogs"
    if not system.is_macos():
        return Check(name, "skip", "needs macOS")
    lines = ("on run argv", "return item 2 of argv", "end run")
    script = [word for line in lines for word in ("-e", line)]
    answer = system.ask(system.OSASCRIPT, *script, "audio2img", HARD_TEXT)
    if not answer.ok:
        return Check(name, "note", answer.text, "the actions then show their words in Automator's own errors")
    if answer.text.rstrip("\n") != HARD_TEXT:
        return Check(name, "note", f"osascript gives {answer.text!r} for {HARD_TEXT!r}", "please report this")
    return Check(name, "ok", "osascript hands on words unchanged")


def _look_for(kind: Kind) -> list[Found]:
    place = live_place()
    return [look(action, place, None) for action in ACTIONS if action.kind == kind]


def _none_here(name: str) -> Check:
    if not system.is_macos():
        return Check(name, "skip", "needs macOS")
    return Check(name, "note", "none installed", INSTALL)


def _why_it_does_not_run(command: Path) -> str:
    """Run it as Automator would: with next to nothing in its environment."""
    answer = system.ask(
        "/usr/bin/env", "-i", f"HOME={home_dir()}", f"PATH={AUTOMATOR_PATH}", command, "--version"
    )
    return "" if answer.ok else f"{command} does not run without an environment: {answer.text}"


def _why_not_read(workflow: Path) -> str:
    files = [workflow / automator.CONTENTS / name for name in (automator.INFO, automator.DOCUMENT)]
    answer = system.ask(system.PLUTIL, "-lint", *files)
    return "" if answer.ok else f"{workflow.name}: {answer.text}"


def _unlisted(here: list[Found]) -> list[str]:
    answer = system.ask(system.PBS, "-dump_pboard")
    if not answer.ok:
        return [answer.text]
    missing = [one.action.title for one in here if one.action.title not in answer.text]
    return [f"macOS does not list “{title}” among its services" for title in missing]
