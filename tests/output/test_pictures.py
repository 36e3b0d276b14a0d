from __future__ import annotations

import contextlib
import io
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from audio2img.errors import InputError, UsageError
from audio2img.output import (
    check_target,
    format_of,
    read_ignored,
    read_own_record,
    read_record,
    write_picture,
)
from audio2img.output.memory import MAX_FILE_BYTES
from audio2img.output.pictures import BY_SUFFIX, FORMATS, encode_picture, newest_picture
from audio2img.output.pixels import read_pixels
from audio2img.output.record import PictureRecord
from audio2img.output.webp import MAX_SIDE
from audio2img.types import ImageRequest, ImageResult, Segment, Transcript

LOSSY = (".jpg", ".webp")
USER_COMMENT = 0x9286
PARAMETERS = (
    "a cat, \U0001f408\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5, Size: 512x512, Clip skip: 2"
)


def with_prompt(image: ImageResult, prompt: str) -> ImageResult:
    return replace(image, request=replace(image.request, prompt=prompt))


def long_record(record: PictureRecord, n_segments: int) -> PictureRecord:
    """`record` of a telling of hours."""
    segments = tuple(Segment(n, n + 1, f"and then came wave number {n}", 0.5) for n in range(n_segments))
    return replace(record, transcript=Transcript(segments, "en", 0.9, "transcribe", "tiny.en"))


@pytest.mark.parametrize("suffix", BY_SUFFIX)
def test_pixels_and_record_come_back(
    image: ImageResult, record: PictureRecord, suffix: str, tmp_path: Path
) -> None:
    smooth = np.linspace(40, 200, 32 * 3).reshape(1, 32, 3).repeat(24, 0).astype(np.uint8)
    path = write_picture(replace(image, pixels=smooth), record, tmp_path / f"out{suffix}")
    assert path == tmp_path / f"out{suffix}"
    with Image.open(path) as opened:
        assert opened.format == BY_SUFFIX[suffix].name.upper()
        seen = np.asarray(opened.convert("RGB")).astype(int)
    assert np.abs(seen - smooth).max() <= (0 if suffix == ".png" else 12)
    assert read_record(path) == record
    assert read_ignored(path) == ()


@pytest.mark.parametrize("suffix", LOSSY)
@pytest.mark.parametrize(
    "prompt",
    ["plain", "é ü ñ ÿ", "赤い家 🏠", "a & <b> ]]>", "Negative prompt: a\nSteps: 1", "\ud800\x00", ""],
)
def test_any_prompt_comes_back(image: ImageResult, prompt: str, suffix: str, tmp_path: Path) -> None:
    image = with_prompt(image, prompt)
    path = write_picture(image, PictureRecord.of(image), tmp_path / f"a{suffix}")
    assert read_record(path).request.prompt == prompt


@pytest.mark.parametrize("suffix", LOSSY)
@pytest.mark.parametrize("prompt", ["a red house", "赤い家 🏠"])
def test_viewers_find_the_parameters_in_exif(
    image: ImageResult, prompt: str, suffix: str, tmp_path: Path
) -> None:
    image = with_prompt(image, prompt)
    with Image.open(write_picture(image, PictureRecord.of(image), tmp_path / f"a{suffix}")) as opened:
        exif = opened.getexif()
        packet = opened.info["xmp"]
    comment = exif.get_ifd(0x8769)[USER_COMMENT]
    assert comment[:8] == b"UNICODE\0"  # and big-endian, as the web UI's reader takes it
    text = comment[8:].decode("utf-16-be")
    assert text.startswith(f"{prompt}\nNegative prompt: blurry\nSteps: 12, Sampler: DPM++ 2M")
    assert exif[0x010E].encode("latin-1").decode("utf-8") == prompt
    assert b"trainedAlgorithmicMedia" in packet


@pytest.mark.parametrize("suffix", LOSSY)
def test_a_picture_of_the_web_ui_tells_what_it_knows(suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x8769] = {USER_COMMENT: b"UNICODE\0" + PARAMETERS.encode("utf-16-be")}
    Image.new("RGB", (8, 8)).save(tmp_path / f"a{suffix}", exif=exif)
    record = read_record(tmp_path / f"a{suffix}")
    assert record.request == ImageRequest("a cat, \U0001f408", "", 5, 20, 7.0, "euler", 512, 512)
    assert read_ignored(tmp_path / f"a{suffix}") == ("Clip skip: 2",)


