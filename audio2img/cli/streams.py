"""Standard input, output and error: open, in an encoding that prints every text, harmless to a terminal.

All that is printed, by whomever, passes here: nobody has to remember to clean a name before printing it.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from collections.abc import Callable
from typing import IO, Any, TextIO

from audio2img.cli.text import clean
from audio2img.errors import InputError, MachineError

ERRORS = "audio2img"  # the name of our way with characters that an encoding lacks
WORDS_LIMIT = 1 << 20  # characters of text that are read from standard input


class ReaderGone(Exception):  # noqa: N818
    """Whoever read our output has gone, as `head` does: nothing more is wanted."""


class ResultsLostError(MachineError):
    """Standard output takes nothing more."""


class Outlet(io.TextIOBase):
    """What stands for sys.stdout and sys.stderr.

    Text for people is cleaned: all of stderr, and stdout on a terminal; a program at the other end of
    stdout gets every character as it is. Where stdout cannot be written, MachineError or ReaderGone is
    raised; what stderr cannot take is lost, and the work goes on.

    It has no file number: click would go around it on a Windows console.
    """

    def __init__(self, stream: TextIO, is_results: bool) -> None:
        self.stream = stream
        self._is_results = is_results
        self._is_for_people = not is_results or stream.isatty()
        self._is_lost = False
        self._why_lost: MachineError | ReaderGone | None = None

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"text is printed, not {type(text).__name__}")
        if text:
            if self._why_lost is not None:
                raise self._why_lost
            self._try(lambda: self.stream.write(clean(text) if self._is_for_people else text))
        return len(text)

    def flush(self) -> None:
        self._try(self.stream.flush)

    def isatty(self) -> bool:
        return self.stream.isatty()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.stream.errors

    def _try(self, act: Callable[[], Any]) -> None:
        if self._is_lost:
            return
        try:
            act()
        except OSError as error:
            self._give_up()
            if self._is_results:
                self._why_lost = _why_lost(error)
                raise self._why_lost from error

    def _give_up(self) -> None:
        """Let what is still in the buffer go nowhere, of which Python would complain at the end."""
        self._is_lost = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())
        os.close(nowhere)


def _why_lost(error: OSError) -> MachineError | ReaderGone:
    if error.errno == errno.EPIPE or (sys.platform == "win32" and error.errno == errno.EINVAL):
        return ReaderGone()
    return ResultsLostError(
        f"standard output cannot be written: {error.strerror}", "make room, or send it elsewhere"
    )


def prepare_streams() -> None:
    """Have all three streams open, print every text, and read and write UTF-8 in pipes on Windows.

    There Python would take the code page of the country (until 3.15, PEP 686), in which no JSON is, nor
    what another command of ours has written. PYTHONIOENCODING chooses another.
    """
    codecs.register_error(ERRORS, _give_way)
    _reopen_closed()
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding=_encoding(sys.stdin), errors="strict")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=_encoding(stream), errors=ERRORS)
    if not isinstance(sys.stdout, Outlet):
        sys.stdout = Outlet(sys.stdout, is_results=True)
    if not isinstance(sys.stderr, Outlet):
        sys.stderr = Outlet(sys.stderr, is_results=False)


def bare_stderr() -> IO[str]:
    """Standard error for those who steer the terminal, and clean what they print by themselves."""
    return sys.stderr.stream if isinstance(sys.stderr, Outlet) else sys.stderr


def read_words() -> str:
    """The text at standard input. Raises InputError for what is no text, or more than a megabyte of it."""
    try:
        text = sys.stdin.read(WORDS_LIMIT + 1)
    except UnicodeDecodeError as error:
        raise InputError(
            f"standard input is not text in {sys.stdin.encoding.upper()} (byte {error.start:,} on)",
            "give the words in UTF-8, or on the command line",
        ) from error
    except OSError as error:
        raise InputError(
            f"standard input cannot be read: {error.strerror}", "give the words as TEXT"
        ) from error
    if len(text) > WORDS_LIMIT:
        raise InputError("standard input is longer than a megabyte of text", "give fewer words")
    return text


def _reopen_closed() -> None:
    """A stream that was closed (`<&-`, `2>&-`) is open to nowhere: no file of ours takes its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def _encoding(stream: TextIO) -> str:
    is_free = sys.platform == "win32" and not stream.isatty() and not os.environ.get("PYTHONIOENCODING")
    return "utf-8" if is_free else stream.encoding


def _give_way(error: UnicodeError) -> tuple[str | bytes, int]:
    """The bytes of a file name that were no text are printed as they are; other characters escaped."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeEncodeError:
        return codecs.lookup_error("backslashreplace")(error)
