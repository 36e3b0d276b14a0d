from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from audio2img.errors import InputError
from audio2img.output.thumbnails import encode_thumbnail


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def thumbnail(data: bytes, max_side: int = 320) -> Image.Image:
    small = Image.open(io.BytesIO(encode_thumbnail(io.BytesIO(data), "a picture", max_side)))
    assert small.format == "WEBP"
    small.load()
    return small


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize(
    ("size", "small"),
    [((640, 480), (320, 240)), ((100, 1000), (32, 320)), ((320, 20), (320, 20)), ((5, 7), (5, 7))],
)
def test_the_longer_side_decides_and_nothing_grows(
    kind: str, size: tuple[int, int], small: tuple[int, int]
) -> None:
    found = thumbnail(encoded(Image.new("RGB", size, (200, 40, 40)), kind))
    assert found.size == small
    assert np.abs(np.asarray(found.convert("RGB")).astype(int) - (200, 40, 40)).max() <= 8


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "I;16"])
def test_other_kinds_of_pixels(mode: str) -> None:
    image = Image.new("L", (40, 30), 255).convert(mode) if mode != "I;16" else Image.new(mode, (40, 30))
    assert thumbnail(encoded(image, "PNG"), 20).size == (20, 15)


def test_what_is_transparent_stays_so() -> None:
    found = thumbnail(encoded(Image.new("RGBA", (40, 30), (0, 0, 0, 0)), "PNG"))
    assert found.getchannel("A").getextrema() == (0, 0)


def test_a_camera_held_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turned right by a quarter
    assert thumbnail(encoded(Image.new("RGB", (640, 480)), "JPEG", exif=exif)).size == (240, 320)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_cut_short_is_refused(kind: str) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(InputError, match="a picture is damaged"):
        thumbnail(data[: len(data) * 2 // 3])


@pytest.mark.parametrize("data", [b"", b"text", encoded(Image.new("RGB", (8, 8)), "BMP")])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        thumbnail(data)


def test_a_bomb_is_refused() -> None:
    with pytest.raises(InputError, match=r"12000, 10000|12000x10000"):
        thumbnail(encoded(Image.new("1", (12_000, 10_000)), "PNG"))
