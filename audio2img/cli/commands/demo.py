"""`audio2img demo`: a spoken sentence that comes with the package becomes a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from audio2img.cli.help import Command
from audio2img.cli.options import json_option, open_option, output_option, takes_wishes, talk_options

if TYPE_CHECKING:
    from audio2img.pipeline.wishes import Wishes


DEMO_SEED = 7


@click.command("demo", cls=Command, examples=("audio2img demo", "audio2img demo --seed 3 -o demo.png"))
@click.option(
    "--seed",
    type=int,
    metavar="N",
    default=DEMO_SEED,
    show_default=True,
    help="Another seed, another picture.",
)
@output_option
@open_option
@json_option
@talk_options
@takes_wishes
def command(as_json: bool, open_after: bool, quiet: bool, verbose: bool, wishes: Wishes) -> None:
    """A spoken sentence becomes a picture, with nothing to download.

    Uses the embedded models, which know one small world of simple scenes.
    """
    from audio2img.cli.display import Display
    from audio2img.cli.finished import Finished
    from audio2img.cli.job import run_job
    from audio2img.cli.next_steps import next_steps
    from audio2img.config import embedded_models_dir
    from audio2img.pipeline import Pipeline
    from audio2img.pipeline.options import Options
    from audio2img.store.defaults import this_machine
    from audio2img.wording import as_typed

    options = Options(seed=wishes.seed)
    sentence = embedded_models_dir() / "demo.flac"
    display = Display(quiet, verbose)
    finished = Finished(wishes.output_path(), display.show_result, as_json, open_after)
    with (
        display,
        Pipeline("mini", "mini-whisper", on_event=display) as pipeline,
        finished.of(str(sentence)),
    ):
        display.say(f"listening to {sentence}")
        drawing = run_job(pipeline, lambda: pipeline.run(sentence, options))
        if drawing.transcript is not None:
            display.say(f"heard “{drawing.transcript.text}”, drew “{drawing.prompt.text}”, and here it is:")
        finished(drawing)
    if not quiet:
        for line in next_steps(this_machine()):
            click.echo(as_typed(line), err=True)
