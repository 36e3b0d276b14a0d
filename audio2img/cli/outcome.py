"""How a command ends: the exit code, and the one line a person reads when it failed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType

import click

from audio2img.cli.wording import as_options
from audio2img.errors import Audio2ImgError, CancelledError

INTERRUPTED = 130


class Outcome:
    """Turns whatever ends a command into an exit code and at most one line on stderr.

    leaves_work: a step that could not be stopped is still running.

    It travels as the click context's `obj`; `--verbose` sets `verbose` and so asks for tracebacks.
    """

    def __init__(self) -> None:
        self.exit_code = 0
        self.verbose = False
        self.leaves_work = False

    def __enter__(self) -> Outcome:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None or isinstance(error, SystemExit):
            return False
        if self.verbose and not isinstance(error, (click.ClickException, click.exceptions.Exit)):
            import traceback

            traceback.print_exception(error)
        self.exit_code = self._settle(error)
        return True

    def _settle(self, error: BaseException) -> int:
        if isinstance(error, click.exceptions.Exit):
            return error.exit_code
        if isinstance(error, (KeyboardInterrupt, click.Abort)):
            return _say("stopped", INTERRUPTED)
        if isinstance(error, click.exceptions.NoArgsIsHelpError):
            click.echo(error.format_message(), err=True)
            return error.exit_code
        if isinstance(error, click.UsageError):
            where = f" (see: {error.ctx.command_path} --help)" if error.ctx else ""
            return _say(_one_line(error.format_message()) + where, 2)
        if isinstance(error, click.ClickException):
            return _say(_one_line(error.format_message()), error.exit_code)
        if isinstance(error, CancelledError):
            self.leaves_work = error.leaves_work
        if isinstance(error, Audio2ImgError):
            remedy = f" — {error.remedy}" if error.remedy else ""
            return _say(_one_line(as_options(error.message + remedy)), error.exit_code)
        if isinstance(error, BrokenPipeError):
            # Whoever read our output has gone; keep Python from complaining when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        return _say(f"a fault of ours: {_one_line(repr(error))} — details: {_log(error)}", 1)


def _say(line: str, exit_code: int) -> int:
    click.echo(f"audio2img: {line}", err=True)
    return exit_code


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _log(error: BaseException) -> Path | str:
    import platform
    import time
    import traceback

    from audio2img import __version__
    from audio2img.config import log_file

    path = log_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as log:
            when = time.strftime("%Y-%m-%d %H:%M:%S")
            log.write(
                f"{when} audio2img {__version__} Python {platform.python_version()} {platform.platform()}\n"
            )
            log.writelines(traceback.format_exception(error))
    except OSError:
        return "run it again with --verbose"
    return path
