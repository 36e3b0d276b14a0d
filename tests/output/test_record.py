from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import audio2img
from audio2img.diffusion.noise import GENERATOR_NAME
from audio2img.errors import InputError
from audio2img.output.record import NOISE_GENERATOR, PictureRecord, model_places
from audio2img.types import ImageRequest, ImageResult, Segment, Transcript

any_text = st.text(st.characters())  # lone surrogates, controls and all
finite = st.floats(allow_nan=False, allow_infinity=False)
requests = st.builds(
    ImageRequest,
    prompt=any_text,
    negative_prompt=any_text,
    seed=st.integers(0, 2**32 - 1),
    steps=st.integers(1, 1000),
    guidance_scale=st.floats(-1e6, 1e6),
    scheduler=any_text,
    width=st.none() | st.integers(1, 4096),
    height=st.none() | st.integers(1, 4096),
)
transcripts = st.builds(
    Transcript,
    segments=st.lists(st.builds(Segment, finite, finite, any_text, st.none() | finite)).map(tuple),
    language=any_text,
    language_probability=st.none() | finite,
    task=st.sampled_from(["transcribe", "translate"]),
    model=any_text,
)
records = st.builds(
    PictureRecord,
    request=requests,
    model=any_text,
    model_hash=any_text,
    backend=any_text,
    transcript=st.none() | transcripts,
    audio_source=any_text,
    created=any_text,
)


@given(records)
def test_any_record_comes_back_the_same(record: PictureRecord) -> None:
    text = record.to_json()
    assert PictureRecord.from_json(text) == record
    assert text.isascii()
    assert "\n" not in text


def test_record_says_what_made_the_picture(record: PictureRecord, image: ImageResult) -> None:
    assert record.request == replace(image.request, width=32, height=24)
    assert (record.model, record.model_hash, record.backend) == ("mini", image.model_hash, "reference")
    assert (record.audio2img_version, record.numpy_version) == (audio2img.__version__, np.__version__)
    assert record.created == "2026-11-21T08:30:00Z"
    assert record.audio_source == "memo.m4a"


def test_now_is_written_in_utc(image: ImageResult) -> None:
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", PictureRecord.of(image).created)


def test_the_noise_generator_is_the_one_there_is() -> None:
    assert NOISE_GENERATOR == GENERATOR_NAME


def damaged(record: PictureRecord, path: str, value: Any) -> str:
    """The JSON of `record` with the value at "a.b" replaced, or taken out where `value` is ...."""
    values = json.loads(record.to_json())
    *parents, last = path.split(".")
    inner = values
    for name in parents:
        inner = inner[int(name)] if isinstance(inner, list) else inner[name]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return json.dumps(values)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("version", 2, "version 2"),
        ("version", 0, "version 0"),
        ("version", "1", "version"),
        ("version", True, "version"),
        ("version", ..., "version"),
        ("request", ..., "request"),
        ("request", None, "request"),
        ("request", [], "request"),
        ("request.prompt", ..., "prompt"),
        ("request.prompt", 7, "prompt"),
        ("request.seed", "42", "seed"),
        ("request.seed", 1.5, "seed"),
        ("request.steps", True, "steps"),
        ("request.guidance_scale", float("nan"), "guidance_scale"),
        ("request.guidance_scale", "7.5", "guidance_scale"),
        ("request.guidance_scale", 10**400, "guidance_scale"),
        ("request.width", "512", "width"),
        ("request.width", 0, "width is 0"),
        ("request.height", -1, "height is -1"),
        ("request.height", 10**4000, "height is far beyond"),
        ("request.steps", 0, "steps is 0"),
        ("request.seed", -1, "seed is -1"),
        ("request.seed", 2**32, "seed is 4294967296"),
        ("request.count", 0, "count is 0"),
        ("request.count", 100_000, "count is 100000"),
        ("request.index", 1, "index is 1"),
        ("request.guidance_scale", 1e300, "guidance"),
        ("request.strength", 0.0, "strength"),
        ("request.scheduler", "x" * 100_000, "name .* 100000 letters"),
        ("model", "x" * 100_000, "name .* 100000 letters"),
        ("x" * 100_000, 1, "newer"),
        ("request.colour", "red", "colour"),
        ("model", None, "model"),
        ("transcript.task", "sing", "task"),
        ("transcript.segments", {}, "segments"),
        ("transcript.segments.0.text", None, "text"),
        ("extra", 1, "extra"),
    ],
)
def test_a_damaged_record_is_refused(record: PictureRecord, path: str, value: Any, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        PictureRecord.from_json(damaged(record, path, value))
    assert caught.value.remedy
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(("path", "value"), [("version", 2), ("mood", "calm"), ("request.colour", "red")])
def test_a_newer_record_is_not_called_damaged(record: PictureRecord, path: str, value: Any) -> None:
    with pytest.raises(InputError, match="a newer audio2img wrote") as caught:
        PictureRecord.from_json(damaged(record, path, value))
    assert "upgrade" in caught.value.remedy
    assert "damaged" not in caught.value.message + caught.value.remedy


def test_a_record_of_a_million_pieces_is_not_unfolded() -> None:
    with pytest.raises(InputError, match="longer than 8 MB"):
        PictureRecord.from_json('{"version":1,"model":[' + "[]," * 3_000_000 + "[]]}")


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "null", '"x"', "[" * 100_000, '{"version": 1}', "\x00"])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        PictureRecord.from_json(text)


@pytest.mark.parametrize(
    "value",
    ["[" * 100_000, "9" * 5_000, *("[" * depth + "]" * depth for depth in range(900, 1_000, 7))],
    ids=lambda value: f"{value[0]}-{len(value)}",
)
@pytest.mark.parametrize("field", ["version", "model", "request"])
def test_json_that_python_cannot_hold_is_refused_in_our_words(field: str, value: str) -> None:
    """Nesting that is read is no value yet: to print it goes as deep again."""
    with pytest.raises(InputError) as caught:
        PictureRecord.from_json(f'{{"version":1,"model":"mini","{field}":{value}}}')
    assert caught.value.remedy
    assert not re.search("recursion|Exceeds|sys\\.|limit", caught.value.message)
    assert len(caught.value.message) < 200


def test_fields_added_later_have_their_defaults(record: PictureRecord) -> None:
    assert PictureRecord.from_json(damaged(record, "audio_source", ...)).audio_source == ""
    assert PictureRecord.from_json(damaged(record, "request.scheduler", ...)).request.scheduler == "dpmpp-2m"


def test_whole_numbers_are_taken_for_guidance(record: PictureRecord) -> None:
    scale = PictureRecord.from_json(damaged(record, "request.guidance_scale", 7)).request.guidance_scale
    assert (scale, type(scale)) == (7.0, float)


def test_a_model_that_was_given_by_its_path_is_looked_for(
    record: PictureRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, pictures = tmp_path / "here", tmp_path / "pictures"
    for folder in (here / "models" / "mine", pictures / "mine", tmp_path / "mine"):
        folder.mkdir(parents=True)
    (here / "mine.safetensors").write_bytes(b"")
    monkeypatch.chdir(here)
    found = list(model_places(replace(record, model="mine"), pictures / "a.png"))
    assert found == [pictures / "mine", here / "mine.safetensors", here / "models" / "mine"]


@pytest.mark.parametrize("name", ["", ".", "..", "../mine", "/etc", "C:x", "m*", "\0"])
def test_a_models_name_leads_nowhere_else(record: PictureRecord, name: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert list(model_places(replace(record, model=name), tmp_path / "sub" / "a.png")) == []
