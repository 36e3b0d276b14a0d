"""The options that several commands share."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from typing import Any

import click

from audio2img.cli import completions
from audio2img.cli.numbers import NumberRange
from audio2img.cli.outcome import Outcome

BY_THE_MODEL = "by the model"
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def parse_size(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """WIDTHxHEIGHT in pixels, as the callback of an option."""
    if value is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,4})[xX×]([1-9]\d{0,4})", value)
    if not match:
        raise click.BadParameter(f"{value!r} is not a size such as 512x512", ctx, param)
    return int(match[1]), int(match[2])


def _together(*options: Decorator) -> Decorator:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _ask_for_tracebacks(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
    outcome = ctx.find_object(Outcome)
    if value and outcome is not None:
        outcome.verbose = True
    return value


talk_options = _together(
    click.option("-q", "--quiet", is_flag=True, help="Say nothing on stderr but errors."),
    click.option(
        "-v", "--verbose", is_flag=True, callback=_ask_for_tracebacks, help="Say more; tracebacks too."
    ),
)


def _stay_offline(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        os.environ["HF_HUB_OFFLINE"] = "1"  # heeded by us, and by huggingface_hub and all that use it


offline_option = click.option(
    "--offline",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_stay_offline,
    help="Never touch the network.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")

speech_options = _together(
    click.option(
        "--speech-model",
        metavar="NAME|PATH",
        shell_complete=completions.models("speech"),
        show_default="whisper-base",
        help="Whisper model.",
    ),
    click.option(
        "--language",
        metavar="CODE",
        show_default="auto",
        help="Language spoken, such as en; auto to detect it.",
    ),
    click.option("--translate", is_flag=True, default=None, help="Translate what is said into English."),
    click.option("--initial-prompt", metavar="TEXT", help="Words to expect, such as names and terms."),
    click.option(
        "--threads",
        type=NumberRange(1),
        metavar="N",
        show_default="by the model",
        help="Processor threads for speech.",
    ),
)

# The built-in ones, by name, as help shows them without reading a file.
STYLES = (
    "3d", "anime", "cinematic", "comic", "ink", "oil", "pencil", "photo", "pixel", "poster", "storybook",
    "watercolor",
)  # fmt: skip

sound_model_option = click.option(
    "--sound-model",
    metavar="NAME|PATH",
    shell_complete=completions.models("sound"),
    show_default="yamnet",
    help="YAMNet, or a TFLite file of its shape.",
)

hear_options = _together(
    click.option(
        "--hear",
        type=click.Choice(["speech", "sounds", "auto", "both"]),
        show_default="speech",
        help="Draw what is said, the sounds there are, what leads of the two, or both.",
    ),
    sound_model_option,
)

output_option = click.option(
    "-o",
    "--output",
    metavar="FOLDER|FILE.png|.jpg|.webp",
    shell_complete=completions.files,
    show_default="audio2img in your pictures folder",
    help="Where the picture goes.",
)

open_option = click.option("--open", "open_after", is_flag=True, help="Open the picture when it is done.")

_which_model = _together(
    click.option(
        "--model",
        metavar="NAME|PATH",
        shell_complete=completions.models("image"),
        show_default="by the machine; see: audio2img models list",
        help="Image model.",
    ),
    click.option(
        "--backend",
        metavar="NAME",
        shell_complete=completions.backends,
        show_default="auto",
        help="auto, coreml or diffusers.",
    ),
)

_how_it_runs = _together(
    click.option(
        "--compute-units",
        metavar="NAME",
        show_default="by the machine",
        help="Core ML: ALL, CPU_AND_GPU, CPU_AND_NE or CPU_ONLY. diffusers: cuda, mps or cpu.",
    ),
    click.option(
        "--low-memory/--no-low-memory",
        default=None,
        help="Hold one part of the model at a time; on its own where memory is small.",
    ),
    click.option(
        "--precision", metavar="NAME", show_default="by the machine", help="diffusers: half or full."
    ),
    click.option(
        "--compile/--no-compile",
        "compile",
        default=None,
        help="diffusers: let torch compile the model, once; faster from the second picture on.",
    ),
    click.option(
        "--lora",
        "loras",
        multiple=True,
        metavar="PATH[:WEIGHT]",
        shell_complete=completions.files,
        help="diffusers: add a LoRA file; may be repeated.",
    ),
)

image_model_options = _together(_which_model, _how_it_runs)

picture_options = _together(
    _which_model,
    click.option("--steps", type=int, metavar="N", show_default=BY_THE_MODEL, help="Denoising steps."),
    click.option(
        "--guidance",
        type=float,
        metavar="NUMBER",
        show_default=BY_THE_MODEL,
        help="How closely to follow the words.",
    ),
    click.option(
        "--seed",
        type=int,
        metavar="N",
        show_default="another each time",
        help="The same seed draws the same picture.",
    ),
    click.option(
        "--scheduler",
        metavar="NAME",
        shell_complete=completions.schedulers,
        show_default=BY_THE_MODEL,
        help="dpmpp-2m, euler, euler-a, ddim, pndm or lcm.",
    ),
    click.option(
        "--size",
        metavar="WxH",
        callback=parse_size,
        show_default=BY_THE_MODEL,
        help="Size of the picture in pixels.",
    ),
    click.option("--negative", metavar="TEXT", help="What the picture should not show."),
    click.option(
        "--style",
        metavar="NAME",
        shell_complete=completions.styles,
        help=f"{', '.join(STYLES)}, or one of your own.",
    ),
    click.option(
        "--template",
        metavar="NAME|TEXT",
        shell_complete=completions.templates,
        help='Words around the prompt: "{prompt}, at dawn", or a name.',
    ),
    click.option(
        "--count", type=int, metavar="N", show_default="1", help="How many pictures, from one seed."
    ),
    click.option(
        "--init-image",
        metavar="PICTURE",
        shell_complete=completions.files,
        help="Start from a picture instead of noise.",
    ),
    click.option(
        "--strength",
        type=float,
        metavar="NUMBER",
        show_default="0.6",
        help="How far to leave it: 0 to 1.",
    ),
    click.option(
        "--long-prompt",
        type=click.Choice(["cut", "chunk"]),
        show_default="cut",
        help="Words beyond the model's window: cut them off, or draw from all.",
    ),
    _how_it_runs,
    click.option(
        "--previews/--no-previews",
        default=True,
        show_default=True,
        help="Show it as it grows, in iTerm2 and kitty.",
    ),
    output_option,
    open_option,
)

microphone_options = _together(
    click.option(
        "--device",
        metavar="NUMBER|NAME",
        shell_complete=completions.devices,
        show_default="the system's",
        help="Microphone: its number or a part of its name.",
    ),
    click.option(
        "--seconds",
        type=NumberRange(0.1, 3600),
        metavar="SECONDS",
        help="Record for so long, instead of until the speaker stops.",
    ),
    click.option(
        "--silence",
        type=NumberRange(0.2, 60),
        metavar="SECONDS",
        show_default="1.2",
        help="Silence that ends it.",
    ),
    click.option(
        "--limit",
        type=NumberRange(1.0, 3600),
        metavar="SECONDS",
        show_default="30",
        help="How long to listen at most.",
    ),
)


def takes_wishes(command: Callable[..., None]) -> Callable[..., None]:
    """Around a command: its options that are wishes arrive in one, together with what is set elsewhere.

    The settings are read here, once; where a value of theirs is at fault, the error says so.
    """

    @functools.wraps(command)
    def call(**given: Any) -> None:
        from dataclasses import fields

        from audio2img.config import load_settings
        from audio2img.pipeline.wishes import Wishes

        names = {one.name for one in fields(Wishes)} & set(given)
        wishes = Wishes.of({name: given.pop(name) for name in names}, load_settings())
        outcome = click.get_current_context().find_object(Outcome)
        if outcome is not None:
            outcome.origins = wishes.origins
        command(wishes=wishes, **given)

    return call
