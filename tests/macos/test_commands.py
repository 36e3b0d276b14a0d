"""`audio2img actions` and the doctor's lines on a Mac: the real commands, recorders for macOS's programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audio2img.cli import main
from audio2img.diagnosis.mac_actions import HARD_TEXT, check_dialogs, check_quick_actions, check_shortcuts
from audio2img.macos.install import live_place

QUICK_TITLES = ("Picture from this recording", "Picture from the clipboard text", "Speak a picture")


@pytest.fixture
def audio2img(mac, capsys):
    """audio2img(argument, ...) -> (exit code, stdout, stderr), in this process, which is a Mac."""

    def call(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(
                [
                    *arguments,
                    *(["--command", str(mac.desk.bin / "audio2img")] if "install" in arguments else []),
                ]
            )
        said = capsys.readouterr()
        return end.value.code, said.out, said.err

    return call


def test_install_signs_offers_and_registers(mac, audio2img):
    code, out, err = audio2img("actions", "install")
    assert code == 0, err
    paths = [Path(line) for line in out.splitlines()]
    assert len(paths) == 5
    assert all(path.exists() for path in paths)
    assert [path.parent for path in paths[:3]] == [mac.desk.home / "Library" / "Services"] * 3
    assert mac.desk.calls("pbs") == [["-update"]]
    assert mac.desk.calls("open") == [[str(path)] for path in paths[3:]]
    assert [words[0] for words in mac.desk.calls("shortcuts")] == ["sign", "sign", "list"]
    assert "press Add Shortcut" in err
    assert "Allow Running Scripts" in err


def test_what_is_up_to_date_is_left_in_peace(mac, audio2img):
    audio2img("actions", "install")
    mac.library.write_text("Speak a picture\nOther\n")
    mac.desk.notes.unlink()
    code, _, err = audio2img("actions", "install")
    assert (code, err.count("unchanged: ")) == (0, 5)
    assert mac.desk.calls("pbs") == []
    assert [Path(words[0]).stem for words in mac.desk.calls("open")] == ["Picture from recording"]


def test_a_shortcut_that_was_not_added_waits(mac, audio2img):
    audio2img("actions", "install")
    mac.library.write_text("Speak a picture\n")
    tables = json.loads(audio2img("actions", "list", "--json")[1])
    assert [table["state"] for table in tables] == [*["installed"] * 4, "waits"]


def test_a_signer_that_writes_nothing_leaves_the_quick_actions(mac, audio2img):
    mac.signs("exit 0")
    code, out, err = audio2img("actions", "install")
    assert code == 5
    assert len(out.splitlines()) == 3
    assert mac.desk.calls("pbs") == [["-update"]]
    assert mac.desk.calls("open") == []
    last = err.splitlines()[-1]
    assert last.startswith(
        "audio2img: not made: shortcut “Speak a picture”, shortcut “Picture from recording”: "
    )
    assert "nothing signed was written" in last
    tables = json.loads(audio2img("actions", "list", "--json")[1])
    assert [table["state"] for table in tables] == [*["installed"] * 3, "absent", "absent"]


def test_programs_that_refuse_are_told_and_do_no_harm(mac, audio2img):
    mac.desk.put("open", "echo 'no application' >&2; exit 1")
    mac.desk.put("pbs", "exit 1")
    code, out, err = audio2img("actions", "install")
    assert (code, len(out.splitlines())) == (0, 5)
    assert "not opened (open ended with 1: no application)" in err
    assert "log out and in" in err


def test_uninstall_leaves_the_home_as_it_was(mac, audio2img, tree):
    (mac.desk.home / "Library" / "Services").mkdir(parents=True)
    (mac.desk.home / ".local" / "share").mkdir(parents=True)
    before = tree(mac.desk.home)
    audio2img("actions", "install")
    mac.library.write_text("Speak a picture\n")
    code, out, err = audio2img("actions", "uninstall")
    assert (code, len(out.splitlines())) == (0, 5)
    assert mac.desk.calls("pbs") == [["-update"]] * 2
    assert "delete “Speak a picture” in the Shortcuts app yourself" in err
    assert "Picture from recording” in the Shortcuts app" not in err
    assert tree(mac.desk.home) == before


def test_a_dry_run_asks_macos_for_nothing(mac, audio2img, tree):
    before = tree(mac.desk.home)
    code, out, _ = audio2img("actions", "install", "--dry-run")
    assert (code, len(out.splitlines())) == (0, 5)
    assert tree(mac.desk.home) == before
    assert not mac.desk.notes.exists()


def healthy(mac):
    mac.desk.put("pbs", "echo " + " ".join(f"'{title}'" for title in QUICK_TITLES))
    mac.library.write_text("Speak a picture\nPicture from recording\n")


def test_doctor_is_content(mac, audio2img):
    audio2img("actions", "install")
    healthy(mac)
    quick, shortcuts = check_quick_actions(), check_shortcuts()
    assert (quick.state, shortcuts.state) == ("ok", "ok"), (quick, shortcuts)
    assert quick.detail == f"3 of 3 installed; they call {mac.desk.bin / 'audio2img'}"
    assert ["-dump_pboard"] in mac.desk.calls("pbs")
    assert {words[0] for words in mac.desk.calls("plutil")} == {"-lint"}
    assert ["--version"] in mac.desk.calls("audio2img")


def test_doctor_before_anything_is_installed(mac):
    for check in (check_quick_actions(), check_shortcuts()):
        assert (check.state, check.detail, check.remedy) == (
            "note", "none installed", "run: audio2img actions install",
        )  # fmt: skip


def test_doctor_finds_what_is_wrong(mac, audio2img):
    audio2img("actions", "install")
    healthy(mac)
    mac.desk.put("pbs", "echo Speak a picture")
    check = check_quick_actions()
    assert "does not list “Picture from this recording”" in check.detail
    assert "log out and in" in check.remedy
    mac.desk.put("plutil", "echo 'Unexpected character' >&2; exit 1")
    assert "Picture from this recording.workflow: plutil ended with 1" in check_quick_actions().detail
    mac.desk.put("audio2img", "echo broken >&2; exit 1")
    assert "does not run without an environment" in check_quick_actions().detail
    (mac.desk.bin / "audio2img").unlink()
    check = check_quick_actions()
    assert (check.state, check.is_needed) == ("note", False)
    assert "“Speak a picture” is broken" in check.detail
    assert check.remedy == "run: audio2img actions install"
    assert "“Speak a picture” is broken" in check_shortcuts().detail


def test_doctor_names_shortcuts_that_wait(mac, audio2img):
    audio2img("actions", "install")
    assert "not added in the Shortcuts app yet: “Speak a picture”" in check_shortcuts().detail
    mac.desk.put("shortcuts", "exit 1")
    assert "does not answer" in check_shortcuts().detail
    (live_place().shortcuts / "Speak a picture.shortcut").unlink()


def test_doctor_tries_the_quoting_of_dialogs(mac):
    mac.desk.put("osascript", "printf '%s\\n' \"$8\"")
    assert check_dialogs().state == "ok"
    assert mac.desk.calls("osascript")[0][-2:] == ["audio2img", HARD_TEXT]
    mac.desk.put("osascript", "echo execution error")
    assert check_dialogs().state == "note"
