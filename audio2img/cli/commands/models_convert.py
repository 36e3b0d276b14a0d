"""`audio2img models convert`: a diffusers model becomes Core ML packages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from audio2img.cli.help import Command
from audio2img.cli.options import BY_THE_MODEL, json_option, parse_size, talk_options
from audio2img.cli.results import print_json

if TYPE_CHECKING:
    from audio2img.conversion import ConversionReport, PartReport

PART_LABELS = ("text_encoder", "text_encoder_2", "unet", "vae_decoder", "vae_encoder", "safety_checker")


def _parse_parts(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Names with commas between them, as the callback of an option."""
    if value is None:
        return None
    parts = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
    unknown = [name for name in parts if name not in PART_LABELS]
    if unknown or not parts:
        raise click.BadParameter(f"{value!r}: choose from {', '.join(PART_LABELS)}", ctx, param)
    return parts


@click.command(
    "convert",
    cls=Command,
    examples=(
        "audio2img models convert my-model my-model-coreml",
        "audio2img models convert my-model small --bits 6 --chunk-unet",
    ),
)
@click.argument("source", metavar="SOURCE")
@click.argument("dest", type=click.Path(), metavar="DEST")
@click.option(
    "--bits",
    type=click.Choice(["16", "8", "6"]),
    default="16",
    show_default=True,
    help="Bits per weight: float16, or palettes.",
)
@click.option(
    "--batch",
    type=click.Choice(["1", "2"]),
    default="2",
    show_default=True,
    help="Pictures that the UNet takes at once.",
)
@click.option("--chunk-unet", is_flag=True, help="The UNet as two halves, for machines with little memory.")
@click.option(
    "--parts", callback=_parse_parts, metavar="NAME,NAME", show_default="all", help="Only these parts."
)
@click.option(
    "--size",
    metavar="WxH",
    callback=parse_size,
    show_default=BY_THE_MODEL,
    help="Size of the pictures in pixels.",
)
@click.option("--name", metavar="NAME", show_default="its own name", help="What the model is called.")
@click.option("--replace", is_flag=True, help="Replace DEST if it is there.")
@click.option(
    "--with",
    "engine",
    type=click.Choice(["torch", "apple"]),
    default="torch",
    show_default=True,
    help="Our own tracer, or Apple's converter.",
)
@click.option(
    "--attention",
    type=click.Choice(["ORIGINAL", "SPLIT_EINSUM", "SPLIT_EINSUM_V2"]),
    show_default="SPLIT_EINSUM_V2",
    help="How the UNet attends; only with --with apple.",
)
@json_option
@talk_options
def command(source: str, dest: str, as_json: bool, quiet: bool, verbose: bool, **given: Any) -> None:
    """Make Core ML packages of the diffusers model SOURCE, in the folder DEST.

    SOURCE is a folder, or a model on the Hugging Face Hub (OWNER/NAME, OWNER/NAME@REVISION):
    Stable Diffusion 1.x, 2.x or XL, with its weights as safetensors. Every part is compared with
    the original as it is converted. Needs the extra convert.
    """
    from pathlib import Path

    from audio2img.conversion import ConversionOptions, convert_model

    folder = Path(dest)
    say = _quiet if quiet else _say
    engine, attention = given.pop("engine"), given.pop("attention")
    replace = given.pop("replace")
    options = ConversionOptions(**{**given, "bits": int(given["bits"]), "batch": int(given["batch"])})
    if engine == "torch" and attention is not None:
        raise click.UsageError("--attention is for Apple's converter: add --with apple")

    def progress(part: str, done: int, total: int, report: PartReport | None) -> None:
        label = part.replace("_", " ")
        say(
            f"[{done + 1}/{total}] converting the {label}" if report is None else f"      {_describe(report)}"
        )

    if engine == "apple":
        from audio2img.conversion.apple_tools.converter import convert_with_apple

        report = convert_with_apple(
            source, folder, options, attention or "SPLIT_EINSUM_V2", replace, progress
        )
    else:
        report = convert_model(source, folder, options, replace, progress)
    if as_json:
        print_json(report.as_table())
        return
    say(_summary(report))
    click.echo(report.folder)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _quiet(text: str) -> None:
    """Nothing."""


def _describe(report: PartReport) -> str:
    quality = f"{report.least_db:.1f} dB" if report.least_db is not None else report.unchecked
    return f"{report.size_bytes / 1e6:.1f} MB in {report.duration_s:.0f} s, {quality}"


def _summary(report: ConversionReport) -> str:
    return (
        f"{report.model}: {report.size_bytes / 1e6:.1f} MB at {report.bits} bits in {report.duration_s:.0f} s"
    )
