"""Reading property lists that may be anybody's."""

from __future__ import annotations

from typing import Any


def parse_plist(data: bytes) -> Any:
    """The content of a property list, XML or binary; None for anything else."""
    import plistlib

    try:
        return plistlib.loads(data)
    except Exception:  # plistlib lets through what expat, struct and its own look-ups raise on damage
        return None
