"""`audio2img actions` as a process, on any system: a folder as the destination, and plain refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from audio2img.config import data_dir

Command = Callable[..., subprocess.CompletedProcess[str]]
Check = Callable[..., None]

NAMES = ["recording", "clipboard", "speak", "speak-shortcut", "recording-shortcut"]
FILES = [
    "Picture from this recording.workflow",
    "Picture from the clipboard text.workflow",
    "Speak a picture.workflow",
    "Speak a picture.shortcut",
    "Picture from recording.shortcut",
]

not_on_a_mac = pytest.mark.skipif(sys.platform == "darwin", reason="needs Linux or Windows")


def states(audio2img: Command, dest: Path) -> list[str]:
    tables = json.loads(audio2img("actions", "list", "--dest", dest, "--json").stdout)
    assert [table["name"] for table in tables] == NAMES
    return [table["state"] for table in tables]


def test_into_a_folder_and_out_of_it(audio2img: Command, tmp_path: Path) -> None:
    dest = tmp_path / "for my Mac"
    done = audio2img("actions", "install", "--dest", dest)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(dest / name) for name in FILES]
    assert sorted(path.name for path in dest.iterdir()) == sorted(FILES)
    assert done.stderr.count("made: ") == 5
    assert states(audio2img, dest) == ["installed"] * 5
    assert audio2img("actions", "install", "--dest", dest).stderr.count("unchanged: ") == 5
    done = audio2img("actions", "uninstall", "--dest", dest)
    assert done.stdout.splitlines() == [str(dest / name) for name in FILES]
    assert list(dest.iterdir()) == []
    assert states(audio2img, dest) == ["absent"] * 5


def test_some_by_name(audio2img: Command, tmp_path: Path) -> None:
    done = audio2img("actions", "install", "speak", "recording", "--dest", tmp_path / "d", "--json")
    tables = json.loads(done.stdout)
    assert [(table["name"], table["change"]) for table in tables] == [
        ("recording", "made"),
        ("speak", "made"),
    ]
    assert states(audio2img, tmp_path / "d") == ["installed", "absent", "installed", "absent", "absent"]
    audio2img("actions", "uninstall", "speak", "--dest", tmp_path / "d")
    assert states(audio2img, tmp_path / "d") == ["installed", "absent", "absent", "absent", "absent"]


def test_a_dry_run_writes_nothing(audio2img: Command, tmp_path: Path) -> None:
    done = audio2img("actions", "install", "--dry-run", "--dest", tmp_path / "d")
    assert done.stdout.splitlines() == [str(tmp_path / "d" / name) for name in FILES]
    assert done.stderr.count("would be made: ") == 5
    assert not (tmp_path / "d").exists()


def test_quiet_says_only_the_paths(audio2img: Command, tmp_path: Path) -> None:
    done = audio2img("actions", "install", "-q", "clipboard", "--dest", tmp_path)
    assert (done.stdout, done.stderr) == (f"{tmp_path / FILES[1]}\n", "")


def test_outdated_and_broken(audio2img: Command, tmp_path: Path) -> None:
    command = tmp_path / "my tools" / "audio2img"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    dest = tmp_path / "d"
    audio2img("actions", "install", "speak", "--dest", dest, "--command", command)
    tables = json.loads(audio2img("actions", "list", "--dest", dest, "--json").stdout)
    assert (tables[2]["state"], tables[2]["command"]) == ("installed", str(command))
    document = dest / FILES[2] / "Contents" / "document.wflow"
    document.write_text(document.read_text().replace("Written by audio2img ", "Written by audio2img 0."))
    assert states(audio2img, dest)[2] == "outdated"
    command.unlink()
    assert states(audio2img, dest)[2] == "broken"
    assert "updated: " in audio2img("actions", "install", "speak", "--dest", dest).stderr
    assert states(audio2img, dest)[2] == "installed"


def test_what_is_not_ours_is_refused_before_anything_is_written(
    audio2img: Command, assert_fails: Check, tmp_path: Path
) -> None:
    mine = tmp_path / "d" / FILES[2]
    mine.mkdir(parents=True)
    assert_fails(audio2img("actions", "install", "--dest", tmp_path / "d"), 6, str(mine), "rename it")
    assert [path.name for path in (tmp_path / "d").iterdir()] == [FILES[2]]
    assert_fails(audio2img("actions", "uninstall", "speak", "--dest", tmp_path / "d"), 6, str(mine))
    audio2img("actions", "install", "recording", "--dest", tmp_path / "d")
    done = audio2img("actions", "uninstall", "--dest", tmp_path / "d")
    assert done.returncode == 0
    assert f"left alone, not made by audio2img: {mine}" in done.stderr
    assert [path.name for path in (tmp_path / "d").iterdir()] == [FILES[2]]


@not_on_a_mac
def test_another_system_is_refused_with_the_way_out(
    audio2img: Command, assert_fails: Check, private_home: Path
) -> None:
    assert_fails(audio2img("actions", "install"), 5, "a part of macOS", "actions install --dest DIR")
    assert list(private_home.iterdir()) == []


@not_on_a_mac
def test_uninstall_where_nothing_is(audio2img: Command, private_home: Path) -> None:
    done = audio2img("actions", "uninstall")
    assert (done.returncode, done.stdout) == (0, "")
    assert "nothing of ours is installed" in done.stderr
    assert list(private_home.iterdir()) == []
    assert not data_dir().exists()


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["install", "speek", "--dest", "d"], 2, ("speek", "recording-shortcut")),
        (["uninstall", "all"], 2, ("all", "choose from")),
        (["show", "x"], 2, ("choose from",)),
        (["install", "--dest", "d", "--command", "/nowhere/audio2img"], 5, ("/nowhere/audio2img",)),
    ],
)
def test_wrong_commands(
    audio2img: Command, assert_fails: Check, arguments: list[str], exit_code: int, words: tuple[str, ...]
) -> None:
    assert_fails(audio2img("actions", *arguments), exit_code, *words)


def test_list_and_show_are_for_people(audio2img: Command) -> None:
    lines = audio2img("actions", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == NAMES
    assert "“Picture from this recording”" in lines[0]
    script = audio2img("actions", "show", "clipboard").stdout
    assert script.startswith("# audio2img action: clipboard\n")
    assert "pbpaste" in script
