"""`last` in the place of a picture: the newest one where pictures go."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LAST = "last"


def find_picture(named: str, output: Path) -> str:
    """The path that is meant. output: where pictures go, a folder or a file in it.

    A file that is really called so is named ./last. Raises InputError where there is no picture yet.
    """
    if named != LAST:
        return named
    from audio2img.output import format_of, newest_picture

    return str(newest_picture(output if format_of(output) is None else output.parent))
