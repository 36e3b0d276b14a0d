from __future__ import annotations

import io
import os
import struct
import tempfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from audio2img.errors import InputError, UsageError
from audio2img.output.chunks import MAX_TEXT_BYTES, SIGNATURE, read_texts
from audio2img.output.pictures import encode_picture, read_record, write_picture
from audio2img.output.record import PictureRecord
from audio2img.types import ImageRequest, ImageResult


def with_prompt(image: ImageResult, prompt: str) -> ImageResult:
    return replace(image, request=replace(image.request, prompt=prompt))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*chunks: bytes, size: tuple[int, int] = (1, 1)) -> bytes:
    """A grey PNG of that size with more chunks before its pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\0\0"))
    return SIGNATURE + header + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def test_pixels_and_record_come_back(image: ImageResult, record: PictureRecord, tmp_path: Path) -> None:
    path = write_picture(image, record, tmp_path)
    assert path == tmp_path / "a-red-house-under-a-yellow-moon-42.png"
    with Image.open(path) as opened:
        np.testing.assert_array_equal(np.asarray(opened), image.pixels)
    assert read_record(path) == record


@pytest.mark.parametrize(
    "prompt", ["plain", "é ü ñ ÿ", "赤い家 🏠", "Negative prompt: a\nSteps: 1", "\ud800\x00", ""]
)
def test_any_prompt_comes_back(image: ImageResult, prompt: str, tmp_path: Path) -> None:
    image = with_prompt(image, prompt)
    assert read_record(write_picture(image, PictureRecord.of(image), tmp_path)).request.prompt == prompt


def test_the_same_record_gives_the_same_bytes(image: ImageResult, record: PictureRecord) -> None:
    assert encode_picture(image, record) == encode_picture(image, record)


@pytest.mark.parametrize(
    ("prompt", "kind"), [("a red house", b"tEXt"), ("crème brûlée", b"tEXt"), ("赤い家", b"iTXt")]
)
def test_other_programs_find_the_parameters(image: ImageResult, prompt: str, kind: bytes) -> None:
    image = with_prompt(image, prompt)
    data = encode_picture(image, PictureRecord.of(image))
    assert kind + b"parameters\0" in data
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.info["parameters"].startswith(
            f"{prompt}\nNegative prompt: blurry\nSteps: 12, Sampler: DPM++ 2M"
        )
        assert "trainedAlgorithmicMedia" in opened.info["XML:com.adobe.xmp"]


def test_texts_stand_before_the_pixels(image: ImageResult, record: PictureRecord) -> None:
    # Readers that stop at the pixels must have seen them.
    data = encode_picture(image, record)
    assert max(data.rfind(b"tEXt"), data.rfind(b"iTXt")) < data.find(b"IDAT")


def test_a_path_is_taken_as_it_is(image: ImageResult, record: PictureRecord, tmp_path: Path) -> None:
    names = [write_picture(image, record, str(tmp_path / "sub" / "Mine.PNG")).name for _ in range(2)]
    assert names == ["Mine.PNG", "Mine-2.PNG"]


def test_a_folder_may_look_like_a_picture(image: ImageResult, record: PictureRecord, tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    assert write_picture(image, record, tmp_path / "folder.png").parent.name == "folder.png"


def test_home_is_understood(image: ImageResult, record: PictureRecord, private_home: Path) -> None:
    assert write_picture(image, record, "~/pictures").parent == private_home / "pictures"


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_other_pixels_are_refused(
    image: ImageResult, record: PictureRecord, pixels: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="uint8"):
        write_picture(replace(image, pixels=pixels), record, tmp_path)
    assert os.listdir(tmp_path) == []


SMALL = ImageResult(np.zeros((4, 4, 3), np.uint8), ImageRequest("a cat"), "mini", "ab" * 32, "reference")
SMALL_PNG = encode_picture(SMALL, PictureRecord.of(SMALL))


@given(st.integers(0, len(SMALL_PNG) - 1))
@settings(max_examples=200)
def test_a_cut_file_is_refused(size: int) -> None:
    with pytest.raises(InputError):
        read_from_bytes(SMALL_PNG[:size])


@given(st.integers(0, len(SMALL_PNG) - 1), st.integers(1, 255))
@settings(max_examples=500)
def test_a_changed_byte_is_noticed(position: int, change: int) -> None:
    data = bytearray(SMALL_PNG)
    data[position] ^= change
    with pytest.raises(InputError):
        read_from_bytes(bytes(data))


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_refused(data: bytes, signed: bool) -> None:
    with pytest.raises(InputError):
        read_from_bytes(SIGNATURE * signed + data)


def read_from_bytes(data: bytes) -> PictureRecord:
    """`read_record` of a file with these bytes, somewhere of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        path.write_bytes(data)
        return read_record(path)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a PNG"),
        (b"\xff\xd8\xff\xe0JFIF", "damaged"),
        (png(), "does not say"),
        (png(chunk(b"tEXt", b"Comment\0hello")), "does not say"),
        (png(chunk(b"iTXt", b"audio2img\0\0\0\0\0not json")), "JSON"),
        (png(chunk(b"iTXt", b'audio2img\0\0\0\0\0{"version": 99}')), "version 99"),
        (png(chunk(b"iTXt", b"audio2img\0\0\0\0\0\xff")), "damaged text"),
        (png(chunk(b"zTXt", b"audio2img\0\0garbage")), "damaged text"),
        (png(chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(MAX_TEXT_BYTES + 1)))), "damaged text"),
        (SIGNATURE + struct.pack(">I", 0xFFFFFFFF) + b"tEXt", "implausibly long"),
        (SIGNATURE + struct.pack(">I", 0xFFFFFFFF) + b"IDAT" + bytes(100), "cut short"),
    ],
    ids=["empty", "jpeg", "bare", "comment", "json", "version", "utf8", "zlib", "bomb", "long", "endless"],
)
def test_what_is_no_picture_of_ours(data: bytes, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        read_from_bytes(data)
    assert caught.value.remedy


def test_a_huge_picture_is_not_unpacked(record: PictureRecord) -> None:
    body = b"audio2img\0\0\0\0\0" + record.to_json().encode()
    assert read_from_bytes(png(chunk(b"iTXt", body), size=(2**31 - 1, 2**31 - 1))) == record


def test_texts_are_bounded_together() -> None:
    text = bytes(MAX_TEXT_BYTES - 1000)
    packed = [chunk(b"zTXt", f"k{n}\0\0".encode() + zlib.compress(text, 1)) for n in range(2)]
    with pytest.raises(InputError, match="with all texts before it"):
        read_from_bytes(png(*packed))
    with pytest.raises(InputError, match="with all texts before it"):
        read_from_bytes(png(packed[0], chunk(b"tEXt", b"k\0" + bytes(2000))))
    with pytest.raises(InputError, match="does not say"):
        read_from_bytes(png(packed[0], chunk(b"tEXt", b"k\0" + bytes(1000))))


def test_packed_texts_are_read(record: PictureRecord) -> None:
    packed = zlib.compress(record.to_json().encode())
    assert read_from_bytes(png(chunk(b"iTXt", b"audio2img\0\1\0\0\0" + packed))) == record
    assert read_from_bytes(png(chunk(b"zTXt", b"audio2img\0\0" + packed))) == record


def test_a_picture_of_the_web_ui_tells_what_it_knows(tmp_path: Path) -> None:
    text = "a cat\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5, Size: 512x512, Model: v1-5"
    (tmp_path / "a.png").write_bytes(png(chunk(b"tEXt", b"parameters\0" + text.encode("latin-1"))))
    record = read_record(tmp_path / "a.png")
    assert record.request == ImageRequest("a cat", "", 5, 20, 7.0, "euler", 512, 512)
    assert (record.model, record.noise_generator) == ("v1-5", "")


def test_all_texts_are_listed(image: ImageResult, record: PictureRecord, tmp_path: Path) -> None:
    with write_picture(image, record, tmp_path).open("rb") as file:
        texts = read_texts(file, "a.png")
    assert set(texts) == {"parameters", "XML:com.adobe.xmp", "audio2img"}


@pytest.mark.parametrize("name", ["missing.png", "."])
def test_no_such_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_record(tmp_path / name)
