"""Which actions there are."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from audio2img.errors import UsageError

Kind = Literal["quick action", "shortcut"]
Source = Literal["files", "clipboard", "microphone"]

_NAMESPACE = uuid.UUID("6f0f1f0a-3f0e-4c57-9d0b-5b9a6f4d2c11")


@dataclass(frozen=True)
class Action:
    """One thing to press. name: on our command line; title: in the menus of macOS, and of the file.

    source: where its script takes the words from: the files it is given, the clipboard, or the
    microphone, which the script listens to itself.
    records: a shortcut that records first and gives its script the file.
    """

    name: str
    kind: Kind
    title: str
    purpose: str
    source: Source
    records: bool = False

    @property
    def file_name(self) -> str:
        return f"{self.title}.{'workflow' if self.kind == 'quick action' else 'shortcut'}"

    def uuid(self, part: str) -> str:
        """A UUID in Apple's spelling, always the same one for one part: what is made twice is equal."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.name}/{part}")).upper()


ACTIONS = (
    Action(
        "recording",
        "quick action",
        "Picture from this recording",
        "Finder: right-click sound files, Quick Actions",
        "files",
    ),
    Action(
        "clipboard",
        "quick action",
        "Picture from the clipboard text",
        "any app: its menu, Services",
        "clipboard",
    ),
    Action("speak", "quick action", "Speak a picture", "any app: its menu, Services", "microphone"),
    Action(
        "speak-shortcut",
        "shortcut",
        "Speak a picture",
        "Shortcuts, menu bar, Siri: records, then draws",
        "files",
        records=True,
    ),
    Action(
        "recording-shortcut",
        "shortcut",
        "Picture from recording",
        "share sheet, and Quick Actions of Finder",
        "files",
    ),
)


def find_actions(names: Iterable[str]) -> tuple[Action, ...]:
    """The actions of these names, in our order; all of them for none. Raises UsageError for others."""
    wanted = set(names)
    known = {action.name for action in ACTIONS}
    if unknown := wanted - known:
        raise UsageError(
            f"there is no action called {', '.join(sorted(unknown))}",
            f"choose from: {', '.join(action.name for action in ACTIONS)}",
        )
    return tuple(action for action in ACTIONS if not wanted or action.name in wanted)
