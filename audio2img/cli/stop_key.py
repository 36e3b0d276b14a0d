"""Enter or Ctrl-D ends the listening, where a person sits at a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

Stop = Callable[[], bool]


def stop_key() -> Stop:
    """A function that tells whether Enter or Ctrl-D was pressed since; it never waits.

    Without a terminal at standard input, as in a Shortcut, it always says no.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        return lambda: False
    return _pressed_on_windows if sys.platform == "win32" else _pressed


def _pressed() -> bool:
    import select

    file = sys.stdin.fileno()
    if not select.select([file], [], [], 0)[0]:
        return False
    os.read(file, 4096)  # a terminal hands over whole lines, and nothing at all for Ctrl-D
    return True


def _pressed_on_windows() -> bool:
    import importlib

    console = importlib.import_module("msvcrt")
    pressed = False
    while console.kbhit():
        pressed = console.getwch() in ("\r", "\n", "\x04", "\x1a") or pressed
    return pressed
