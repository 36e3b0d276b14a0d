"""What `--help` prints: options under headings, the commands of a group, and examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from audio2img.cli.numbers import NumberRange

# heading -> the options under it, by the names of their parameters; those of one command only stand first
HEADINGS = {
    "Where": ("host", "port", "open_page", "token", "public"),
    "Sound in": ("picture", "watched", "device", "seconds", "silence", "limit", "keep_audio"),
    "Words": ("speech_model", "language", "translate", "initial_prompt", "threads"),
    "Sounds": ("hear", "sound_model"),
    "Picture": ("style", "template", "negative", "size", "seed", "count", "init_image", "strength"),
    "How to draw": (
        "model", "backend", "steps", "guidance", "scheduler", "long_prompt", "lora", "loras",
        "compute_units", "low_memory", "precision", "compile",
    ),
    "Output": ("output", "target", "open_after", "previews", "as_json", "quiet", "verbose"),
    "General": ("offline", "version", "help", "_click_default_help"),  # --help, as versions of click call it
}  # fmt: skip
OWN = "Options"
SHORT = 80  # letters of the line about a command


def heading_of(parameter: str) -> str:
    """Where the option of this parameter stands; `OWN` for what the table above does not name."""
    return next((heading for heading, names in HEADINGS.items() if parameter in names), OWN)


class Command(click.Command):
    """A command that shows its options in groups.

    examples: whole command lines, as a person types them into a shell.
    """

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {heading: [] for heading in (OWN, *HEADINGS)}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option) and (row := _row(parameter, ctx)) is not None:
                groups[heading_of(parameter.name or "")].append(row)
        for heading, rows in groups.items():
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{example}\n")
        super().format_epilog(ctx, formatter)


class Group(Command, click.Group):
    """A group that shows its commands first, each with a whole line about it."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        super().format_options(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(self.command_rows(ctx))

    def command_rows(self, ctx: click.Context) -> list[tuple[str, str]]:
        """Each command with a line about it."""
        return [(name, one.get_short_help_str(SHORT)) for name, one in self.commands.items()]


def _row(option: click.Option, ctx: click.Context) -> tuple[str, str] | None:
    """How it is written, and what it does: "Silence that ends it. [default: 1.2; 0.2 to 60]"."""
    record = option.get_help_record(ctx)
    if record is None:
        return None
    notes = []
    if default := option.get_help_extra(ctx).get("default"):
        notes.append(f"default: {option.show_default if isinstance(option.show_default, str) else default}")
    if isinstance(option.type, NumberRange):
        notes.append(str(option.type))
    return record[0], f"{option.help} [{'; '.join(notes)}]" if notes else option.help or ""
