"""The road from the demo to real pictures: what to run next on this machine, and what that brings along."""

from __future__ import annotations

from collections.abc import Iterator

from audio2img.backends import preferred_variant
from audio2img.cli.licences import describe_download
from audio2img.installation import how_to_add
from audio2img.store.catalog import find_missing
from audio2img.store.defaults import DIFFUSERS_IMAGE, EMBEDDED_IMAGE, Machine
from audio2img.store.rows import Kind

LINE_BYTES_PER_S = 50e6 / 8  # 50 Mbit/s


def next_steps(machine: Machine) -> Iterator[str]:
    """Lines for a person who has seen the embedded model draw and wants pictures of anything.

    The models are this machine's defaults; those that are here already are not named.
    """
    image = machine.default_image
    if image == EMBEDDED_IMAGE:
        image = DIFFUSERS_IMAGE
        install = how_to_add("diffusers").removeprefix("run: ")
        yield f"next, for pictures of anything, PyTorch is needed: {install}"
        yield "then say what you see: audio2img run"
    else:
        yield "next, for pictures of anything, say what you see: audio2img run"
    wanted: dict[Kind, str] = {"image": image, "speech": machine.defaults["speech"]}
    variant = preferred_variant()
    missing = [model for kind, name in wanted.items() if (model := find_missing(name, kind, variant))]
    if not missing:
        return
    total = sum(model.variant.download_bytes for model in missing)
    minutes = max(1, round(total / LINE_BYTES_PER_S / 60))
    yield f"it first downloads, once and when you agree, {total / 1e9:.1f} GB ({minutes} min at 50 Mbit/s):"
    for model in missing:
        yield f"  {describe_download(model)}"
