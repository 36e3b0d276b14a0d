"""Pictures that people hand in, of any kind that Pillow reads."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audio2img.errors import InputError
from audio2img.output.pixels import read_pixels

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp"])
def test_pixels_and_hash(tmp_path: Path, suffix: str) -> None:
    pixels = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(pixels).save(path, **({"lossless": True} if suffix == "webp" else {}))
    found, sha256 = read_pixels(path)
    np.testing.assert_array_equal(found, pixels)
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_camera_held_upright(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turned right by a quarter
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.png")[0], np.rot90(pixels, -1))


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[:2] = (10, 20, 30, 255)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    found, _ = read_pixels(tmp_path / "a.png")
    assert (found[:2] == (10, 20, 30)).all()
    assert (found[2:] == 255).all()


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "I;16"])
def test_other_kinds_of_pixels(tmp_path: Path, mode: str) -> None:
    Image.new("L" if mode == "I;16" else mode, (6, 5)).convert(mode).save(tmp_path / "a.tiff")
    found, _ = read_pixels(tmp_path / "a.tiff")
    assert (found.shape, found.dtype) == ((5, 6, 3), np.uint8)


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match="no picture") as caught:
        read_pixels(path)
    assert caught.value.remedy


def test_a_picture_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError):
        read_pixels(path)


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("1", (20_000, 20_000)).save(path)
    with pytest.raises(InputError, match=r"20000x20000|no picture"):
        read_pixels(path)


def test_what_is_no_picture_is_said_without_names_of_objects(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("no picture")
    with pytest.raises(
        InputError, match=r"notes\.png is no picture that can be read: it is of no known kind"
    ):
        read_pixels(tmp_path / "notes.png")
