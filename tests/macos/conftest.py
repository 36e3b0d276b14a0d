"""A desk of a Mac: a home, programs of macOS that only note what they were asked, and Automator's shell."""

from __future__ import annotations

import os
import plistlib
import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from audio2img.config import settings_file
from audio2img.macos import install, system
from audio2img.macos.actions import find_actions

AUTOMATOR_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
INSTALLED = Path(sysconfig.get_path("scripts")) / "audio2img"

# Notes its own name and its arguments, each ended by a zero byte and the call by an empty one more.
RECORDER = """#!/bin/sh
{{ printf '%s\\0' {name} "$@"; printf '\\036\\0'; }} >>'{notes}'
{body}
"""


@dataclass
class Desk:
    """home: with the settings that name the mini models. bin: where the command and the recorders lie."""

    home: Path
    bin: Path
    notes: Path
    done: subprocess.CompletedProcess[str] | None = field(default=None)

    def put(self, name: str, body: str = "") -> Path:
        """A program that notes how it is called and then does `body` (sh)."""
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(RECORDER.format(name=name, notes=self.notes, body=body), encoding="utf-8")
        path.chmod(0o755)
        return path

    def put_real_command(self) -> Path:
        path = self.bin / "audio2img"
        path.unlink(missing_ok=True)
        path.symlink_to(INSTALLED)
        return path

    def script(self, name: str) -> str:
        """The script of an action, from the file that was installed for it."""
        (action,) = find_actions([name])
        place = install.folder_place(self.home.parent / "installed")
        install.install(action, place, self.bin / "audio2img")
        path = place.path(action)
        if action.kind == "shortcut":
            steps = plistlib.loads(path.read_bytes())["WFWorkflowActions"]
            return str(steps[-1]["WFWorkflowActionParameters"]["Script"])
        (step,) = plistlib.loads((path / "Contents" / "document.wflow").read_bytes())["actions"]
        return str(step["action"]["ActionParameters"]["COMMAND_STRING"])

    def press(
        self, name: str, *files: str | bytes | Path, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run an action as Automator and Shortcuts do: zsh -c, files as arguments, hardly an environment."""
        self.notes.unlink(missing_ok=True)
        return subprocess.run(
            ["zsh", "-f", "-c", self.script(name), "-", *files],
            env={"HOME": str(self.home), "PATH": AUTOMATOR_PATH, **(env or {})},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
        )

    def calls(self, name: str) -> list[list[str]]:
        """The arguments of each call of a recorder, in order."""
        if not self.notes.exists():
            return []
        text = self.notes.read_bytes().decode("utf-8", "surrogateescape")
        every = [call.removesuffix("\0").split("\0") for call in text.split("\036\0")[:-1]]
        return [words for first, *words in every if first == name]

    def shown(self, what: str) -> list[str]:
        """The words in each `display notification` or `display dialog`; their script must not hold them."""
        calls = [words for words in self.calls("osascript") if what in words[3]]
        for words in calls:
            assert words[:3] == ["-e", "on run argv", "-e"]
            assert words[4:6] == ["-e", "end run"]
            assert len(words) == 8
        return [words[7] for words in calls]

    @property
    def notifications(self) -> list[str]:
        return self.shown("display notification")

    @property
    def dialogs(self) -> list[str]:
        return self.shown("display dialog")

    @property
    def log(self) -> str:
        return (self.home / "Library/Logs/audio2img.log").read_text(encoding="utf-8", errors="replace")


@pytest.fixture(scope="session")
def zsh() -> str:
    found = shutil.which("zsh")
    if found is None:
        pytest.skip("needs zsh: apt install zsh")
    return found


@pytest.fixture
def desk(tmp_path: Path, zsh: str, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """With recorders for osascript and open, and a clipboard that is empty."""
    home, programs = tmp_path / "home of 'zoë'", tmp_path / 'a "bin" of mine'
    monkeypatch.setenv("HOME", str(home))
    settings = settings_file()
    settings.parent.mkdir(parents=True)
    settings.write_text('model = "mini"\nspeech_model = "mini-whisper"\nsteps = 4\n')
    programs.mkdir()
    desk = Desk(home, programs, tmp_path / "notes")
    for name in ("osascript", "open", "pbpaste"):
        desk.put(name)
    return desk


@dataclass
class Mac:
    """A Mac as far as macos.system calls it: what its programs do can be changed with desk.put."""

    desk: Desk
    library: Path

    def signs(self, body: str) -> None:
        """What `shortcuts sign --mode MODE --input IN --output OUT` does (sh; MODE, IN and OUT are set)."""
        listing = f"cat '{self.library}'"
        self.desk.put(
            "shortcuts", f'case "$1" in list) {listing};; sign) MODE="$3" IN="$5" OUT="$7"; {body};; esac'
        )


@pytest.fixture
def mac(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Mac:
    """macOS at the edges of macos.system: recorders instead of its programs, the desk's home."""
    library = desk.home.parent / "shortcuts in the app"
    library.touch()
    monkeypatch.setattr(system, "is_macos", lambda: True)
    for name in ("PBS", "SHORTCUTS", "OPEN", "PLUTIL", "OSASCRIPT"):
        program = desk.bin / name.lower()
        monkeypatch.setattr(system, name, str(program))
        desk.put(program.name)
    machine = Mac(desk, library)
    machine.signs('{ printf AEA1; cat "$IN"; } >"$OUT"')
    desk.put("audio2img", "echo audio2img 0.0.0")
    return machine


@pytest.fixture
def tree() -> Callable[[Path], dict[str, bytes]]:
    """Everything below a folder: path -> content; b"" for a folder, what it points to for a link."""

    def content(path: Path) -> bytes:
        if path.is_symlink():
            return os.fsencode(path.readlink())
        return b"" if path.is_dir() else path.read_bytes()

    def read(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): content(path) for path in sorted(folder.rglob("*"))}

    return read
