"""How a command ends: the exit code, and the one line a person reads when it failed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from audio2img.cli.streams import ReaderGone, ResultsLostError
from audio2img.cli.text import clean_json, shorten
from audio2img.errors import Audio2ImgError, CancelledError, InputError, MachineError, NothingToDrawError
from audio2img.faults import as_told
from audio2img.wording import as_options, as_typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

INTERRUPTED = 130


class Outcome:
    """Turns whatever ends a command into an exit code and at most one line on stderr.

    leaves_work: a step that could not be stopped is still running.

    It travels as the click context's `obj`; `--verbose` sets `verbose` and so asks for tracebacks.
    origins: of settings whose values were not given on the command line, where they come from, by name.
    as_json: the line is a JSON object, {"error": {"message", "remedy", "exit_code"}}; with "source" where it
    is about one of several.
    """

    def __init__(self, as_json: bool = False) -> None:
        self.exit_code = 0
        self.verbose = False
        self.leaves_work = False
        self.origins: Mapping[str, str] = {}
        self.as_json = as_json

    def __enter__(self) -> Outcome:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None or isinstance(error, SystemExit):
            return False
        if self.verbose and not isinstance(error, (click.ClickException, ReaderGone)):
            import traceback

            traceback.print_exception(error)
        with _deaf_to_interrupts():
            self.exit_code = self._settle(error)
        return True

    @classmethod
    def of_this_command(cls) -> Outcome:
        return click.get_current_context().find_object(cls) or cls()

    @contextmanager
    def survives(
        self, source: str, complain: Callable[[str], None], is_patient: bool = False
    ) -> Iterator[None]:
        """Around the work on one of several sources: what is wrong with that one ends nothing.

        It is said with `complain`, and the command will end with the exit code of the first of them. What
        is wrong with more than the source is raised, such as a model; a full disk too, unless `is_patient`:
        there may be room again for the next one.
        """
        try:
            yield
        except (InputError, NothingToDrawError, MachineError) as error:
            if isinstance(error, ResultsLostError) or (isinstance(error, MachineError) and not is_patient):
                raise
            if self.verbose:
                import traceback

                complain("".join(traceback.format_exception(error)).rstrip())
            line = self._write(self._with_origin(error), as_options(error.remedy), error.exit_code, source)
            complain(line)
            self.exit_code = self.exit_code or error.exit_code

    def _settle(self, error: BaseException) -> int:
        if isinstance(error, ReaderGone):
            return 0
        if isinstance(error, (KeyboardInterrupt, click.Abort)):
            return self._say("stopped", "", INTERRUPTED)
        if isinstance(error, click.exceptions.NoArgsIsHelpError):
            click.echo(error.format_message(), err=True)
            return error.exit_code
        if isinstance(error, click.UsageError):
            remedy = f"see: {error.ctx.command_path} --help" if error.ctx else ""
            return self._say(error.format_message().rstrip("."), remedy, 2)
        if isinstance(error, click.ClickException):
            return self._say(error.format_message(), "", error.exit_code)
        if isinstance(error, CancelledError):
            self.leaves_work = error.leaves_work
        told = as_told(error)
        return self._say(self._with_origin(told), as_options(told.remedy), told.exit_code)

    def _with_origin(self, error: Audio2ImgError) -> str:
        """The message; where it is about a value that was set elsewhere, with the place to change it."""
        origin = self.origins.get(error.setting)
        if origin is None:
            return as_options(error.message)
        return f"{error.message.replace('`', '')} ({error.setting} is set by {origin})"

    def _say(self, message: str, remedy: str, exit_code: int) -> int:
        click.echo(self._write(message, remedy, exit_code), err=True)
        return exit_code

    def _write(self, message: str, remedy: str, exit_code: int, source: str | None = None) -> str:
        """The line. source: which of several it is about."""
        message, remedy = (shorten(" ".join(text.split())) for text in (message, as_typed(remedy)))
        if self.as_json:
            import json

            table = {"message": message, "remedy": remedy, "exit_code": exit_code}
            if source is not None:
                table["source"] = source
            return clean_json(json.dumps({"error": table}, ensure_ascii=False))
        if source is not None and source not in message:
            message = shorten(f"{source}: {message}")
        return f"audio2img: {message}{f' — {remedy}' if remedy else ''}"


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """How a command ended is said to the end, however often Ctrl-C is pressed; after that another press ends
    the process without a word."""
    import signal
    import threading

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
