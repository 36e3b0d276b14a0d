"""The `parameters` text of AUTOMATIC1111's web UI, which most picture viewers and model sites understand.

    a red house under a yellow moon
    Negative prompt: blurry
    Steps: 20, Sampler: DPM++ 2M, CFG scale: 7.5, Seed: 42, Size: 512x512, Model hash: 0123456789, Model: sd21

Read as that program reads it (modules/infotext_utils.py): the last line holds the settings, a line that
starts with "Negative prompt:" ends the prompt. A line of a prompt that looks like one of these
gets a backslash before it, which `parse_parameters` takes away again.
"""

from __future__ import annotations

import json
import re

from audio2img.errors import InputError
from audio2img.output.record import PictureRecord, check_drawable
from audio2img.types import ImageRequest

SAMPLERS = {
    "dpmpp-2m": "DPM++ 2M",
    "euler": "Euler",
    "euler-a": "Euler a",
    "ddim": "DDIM",
    "pndm": "PLMS",
    "lcm": "LCM",
}
"""Our names of the schedulers and those of the web UI."""

HASH_DIGITS = 10  # of a model's SHA-256, as the web UI shows it

_NEGATIVE = "Negative prompt:"
# These take time in proportion to the text, whatever it is: no blank and no letter is looked at for a
# second beginning. So the second half of _SETTING takes whole runs that turned out to be no key.
_LOOKS_LIKE_OURS = re.compile(r"(?im)^([^\S\n]*)(\\*(?:negative prompt|steps):)")
_ESCAPED = re.compile(r"(?im)^([^\S\n]*)\\(\\*(?:negative prompt|steps):)")
_SETTING = re.compile(r'[ \-/]*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)|[\w \-/]+')
_FEWEST_SETTINGS = 3  # a last line with fewer is a line of the prompt
_UNDERSTOOD = {"Steps", "Sampler", "CFG scale", "Seed", "Size", "Model", "Model hash", "Version"}
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_NOT_FOREIGN = "use a picture that audio2img or a Stable Diffusion web UI wrote"


def format_parameters(record: PictureRecord) -> str:
    """The text for `record`. Control characters, which other programs choke on, become spaces."""
    request = record.request
    lines = [_escape(request.prompt)]
    if request.negative_prompt:
        lines.append(f"{_NEGATIVE} {_escape(request.negative_prompt)}")
    settings = {
        "Steps": str(request.steps),
        "Sampler": SAMPLERS.get(request.scheduler, request.scheduler),
        "CFG scale": f"{request.guidance_scale:.12g}",
        "Seed": str(request.seed),
        "Size": f"{request.width}x{request.height}",
        "Denoising strength": "" if request.strength is None else f"{request.strength:.12g}",
        "Batch size": str(request.count) if request.count > 1 else "",
        "Batch pos": str(request.index) if request.count > 1 else "",
        "Model hash": record.model_hash[:HASH_DIGITS],
        "Model": record.model,
        "Lora hashes": ", ".join(f"{lora.name}: {lora.sha256[:HASH_DIGITS]}" for lora in request.loras),
        "Version": f"audio2img {record.audio2img_version}",
    }
    lines.append(", ".join(f"{key}: {_quote(value)}" for key, value in settings.items() if value))
    return "\n".join(lines)


def parse_parameters(text: str) -> PictureRecord:
    """What a `parameters` text, ours or another program's, tells: prompts, settings, the model's name.

    Raises InputError when it has no settings line, or one that makes no sense.
    """
    *lines, last = text.rstrip("\n").split("\n")
    settings = parse_settings(last)
    if len(settings) < _FEWEST_SETTINGS or "Steps" not in settings:
        raise InputError("the picture's text says nothing of the settings it was made with", _NOT_FOREIGN)
    ends = next((i for i, line in enumerate(lines) if line.strip().startswith(_NEGATIVE)), len(lines))
    negative = "\n".join(lines[ends:]).lstrip()[len(_NEGATIVE) :].removeprefix(" ")
    names = {theirs: ours for ours, theirs in SAMPLERS.items()}
    sampler = settings.get("Sampler", "")
    try:
        width, height = (int(number) for number in settings["Size"].split("x"))
        request = ImageRequest(
            prompt=_unescape("\n".join(lines[:ends])),
            negative_prompt=_unescape(negative),
            seed=int(settings["Seed"]),
            steps=int(settings["Steps"]),
            guidance_scale=float(settings.get("CFG scale", "7.5")),
            scheduler=names.get(sampler, sampler),
            width=width,
            height=height,
        )
    except (KeyError, ValueError) as error:
        raise InputError(f"the picture's settings cannot be read: {last[:80]!r}", _NOT_FOREIGN) from error
    record = PictureRecord(request, model=settings.get("Model", ""))
    check_drawable(record)
    return record


def parse_settings(line: str) -> dict[str, str]:
    """The keys and values of a settings line, as the web UI reads it: 'Steps: 20, Model: "a, b"'."""
    return {key: _unquote(value) for key, value in _SETTING.findall(line) if key}


def ignored_settings(text: str) -> tuple[str, ...]:
    """The settings ("Clip skip: 2") in a `parameters` text that decide a picture and mean nothing to us."""
    settings = parse_settings(text.rstrip("\n").rsplit("\n", 1)[-1])
    return tuple(f"{key}: {value}" for key, value in settings.items() if key not in _UNDERSTOOD)


def without_controls(text: str) -> str:
    """`text` with spaces for control characters, which other programs choke on; line ends stay."""
    return _CONTROLS.sub(" ", text)


def _escape(text: str) -> str:
    return _LOOKS_LIKE_OURS.sub(r"\1\\\2", without_controls(text))


def _unescape(text: str) -> str:
    return _ESCAPED.sub(r"\1\2", text)


def _quote(value: str) -> str:
    """A value with a comma, a colon or a line end as a JSON string, others as they are."""
    value = without_controls(value)
    return json.dumps(value, ensure_ascii=False) if re.search(r'[,:\n"]', value) else value


def _unquote(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        try:
            return str(json.loads(value))
        except ValueError:
            return value
    return value
