"""Install, update and uninstall: what lies in a home afterwards, and what is never touched."""

from __future__ import annotations

import os
import plistlib
import shutil
import time

import pytest

from audio2img.errors import InputError, MachineError
from audio2img.macos import install as actions
from audio2img.macos.actions import ACTIONS, find_actions
from audio2img.macos.install import clear, folder_place, install, live_place, look, uninstall

QUICK, SHORTCUT = find_actions(["recording", "speak-shortcut"])


@pytest.fixture
def command(tmp_path):
    path = tmp_path / "bin" / "audio2img"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def other_command(command):
    path = command.with_name("audio2img-2")
    shutil.copy(command, path)
    return path


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
def test_from_absent_to_absent(tmp_path, command, other_command, action, tree):
    place = folder_place(tmp_path / "dest")
    assert look(action, place, command).state == "absent"
    assert install(action, place, command) == "made"
    assert look(action, place, command) == actions.Found(action, place.path(action), "installed", command)
    before = tree(place.workflows)
    assert install(action, place, command) == "unchanged"
    assert look(action, place, other_command).state == "outdated"
    assert install(action, place, other_command) == "updated"
    assert tree(place.workflows).keys() == before.keys()
    assert look(action, place, None).command == other_command
    other_command.unlink()
    assert look(action, place, None).state == "broken"
    assert install(action, place, command) == "updated"
    assert tree(place.workflows) == before
    assert uninstall(action, place) == place.path(action)
    assert uninstall(action, place) is None
    assert tree(place.workflows) == {}


def test_a_whole_life_in_a_home(mac, command, tree):
    place, home = live_place(), mac.desk.home
    (home / "Library/Services/Mine.workflow/Contents").mkdir(parents=True)
    (home / "Library/Services/Mine.workflow/Contents/Info.plist").write_bytes(plistlib.dumps({}))
    before = tree(home)
    for action in ACTIONS:
        assert install(action, place, command) == "made"
        assert look(action, place, command).state == "installed"
    shortcuts = place.shortcuts.relative_to(home)
    made = {path for path in tree(home).keys() - before.keys() if not (home / path).is_dir()}
    assert made == {
        *(f"Library/Services/{action.title}.workflow/Contents/{name}"
          for action in ACTIONS[:3] for name in ("Info.plist", "document.wflow")),
        *(f"{shortcuts}/{folder}{action.title}.shortcut"
          for action in ACTIONS[3:] for folder in ("", "unsigned/")),
    }  # fmt: skip
    for action in ACTIONS:
        assert uninstall(action, place) is not None
    clear(place)
    after = tree(home)
    left = after.keys() - before.keys()  # folders that others use, too
    assert left <= {str(folder) for folder in list(shortcuts.parents)[1:]}
    assert {path: after[path] for path in before} == before


def test_a_signed_shortcut_lies_beside_what_it_was_made_from(mac, command):
    place = live_place()
    install(SHORTCUT, place, command)
    assert place.path(SHORTCUT).read_bytes() == b"AEA1" + place.source(SHORTCUT).read_bytes()


def test_an_update_is_signed_anew(mac, command, other_command):
    place = live_place()
    install(SHORTCUT, place, command)
    install(SHORTCUT, place, command)
    assert len(mac.desk.calls("shortcuts")) == 1
    install(SHORTCUT, place, other_command)
    assert len(mac.desk.calls("shortcuts")) == 2
    assert str(other_command).encode() in place.path(SHORTCUT).read_bytes()


def test_the_old_shortcut_stays_when_the_new_one_is_not_signed(mac, command, other_command, tree):
    place = live_place()
    install(SHORTCUT, place, command)
    before = tree(place.shortcuts)
    mac.signs("exit 0")
    with pytest.raises(MachineError, match="did not sign"):
        install(SHORTCUT, place, other_command)
    assert tree(place.shortcuts) == before


def test_a_kill_between_signing_and_noting_it_is_mended(mac, command):
    place = live_place()
    install(SHORTCUT, place, command)
    place.source(SHORTCUT).unlink()
    assert look(SHORTCUT, place, command).state == "outdated"
    assert install(SHORTCUT, place, command) == "updated"
    assert look(SHORTCUT, place, command).state == "installed"


def test_a_new_shortcut_that_could_not_be_noted_is_not_taken_for_installed(
    mac, command, other_command, monkeypatch
):
    place = live_place()
    install(SHORTCUT, place, command)
    write = actions.files.replace_file

    def refuse(path, data):
        if path == place.source(SHORTCUT):
            raise OSError(28, "No space left on device")
        write(path, data)

    monkeypatch.setattr(actions.files, "replace_file", refuse)
    with pytest.raises(MachineError, match="No space left"):
        install(SHORTCUT, place, other_command)
    assert look(SHORTCUT, place, command).state == "outdated"


