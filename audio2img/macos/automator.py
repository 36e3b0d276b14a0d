"""A Quick Action of Automator: a folder NAME.workflow with two XML property lists.

Keys and values are those that Automator writes for a Quick Action with one "Run Shell Script"
action, as found in workflows published by others (niceview/mac-finder-quick-actions,
antoni/dotfiles). Not seen on a Mac by us: `audio2img doctor` has macOS itself look there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audio2img.macos.actions import Action
from audio2img.macos.plists import parse_plist

CONTENTS = "Contents"
INFO = "Info.plist"
DOCUMENT = "document.wflow"

_AS_ARGUMENTS = 1  # 0 would give the input to standard input
_NOTHING = "com.apple.Automator.nothing"
_SOUND_FILES = "com.apple.Automator.fileSystemObject.audio"
_BUNDLE = "/System/Library/Automator/Run Shell Script.action"


def workflow_files(action: Action, script: str) -> dict[str, bytes]:
    """The files inside the workflow's Contents folder: name -> XML property list."""
    import plistlib

    return {
        INFO: plistlib.dumps(_info(action)),
        DOCUMENT: plistlib.dumps(_document(action, script)),
    }


def read_workflow(folder: Path) -> dict[str, bytes]:
    """The same of a workflow on disk, whoever made it. Raises OSError when a file cannot be read."""
    return {name: (folder / CONTENTS / name).read_bytes() for name in (INFO, DOCUMENT)}


def script_of(files: dict[str, bytes]) -> str:
    """The shell script of a workflow with one action; "" for any other."""
    try:
        (step,) = parse_plist(files[DOCUMENT])["actions"]
        return str(step["action"]["ActionParameters"]["COMMAND_STRING"])
    except (LookupError, TypeError, ValueError):
        return ""


def _info(action: Action) -> dict[str, Any]:
    """What makes it a service: its place in the menus, and what it is offered for."""
    service: dict[str, Any] = {
        "NSMenuItem": {"default": action.title},
        "NSMessage": "runWorkflowAsService",
    }
    if action.source == "files":
        service["NSSendFileTypes"] = ["public.audio"]
        service["NSRequiredContext"] = {"NSApplicationIdentifier": "com.apple.finder"}
    return {"NSServices": [service]}


def _document(action: Action, script: str) -> dict[str, Any]:
    return {
        "AMApplicationBuild": "523",
        "AMApplicationVersion": "2.10",
        "AMDocumentVersion": "2",
        "actions": [{"action": _run_shell_script(action, script), "isViewVisible": 1}],
        "connectors": {},
        "workflowMetaData": _meta_data(action),
    }


def _run_shell_script(action: Action, script: str) -> dict[str, Any]:
    strings = {"Container": "List", "Types": ["com.apple.cocoa.string"]}
    parameters = {
        "COMMAND_STRING": script,
        "CheckedForUserDefaultShell": True,
        "inputMethod": _AS_ARGUMENTS,
        "shell": "/bin/zsh",
        "source": "",
    }
    return {
        "AMAccepts": {**strings, "Optional": True},
        "AMActionVersion": "2.0.3",
        "AMApplication": ["Automator"],
        "AMParameterProperties": {name: {} for name in parameters},
        "AMProvides": strings,
        "ActionBundlePath": _BUNDLE,
        "ActionName": "Run Shell Script",
        "ActionParameters": parameters,
        "BundleIdentifier": "com.apple.RunShellScript",
        "CFBundleVersion": "2.0.3",
        "CanShowSelectedItemsWhenRun": False,
        "CanShowWhenRun": True,
        "Category": ["AMCategoryUtilities"],
        "Class Name": "RunShellScriptAction",
        "InputUUID": action.uuid("input"),
        "Keywords": ["Shell", "Script", "Command", "Run", "Unix"],
        "OutputUUID": action.uuid("output"),
        "UUID": action.uuid("action"),
        "UnlocalizedApplications": ["Automator"],
        "arguments": _arguments(),
        "isViewVisible": 1,
        "location": "309.000000:305.000000",
        "nibPath": f"{_BUNDLE}/Contents/Resources/Base.lproj/main.nib",
    }


def _arguments() -> dict[str, Any]:
    """How the action describes its own parameters."""
    defaults = {
        "inputMethod": 0,
        "CheckedForUserDefaultShell": False,
        "source": "",
        "COMMAND_STRING": "",
        "shell": "/bin/sh",
    }
    return {
        str(number): {
            "default value": default,
            "name": name,
            "required": "0",
            "type": "0",
            "uuid": str(number),
        }
        for number, (name, default) in enumerate(defaults.items())
    }


def _meta_data(action: Action) -> dict[str, Any]:
    """What Automator and the runner of services go by; wrong, the item shows and silently does nothing."""
    takes_files = action.source == "files"
    taken = _SOUND_FILES if takes_files else _NOTHING
    meta: dict[str, Any] = {
        "inputTypeIdentifier": taken,
        "outputTypeIdentifier": _NOTHING,
        "presentationMode": 15 if takes_files else 11,
        "processesInput": 0,
        "serviceInputTypeIdentifier": taken,
        "serviceOutputTypeIdentifier": _NOTHING,
        "serviceProcessesInput": 0,
        "useAutomaticInputType": 0,
        "workflowTypeIdentifier": "com.apple.Automator.servicesMenu",
    }
    if takes_files:
        meta["serviceApplicationBundleID"] = "com.apple.finder"
    return meta