@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + PARAMETERS.encode("utf-16-le"),
        b"ASCII\0\0\0" + PARAMETERS.replace(", \U0001f408", "").encode(),
        b"\0" * 8 + PARAMETERS.encode() + b"\0",
    ],
    ids=["other order", "ascii", "utf8"],
)
def test_comments_as_others_write_them(comment: bytes, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x8769] = {USER_COMMENT: comment}
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=exif)
    assert read_record(tmp_path / "a.jpg").request.prompt.startswith("a cat")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", BY_SUFFIX)
def test_hours_of_speech_fit(image: ImageResult, record: PictureRecord, suffix: str, tmp_path: Path) -> None:
    record = long_record(record, 10_000)
    assert len(record.to_json()) > 13 * 65_533
    path = write_picture(image, record, tmp_path / f"a{suffix}")
    assert read_record(path) == record
    with Image.open(path) as opened:
        opened.load()


def test_a_prompt_longer_than_a_segment_of_a_jpeg(image: ImageResult, tmp_path: Path) -> None:
    image = with_prompt(image, "赤い家 " * 40_000)
    path = write_picture(image, PictureRecord.of(image), tmp_path / "a.jpg")
    assert read_record(path).request == replace(image.request, width=32, height=24)


def test_a_long_record_that_lost_a_piece_is_not_believed(
    image: ImageResult, record: PictureRecord, tmp_path: Path
) -> None:
    data = encode_picture(image, long_record(record, 2_000), BY_SUFFIX[".jpg"])
    at = data.rindex(b"wave number 1999")
    (tmp_path / "a.jpg").write_bytes(data[:at] + b"W" + data[at + 1 :])
    assert read_record(tmp_path / "a.jpg").backend == ""  # what the comment in EXIF tells


def test_xmp_that_another_program_wrote_anew(
    image: ImageResult, record: PictureRecord, tmp_path: Path
) -> None:
    """Simple properties may become attributes, and a packet may grow blanks at its end."""
    json = record.to_json().replace("&", "&amp;").replace('"', "&quot;")
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:audio2img="urn:audio2img:1.0/" audio2img:Record="{json}"/>'
        "</rdf:RDF></x:xmpmeta>" + " " * 100
    )
    Image.new("RGB", (8, 8)).save(tmp_path / "a.webp", xmp=packet.encode())
    assert read_record(tmp_path / "a.webp") == record


@pytest.mark.parametrize("suffix", BY_SUFFIX)
def test_an_open_file_is_all_that_is_read(
    image: ImageResult, record: PictureRecord, suffix: str, tmp_path: Path
) -> None:
    """Whatever has become of its name, and wherever others read it to."""
    path = write_picture(image, record, tmp_path / f"a{suffix}")
    with path.open("rb") as file:
        path.unlink()
        file.seek(100)
        assert read_own_record(file, "a picture") == record
        file.seek(0)
        assert read_own_record(io.BytesIO(file.read()), "a picture") == record


@pytest.mark.parametrize("suffix", LOSSY)
def test_what_other_programs_wrote_is_not_our_own(suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x8769] = {USER_COMMENT: b"UNICODE\0" + PARAMETERS.encode("utf-16-be")}
    Image.new("RGB", (8, 8)).save(tmp_path / f"a{suffix}", exif=exif)
    with (tmp_path / f"a{suffix}").open("rb") as file, pytest.raises(InputError, match="did not write a pic"):
        read_own_record(file, "a picture")
    with pytest.raises(InputError, match="a picture is not a PNG"):
        read_own_record(io.BytesIO(b""), "a picture")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xmp_that_unfolds_is_not_read(encoding: str, tmp_path: Path) -> None:
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 9))
    packet = f'<!DOCTYPE x [<!ENTITY e0 "x">{levels}]><x>&e8;</x>'
    Image.new("RGB", (8, 8)).save(tmp_path / "a.webp", xmp=packet.encode(encoding))
    with pytest.raises(InputError, match="does not say"):
        read_record(tmp_path / "a.webp")


