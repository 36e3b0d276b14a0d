"""Every failure a person can meet, with its exit code and what to do next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Audio2ImgError(Exception):
    """A fault with a remedy: `message` says what happened to what, `remedy` what to run or try next.

    remedy: may be given as a function, where it takes time to find and not everybody reads it.
    setting: the name of the setting whose value is at fault, of `config.Settings`; whoever has read the
    settings can then say where that value came from.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str | Callable[[], str] = "", *, setting: str = "") -> None:
        super().__init__(message)
        self.message = message
        self._remedy = remedy
        self.setting = setting

    @property
    def remedy(self) -> str:
        if not isinstance(self._remedy, str):
            self._remedy = self._remedy()
        return self._remedy


class UsageError(Audio2ImgError):
    """The command or call was put together wrongly."""

    exit_code = 2


class NothingToDrawError(Audio2ImgError):
    """Silence, noise, or no words left to draw."""

    exit_code = 3


class ModelError(Audio2ImgError):
    """A model is missing, unknown or damaged."""

    exit_code = 4


class MachineError(Audio2ImgError):
    """This machine lacks what was asked for: a package, a device, memory, disk space, a permission."""

    exit_code = 5


class InputError(Audio2ImgError):
    """The input cannot be read, or is not what it claims to be."""

    exit_code = 6


class CancelledError(Audio2ImgError):
    """The person at the keyboard stopped it.

    leaves_work: something that could not be stopped is still running, so that the process has to end.
    """

    exit_code = 130
    leaves_work = False


def reason_of(error: Exception) -> str:
    """Why something failed, as the end of a sentence: of an OSError without its number and its path."""
    return getattr(error, "strerror", None) or str(error)


@contextmanager
def about_setting(name: str) -> Iterator[None]:
    """What fails inside is the fault of this setting's value."""
    try:
        yield
    except Audio2ImgError as error:
        error.setting = error.setting or name
        raise
