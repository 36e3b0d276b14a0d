"""The property lists of the Quick Actions, against a description of what macOS needs of them."""

from __future__ import annotations

import plistlib
import shutil
import subprocess

import pytest

from audio2img.macos import automator
from audio2img.macos.actions import ACTIONS, find_actions
from audio2img.macos.install import folder_place, install
from audio2img.macos.scripts import build_script

QUICK = [action for action in ACTIONS if action.kind == "quick action"]
NOTHING = "com.apple.Automator.nothing"
SOUND = "com.apple.Automator.fileSystemObject.audio"


@pytest.fixture
def installed(tmp_path):
    """installed(action): the folder of its workflow on disk, calling a program with a name that hurts."""

    def make(action):
        command = tmp_path / 'Zoë\'s <bin> & "more"' / "audio2img"
        command.parent.mkdir()
        command.write_text("#!/bin/sh\n")
        command.chmod(0o755)
        place = folder_place(tmp_path / "services")
        install(action, place, command)
        return place.path(action), build_script(action, command)

    return make


def matches(found, wanted, where=""):
    """`found` has every key that `wanted` has, with that value and that type; a type stands for any value."""
    if isinstance(wanted, dict):
        assert isinstance(found, dict), where
        for key, value in wanted.items():
            assert key in found, f"{where}.{key} is missing"
            matches(found[key], value, f"{where}.{key}")
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), where
        for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
            matches(one, other, f"{where}[{number}]")
    elif isinstance(wanted, type):
        assert type(found) is wanted, where
    else:
        assert (type(found), found) == (type(wanted), wanted), where


STRINGS = {"Container": "List", "Types": ["com.apple.cocoa.string"]}
UUIDS = {"InputUUID": str, "OutputUUID": str, "UUID": str}
PARAMETERS = ("COMMAND_STRING", "CheckedForUserDefaultShell", "inputMethod", "shell", "source")


def document_wanted(script, taken, mode):
    return {
        "AMApplicationBuild": "523",
        "AMApplicationVersion": "2.10",
        "AMDocumentVersion": "2",
        "connectors": {},
        "actions": [
            {
                "isViewVisible": 1,
                "action": {
                    "AMAccepts": {**STRINGS, "Optional": True},
                    "AMProvides": STRINGS,
                    "AMActionVersion": "2.0.3",
                    "AMApplication": ["Automator"],
                    "AMParameterProperties": {name: {} for name in PARAMETERS},
                    "ActionBundlePath": "/System/Library/Automator/Run Shell Script.action",
                    "ActionName": "Run Shell Script",
                    "ActionParameters": {
                        "COMMAND_STRING": script,
                        "CheckedForUserDefaultShell": True,
                        "inputMethod": 1,
                        "shell": "/bin/zsh",
                        "source": "",
                    },
                    "BundleIdentifier": "com.apple.RunShellScript",
                    "CFBundleVersion": "2.0.3",
                    "Class Name": "RunShellScriptAction",
                    "Category": ["AMCategoryUtilities"],
                    "UnlocalizedApplications": ["Automator"],
                    "arguments": {
                        number: {
                            "default value": kind,
                            "name": str,
                            "required": "0",
                            "type": "0",
                            "uuid": number,
                        }
                        for number, kind in zip("01234", (int, bool, str, str, str), strict=True)
                    },
                    "nibPath": str,
                    "location": str,
                    **UUIDS,
                },
            }
        ],
        "workflowMetaData": {
            "workflowTypeIdentifier": "com.apple.Automator.servicesMenu",
            "serviceInputTypeIdentifier": taken,
            "serviceOutputTypeIdentifier": NOTHING,
            "serviceProcessesInput": 0,
            "inputTypeIdentifier": taken,
            "outputTypeIdentifier": NOTHING,
            "processesInput": 0,
            "presentationMode": mode,
            "useAutomaticInputType": 0,
        },
    }


@pytest.mark.parametrize("action", QUICK, ids=lambda action: action.name)
def test_the_document_has_what_macos_needs(installed, action):
    folder, script = installed(action)
    document = plistlib.loads((folder / "Contents" / "document.wflow").read_bytes())
    taken, mode = (SOUND, 15) if action.name == "recording" else (NOTHING, 11)
    matches(document, document_wanted(script, taken, mode))
    application = document["workflowMetaData"].get("serviceApplicationBundleID")
    assert application == ("com.apple.finder" if action.name == "recording" else None)
    (step,) = document["actions"]
    assert len({step["action"][name] for name in UUIDS}) == 3


@pytest.mark.parametrize("action", QUICK, ids=lambda action: action.name)
def test_the_service_is_offered_where_it_should_be(installed, action):
    folder, _ = installed(action)
    (service,) = plistlib.loads((folder / "Contents" / "Info.plist").read_bytes())["NSServices"]
    wanted = {"NSMenuItem": {"default": folder.stem}, "NSMessage": "runWorkflowAsService"}
    if action.name == "recording":
        wanted["NSSendFileTypes"] = ["public.audio"]
        wanted["NSRequiredContext"] = {"NSApplicationIdentifier": "com.apple.finder"}
    assert service == wanted


@pytest.mark.parametrize("action", QUICK, ids=lambda action: action.name)
def test_plistutil_reads_them(installed, action, tmp_path):
    """libplist, an implementation of the format that is not Python's."""
    if shutil.which("plistutil") is None:
        pytest.skip("needs plistutil: apt install libplist-utils")
    folder, _ = installed(action)
    for name in ("Info.plist", "document.wflow"):
        path, binary = folder / "Contents" / name, tmp_path / "binary"
        assert path.read_bytes().startswith(b"<?xml")
        subprocess.run(["plistutil", "-i", path, "-o", binary, "-f", "bin"], check=True, capture_output=True)
        assert binary.read_bytes().startswith(b"bplist00")
        assert plistlib.loads(binary.read_bytes()) == plistlib.loads(path.read_bytes())


def test_it_is_the_same_when_made_again():
    (action,) = find_actions(["recording"])
    assert automator.workflow_files(action, "x") == automator.workflow_files(action, "x")


@pytest.mark.parametrize(
    "document",
    [b"", b"<plist>", b"bplist00", b"\xff", plistlib.dumps([]), plistlib.dumps({"actions": []}),
     plistlib.dumps({"actions": [{}, {}]}), plistlib.dumps({"actions": [{"action": 3}]}),
     plistlib.dumps({"actions": 5}), b"<?xml version='1.0'?><plist><dict><key>a</dict></plist>"],
)  # fmt: skip
def test_any_other_document_has_no_script_of_ours(document):
    assert automator.script_of({automator.DOCUMENT: document}) == ""
