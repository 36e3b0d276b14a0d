"""The shortcuts as property lists, and their signing by a `shortcuts` that may misbehave."""

from __future__ import annotations

import plistlib
import shutil
import subprocess
from pathlib import Path

import pytest

from audio2img.errors import MachineError
from audio2img.macos import shortcuts, system
from audio2img.macos.actions import find_actions
from audio2img.macos.scripts import build_script

SPEAK, RECORDING = find_actions(["speak-shortcut", "recording-shortcut"])
SCRIPTS = {action: build_script(action, Path("/opt/it's/audio2img")) for action in (SPEAK, RECORDING)}


def read(action):
    return plistlib.loads(shortcuts.shortcut_bytes(action, SCRIPTS[action]))


@pytest.mark.parametrize("action", [SPEAK, RECORDING], ids=lambda action: action.name)
def test_root_keys(action):
    table = read(action)
    assert table["WFWorkflowMinimumClientVersion"] == 900
    assert table["WFWorkflowMinimumClientVersionString"] == "900"
    assert table["WFWorkflowClientVersion"] == "2607.0.2"
    assert table["WFWorkflowImportQuestions"] == []
    assert table["WFWorkflowOutputContentItemClasses"] == []
    icon = table["WFWorkflowIcon"]
    assert {type(icon[name]) for name in ("WFWorkflowIconGlyphNumber", "WFWorkflowIconStartColor")} == {int}


def test_speaking_records_and_hands_the_file_to_the_script():
    record, run = read(SPEAK)["WFWorkflowActions"]
    assert record["WFWorkflowActionIdentifier"] == "is.workflow.actions.recordaudio"
    recording = record["WFWorkflowActionParameters"]
    assert recording["WFRecordingCompression"] == "Normal"
    assert recording["WFRecordingStart"] == "Immediately"
    assert recording["WFRecordingEnd"] == "On Tap"
    assert run["WFWorkflowActionIdentifier"] == "is.workflow.actions.runshellscript"
    step = run["WFWorkflowActionParameters"]
    assert step["Script"] == SCRIPTS[SPEAK]
    assert (step["Shell"], step["InputMode"]) == ("/bin/zsh", "as arguments")
    assert step["Input"]["WFSerializationType"] == "WFTextTokenAttachment"
    assert step["Input"]["Value"]["Type"] == "ActionOutput"
    assert step["Input"]["Value"]["OutputUUID"] == recording["UUID"] != step["UUID"]
    assert read(SPEAK)["WFWorkflowHasShortcutInputVariables"] is False


def test_a_recording_comes_from_the_share_sheet_or_finder():
    table = read(RECORDING)
    (run,) = table["WFWorkflowActions"]
    assert run["WFWorkflowActionParameters"]["Input"]["Value"] == {"Type": "ExtensionInput"}
    assert {"ActionExtension", "QuickActions"} <= set(table["WFWorkflowTypes"])
    assert "Finder" in table["WFQuickActionSurfaces"]
    assert table["WFWorkflowInputContentItemClasses"] == ["WFAVAssetContentItem", "WFGenericFileContentItem"]
    assert table["WFWorkflowHasShortcutInputVariables"] is True


@pytest.mark.parametrize("action", [SPEAK, RECORDING], ids=lambda action: action.name)
def test_plistutil_reads_them(action, tmp_path):
    if shutil.which("plistutil") is None:
        pytest.skip("needs plistutil: apt install libplist-utils")
    (tmp_path / "x.shortcut").write_bytes(shortcuts.shortcut_bytes(action, SCRIPTS[action]))
    command = ["plistutil", "-i", tmp_path / "x.shortcut", "-o", tmp_path / "binary", "-f", "bin"]
    subprocess.run(command, check=True, capture_output=True)
    assert plistlib.loads((tmp_path / "binary").read_bytes()) == read(action)


@pytest.mark.parametrize(
    "data", [b"", b"AEA1\0", plistlib.dumps({}), plistlib.dumps({"WFWorkflowActions": []})]
)
def test_anything_else_has_no_script(data):
    assert shortcuts.script_of(data) == ""


def sign(mac, tmp_path):
    return shortcuts.sign(SPEAK, b"<plist>", tmp_path)


def test_signed_for_anyone_first(mac, tmp_path):
    mac.signs('[ "$(cat "$IN")" = "<plist>" ] && printf "AEA1 $MODE" >"$OUT"')
    assert sign(mac, tmp_path) == b"AEA1 anyone"
    ((_, _, mode, _, source, _, result),) = mac.desk.calls("shortcuts")
    assert (mode, Path(source).name, Path(result).name) == ("anyone", SPEAK.file_name, SPEAK.file_name)
    assert list(tmp_path.glob(".audio2img-*")) == []


@pytest.mark.parametrize(
    "anyone",
    ["exit 1", "exit 0", ': >"$OUT"', 'cat "$IN" >"$OUT"', 'printf half >"$OUT"; exit 1', "kill -9 $$"],
    ids=["refuses", "writes nothing", "writes an empty file", "signs nothing", "fails half-way", "is killed"],
)
def test_when_anyone_does_not_work_people_who_know_me_is_tried(mac, tmp_path, anyone):
    mac.signs(f'if [ "$MODE" = anyone ]; then {anyone}; else printf AEA1 >"$OUT"; fi')
    assert sign(mac, tmp_path) == b"AEA1"
    assert [words[2] for words in mac.desk.calls("shortcuts")] == ["anyone", "people-who-know-me"]


def test_a_signer_that_exits_0_and_writes_nothing_is_noticed(mac, tmp_path):
    mac.signs("exit 0")
    with pytest.raises(
        MachineError, match="anyone: nothing signed was written; people-who-know-me"
    ) as caught:
        sign(mac, tmp_path)
    assert "iCloud" in caught.value.remedy
    assert "audio2img actions show speak-shortcut" in caught.value.remedy
    assert not list(tmp_path.glob(".audio2img-*"))


def test_half_a_file_of_the_first_mode_is_not_taken_for_the_second_ones(mac, tmp_path):
    mac.signs('[ "$MODE" = anyone ] && printf half >"$OUT" && exit 1; exit 0')
    with pytest.raises(MachineError, match="people-who-know-me: nothing signed was written"):
        sign(mac, tmp_path)


def test_a_signer_that_never_returns_is_given_up(mac, tmp_path, monkeypatch):
    monkeypatch.setattr(system, "SIGN_LIMIT_S", 0.2)
    mac.signs("exec sleep 60")
    with pytest.raises(MachineError, match="shortcuts did not return within"):
        sign(mac, tmp_path)


def test_the_words_of_the_signer_are_told(mac, tmp_path):
    mac.signs('echo "Error: not signed in to iCloud" >&2; exit 1')
    with pytest.raises(MachineError, match="shortcuts ended with 1: Error: not signed in to iCloud"):
        sign(mac, tmp_path)


def test_a_mac_without_shortcuts(mac, tmp_path):
    (mac.desk.bin / "shortcuts").unlink()
    with pytest.raises(MachineError, match="cannot be run: No such file"):
        sign(mac, tmp_path)
