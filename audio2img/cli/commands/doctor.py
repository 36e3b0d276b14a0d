"""`audio2img doctor`: check that everything works on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from audio2img.cli.help import Command
from audio2img.cli.options import json_option, talk_options
from audio2img.cli.results import print_json
from audio2img.errors import MachineError
from audio2img.wording import as_options, as_typed

if TYPE_CHECKING:
    from audio2img.diagnosis.checks import Check


@click.command("doctor", cls=Command, examples=("audio2img doctor", "audio2img doctor --deep"))
@click.option("--deep", is_flag=True, help="Draw on each compute unit and compare; listen for half a second.")
@click.option("--model", metavar="NAME|PATH", help="With --deep: the image model whose parts are checked.")
@click.option("--against-apple", is_flag=True, help="With --deep: draw with Apple's own pipeline, too.")
@json_option
@talk_options
def command(
    deep: bool, model: str | None, against_apple: bool, as_json: bool, quiet: bool, verbose: bool
) -> None:
    """Check that everything works on this machine: packages, models, microphone, folders.

    With --deep a Mac checks itself: it draws on each compute unit, compares with the reference
    runtime, and prints a table to paste into an issue. Elsewhere it does what it can. Exits with 5
    when something fails that every picture needs.
    """
    from audio2img.diagnosis.checks import as_markdown, failures

    if not deep and (model is not None or against_apple):
        raise click.UsageError("--model and --against-apple belong to --deep")
    from audio2img.diagnosis.plain import run_checks, run_deep_checks

    def say(text: str) -> None:
        if not quiet:
            click.echo(text, err=True)

    checks: list[Check] = []
    for check in run_deep_checks(model, against_apple, say) if deep else run_checks():
        checks.append(check)
        if deep:
            say(f"      {check.state:<5}{check.name}")
        elif not as_json:
            remedy = f" — {as_typed(as_options(check.remedy))}" if check.remedy else ""
            click.echo(f"{check.state:<5}{check.name:<16}{check.detail}{remedy}")
    if as_json:
        print_json([check.as_table() for check in checks])
    elif deep:
        click.echo(as_markdown(checks))
    if failed := failures(checks):
        raise MachineError(f"not everything works: {', '.join(failed)}", "see the lines above")