def read_from_bytes(data: bytes) -> PictureRecord:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture"
        path.write_bytes(data)
        return read_record(path)


SMALL = ImageResult(np.zeros((8, 8, 3), np.uint8), ImageRequest("a"), "mini", "", "reference")


@pytest.mark.parametrize("suffix", LOSSY)
@settings(deadline=None, max_examples=150)
@given(cut=st.floats(0, 1), position=st.floats(0, 1), change=st.integers(0, 255))
def test_a_damaged_file_is_refused_or_read(suffix: str, cut: float, position: float, change: int) -> None:
    """Neither format has checksums, so a changed letter is not noticed; nothing else than ours is raised."""
    data = bytearray(encode_picture(SMALL, PictureRecord.of(SMALL), BY_SUFFIX[suffix]))
    data = data[: round(len(data) * cut)]
    if data:
        data[min(int(position * len(data)), len(data) - 1)] ^= change
    with contextlib.suppress(InputError):
        read_from_bytes(bytes(data))


@given(st.binary(max_size=200), st.sampled_from([b"\xff\xd8\xff\xe1", b"RIFF\xff\0\0\0WEBP", b""]))
def test_any_bytes_are_refused(data: bytes, head: bytes) -> None:
    with pytest.raises(InputError):
        read_from_bytes(head + data)


def test_a_file_of_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    path.write_bytes(b"RIFF\xff\xff\xff\xffWEBPVP8 ")
    with path.open("r+b") as file:
        file.truncate(MAX_FILE_BYTES + 1)  # sparse
    with pytest.raises(InputError, match="larger than 128 MB"):
        read_record(path)


def test_every_format_knows_its_own(image: ImageResult, record: PictureRecord) -> None:
    for form in FORMATS:
        head = encode_picture(image, record, form)[:16]
        assert [one.name for one in FORMATS if one.is_one(head)] == [form.name]
    assert not any(one.is_one(b"") for one in FORMATS)


def test_a_webp_has_its_limits(record: PictureRecord, image: ImageResult) -> None:
    wide = replace(image, pixels=np.zeros((1, MAX_SIDE + 1, 3), np.uint8))
    with pytest.raises(UsageError, match="16383 pixels"):
        encode_picture(wide, record, BY_SUFFIX[".webp"])


@pytest.mark.parametrize("name", ["out.gif", "out.mp3", "out.pgn", "sub/out.TIFF", "a.b.jpgg"])
def test_other_endings_are_refused_with_the_list(
    image: ImageResult, record: PictureRecord, name: str, tmp_path: Path
) -> None:
    for refuse in (check_target, lambda path: write_picture(image, record, path)):
        with pytest.raises(UsageError, match="ends in") as caught:
            refuse(tmp_path / name)
        assert ".png, .jpg, .jpeg, .webp" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["pictures", "2026.11.24", ".hidden", "v2.0", "old.gif"])
def test_folders(image: ImageResult, record: PictureRecord, name: str, tmp_path: Path) -> None:
    (tmp_path / "old.gif").mkdir()
    check_target(tmp_path / name, 3)
    assert format_of(tmp_path / name) is None
    assert write_picture(image, record, tmp_path / name).parent == tmp_path / name


def test_several_pictures_do_not_fit_into_a_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="2 pictures do not fit"):
        check_target(tmp_path / "a.webp", 2)
    check_target(tmp_path / "a.webp", 1)


def test_the_exif_of_a_jpeg_is_its_own(image: ImageResult, record: PictureRecord) -> None:
    data = encode_picture(image, record, BY_SUFFIX[".jpg"])
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.getexif()[0x0131].startswith("audio2img ")


@pytest.mark.timeout(30)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_regular_file_is_no_picture(tmp_path: Path) -> None:
    """Opening a pipe that nobody writes to would wait forever."""
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    for read in (read_record, read_ignored, read_pixels):
        with pytest.raises(InputError, match="no regular file"):
            read(pipe)
    with pytest.raises(InputError, match="no picture of ours"):
        newest_picture(tmp_path)
