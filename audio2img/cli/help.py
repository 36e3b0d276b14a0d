"""What `--help` prints of a command: its options under headings, and examples of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

# heading -> the options under it, by the names of their parameters; those of one command only stand first
HEADINGS = {
    "Sound in": ("picture", "device", "seconds", "silence", "limit", "keep_audio"),
    "Words": ("speech_model", "language", "translate", "initial_prompt", "threads"),
    "Sounds": ("hear", "sound_model"),
    "Picture": ("style", "template", "negative", "size", "seed", "count", "init_image", "strength"),
    "How to draw": (
        "model", "backend", "steps", "guidance", "scheduler", "long_prompt", "lora", "loras",
        "compute_units", "low_memory", "precision", "compile",
    ),
    "Output": ("output", "target", "open_after", "previews", "as_json", "quiet", "verbose"),
    "General": ("offline", "help", "_click_default_help"),  # --help, as several versions of click call it
}  # fmt: skip
OWN = "Options"


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
            if not isinstance(parameter, click.Option):
                continue
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups[heading_of(parameter.name or "")].append(record)
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