def make_foreign(place, command, how):
    """Something in the place of QUICK that is not ours."""
    path = place.path(QUICK)
    path.parent.mkdir(parents=True, exist_ok=True)
    if how == "of another":
        (path / "Contents").mkdir(parents=True)
        (path / "Contents" / "Info.plist").write_bytes(plistlib.dumps({"NSServices": []}))
        (path / "Contents" / "document.wflow").write_bytes(plistlib.dumps({"actions": []}))
    elif how == "empty":
        path.mkdir()
    elif how == "a file":
        path.write_text("mine")
    elif how == "a link":
        install(QUICK, place, command)
        path.rename(path.with_suffix(".elsewhere"))
        path.symlink_to(path.with_suffix(".elsewhere"))
    elif how == "a dangling link":
        path.symlink_to("nowhere")
    elif how == "with one more step":
        install(QUICK, place, command)
        document = path / "Contents" / "document.wflow"
        table = plistlib.loads(document.read_bytes())
        table["actions"].append({"action": {"ActionName": "Mine"}})
        document.write_bytes(plistlib.dumps(table))


@pytest.mark.parametrize(
    "how", ["of another", "empty", "a file", "a link", "a dangling link", "with one more step"]
)
def test_what_is_not_ours_is_never_touched(tmp_path, command, tree, how):
    place = folder_place(tmp_path / "dest")
    make_foreign(place, command, how)
    before = tree(place.workflows)
    assert look(QUICK, place, command).state == "foreign"
    with pytest.raises(InputError, match="was not made by audio2img") as caught:
        install(QUICK, place, command)
    assert "rename it" in caught.value.remedy
    with pytest.raises(InputError):
        uninstall(QUICK, place)
    clear(place)
    assert tree(place.workflows) == before


def test_the_old_workflow_is_back_when_the_new_one_cannot_take_its_place(
    tmp_path, command, other_command, tree, monkeypatch
):
    place = folder_place(tmp_path / "dest")
    install(QUICK, place, command)
    before = tree(place.workflows)

    def refuse(path, target):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(MachineError, match="cannot write into"):
        install(QUICK, place, other_command)
    assert tree(place.workflows) == before


def test_a_folder_that_cannot_be_one(tmp_path, command):
    (tmp_path / "dest").write_text("a file")
    with pytest.raises(MachineError, match="cannot write into"):
        install(QUICK, folder_place(tmp_path / "dest"), command)


@pytest.mark.skipif(os.name == "nt", reason="needs macOS or Linux")
def test_uninstalling_removes_what_a_kill_left(mac, command):
    place = live_place()
    install(SHORTCUT, place, command)
    install(QUICK, place, command)
    token = "999999999-0123456789abcdef"  # of a process that cannot be
    (place.workflows / f".audio2img-{token}.part" / "Contents").mkdir(parents=True)
    (place.shortcuts / f".audio2img-{token}.part" / "anyone").mkdir(parents=True)
    (place.workflows / ".audio2img-notes" / "Contents").mkdir(parents=True)
    for action in (QUICK, SHORTCUT):
        uninstall(action, place)
    clear(place)
    assert [path.name for path in place.workflows.iterdir()] == [".audio2img-notes"]
    assert not place.shortcuts.exists()


@pytest.mark.skipif(os.name == "nt", reason="needs macOS or Linux")
def test_uninstalling_from_a_chosen_folder_removes_only_what_is_ours_and_old(tmp_path, command):
    """Whatever begins as our temporary names do, but is none of them, was made by somebody else."""
    place = folder_place(tmp_path / "dest")
    install(QUICK, place, command)
    gone, live = 999999999, os.getpid()  # the first is no process that can be
    kept = [
        ".audio2img-notes", ".audio2img-backup.part", f".audio2img-{gone}-0123.part",
        f".audio2img-{gone}-0123456789abcdef.part.txt", f".audio2img-{gone}-{'a' * 16}.part",
        f".audio2img-{live}-{'b' * 16}.part",
    ]  # fmt: skip
    for name in [*kept, f".audio2img-{gone}-{'c' * 16}.part"]:
        (place.workflows / name / "mine").mkdir(parents=True)
        if "aaaa" not in name:  # of a run a moment ago, on another machine perhaps
            hours_ago = time.time() - 2 * 3600
            os.utime(place.workflows / name, (hours_ago, hours_ago))
    uninstall(QUICK, place)
    clear(place)
    assert sorted(path.name for path in place.workflows.iterdir()) == sorted(kept)
    assert all((place.workflows / name / "mine").is_dir() for name in kept)


def test_a_link_in_the_place_of_a_signed_shortcut_is_not_written_through(mac, command, tmp_path):
    place = live_place()
    install(SHORTCUT, place, command)
    target = tmp_path / "mine.txt"
    target.write_text("mine")
    place.path(SHORTCUT).unlink()
    place.path(SHORTCUT).symlink_to(target)
    with pytest.raises(InputError, match="was not made by audio2img"):
        install(SHORTCUT, place, command)
    assert target.read_text() == "mine"
