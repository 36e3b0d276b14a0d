"""A shortcut: a property list, which the Shortcuts app takes only when a Mac has signed it.

Keys as electrikmilk/cherri writes them. Not seen on a Mac by us.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audio2img.errors import MachineError
from audio2img.files import temporary_folder
from audio2img.macos import system
from audio2img.macos.actions import Action
from audio2img.macos.plists import parse_plist

# "anyone" needs iCloud; what "people-who-know-me" signs is taken on the Macs of the same person.
SIGNING_MODES = ("anyone", "people-who-know-me")

_MEDIA = ["WFAVAssetContentItem", "WFGenericFileContentItem"]
_GLYPH, _COLOUR = 59511, 4282601983


def shortcut_bytes(action: Action, script: str) -> bytes:
    """The unsigned shortcut, an XML property list."""
    import plistlib

    recording = {"Type": "ActionOutput", "OutputUUID": action.uuid("record"), "OutputName": "Recorded Audio"}
    steps = [_step("runshellscript", _shell(action, script, {"Type": "ExtensionInput"}))]
    if action.records:
        record = {
            "UUID": action.uuid("record"),
            "WFRecordingCompression": "Normal",
            "WFRecordingStart": "Immediately",
            "WFRecordingEnd": "On Tap",
        }
        steps = [
            _step("recordaudio", record),
            _step("runshellscript", _shell(action, script, recording)),
        ]
    return plistlib.dumps(_shortcut(action, steps))


def script_of(data: bytes) -> str:
    """The shell script of an unsigned shortcut; "" for anything else."""
    try:
        step = parse_plist(data)["WFWorkflowActions"][-1]
        return str(step["WFWorkflowActionParameters"]["Script"])
    except (LookupError, TypeError):
        return ""


def sign(action: Action, data: bytes, folder: Path) -> bytes:
    """The signed form of `data`, made by the `shortcuts` of this Mac; `folder` is for its files meanwhile.

    Raises MachineError when no mode gives a signed file: the program may refuse, never return, or end
    well and write nothing.
    """
    said = []
    with temporary_folder(folder) as desk:
        # The name of the file becomes the name of the shortcut, and the program asks for .shortcut.
        unsigned = Path(desk, action.file_name)
        unsigned.write_bytes(data)
        for mode in SIGNING_MODES:
            signed = Path(desk, mode, action.file_name)
            signed.parent.mkdir()
            answer = system.ask(
                system.SHORTCUTS,
                *("sign", "--mode", mode, "--input", unsigned, "--output", signed),
                limit_s=system.SIGN_LIMIT_S,
            )
            result = signed.read_bytes() if signed.is_file() else b""
            if answer.ok and result and result != data:
                return result
            said.append(f"{mode}: {answer.text if not answer.ok else 'nothing signed was written'}")
    raise MachineError(
        f"this Mac did not sign the shortcut ({'; '.join(said)})",
        "sign in to iCloud in System Settings and install it again, or build it by hand around: "
        f"audio2img actions show {action.name}",
    )


def _step(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {
        "WFWorkflowActionIdentifier": f"is.workflow.actions.{name}",
        "WFWorkflowActionParameters": parameters,
    }


def _shell(action: Action, script: str, source: dict[str, str]) -> dict[str, Any]:
    return {
        "UUID": action.uuid("script"),
        "Script": script,
        "Shell": "/bin/zsh",
        "InputMode": "as arguments",
        "Input": {"Value": source, "WFSerializationType": "WFTextTokenAttachment"},
    }


def _shortcut(action: Action, steps: list[dict[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {
        "WFQuickActionSurfaces": [],
        "WFWorkflowActions": steps,
        "WFWorkflowClientVersion": "2607.0.2",
        "WFWorkflowHasShortcutInputVariables": not action.records,
        "WFWorkflowIcon": {"WFWorkflowIconGlyphNumber": _GLYPH, "WFWorkflowIconStartColor": _COLOUR},
        "WFWorkflowImportQuestions": [],
        "WFWorkflowInputContentItemClasses": [],
        "WFWorkflowMinimumClientVersion": 900,
        "WFWorkflowMinimumClientVersionString": "900",
        "WFWorkflowOutputContentItemClasses": [],
        "WFWorkflowTypes": ["MenuBar", "WFWorkflowTypeShowInSearch"],
    }
    if not action.records:  # the share sheet is ActionExtension; run alone, it asks for a file
        table["WFQuickActionSurfaces"] = ["Finder", "Services"]
        table["WFWorkflowInputContentItemClasses"] = list(_MEDIA)
        table["WFWorkflowTypes"] = ["ActionExtension", "QuickActions", "WFWorkflowTypeShowInSearch"]
        table["WFWorkflowNoInputBehavior"] = {
            "Name": "WFWorkflowNoInputBehaviorAskForInput",
            "Parameters": {"ItemClass": "WFGenericFileContentItem"},
        }
    return table
