"""What a folder holds, and whether it has changed. The clock of a file is set where it matters."""

from __future__ import annotations

import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio2img.errors import InputError
from audio2img.server import listing
from audio2img.server.listing import PictureFolder, is_picture_name

LONG_AGO = (1_000_000_000, 1_000_000_000)


def write(path: Path, content: bytes = b"content", at_s: int | None = None) -> Path:
    path.write_bytes(content)
    if at_s is not None:
        os.utime(path, (at_s, at_s))
    return path


def settle(folder: Path) -> None:
    """As if nothing had come or gone in the folder for long."""
    os.utime(folder, LONG_AGO)


@pytest.mark.parametrize(
    "name", ["a.png", "A.PNG", "a b.jpeg", "赤い家 🏠.webp", "a..png", "é" * 125 + ".png"]
)
def test_names_of_pictures(name: str) -> None:
    assert is_picture_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a",
        "png",
        ".png",
        ".a.png",
        "..png",
        "a.gif",
        "a.png.part",
        "a.png ",
        "a.png.",
        "../a.png",
        "..\\a.png",
        "b/a.png",
        "/a.png",
        "b\\a.png",
        "C:a.png",
        "C:\\a.png",
        "a.txt:b.png",
        "a.png::$DATA",
        "a\0.png",
        "a.png\0",
        "a\n.png",
        "a\x1b[2J.png",
        "a\x7f.png",
        "a\x85.png",
        "a\u2028.png",
        "a\udc80.png",
        "é" * 126 + ".png",
    ],
)
def test_names_of_none(name: str) -> None:
    assert not is_picture_name(name)


PIECES = ["..", "/", "\\", ":", "\0", "a", ".png", "~", "C:", "\udc80", "😀"]


@given(st.lists(st.sampled_from(PIECES) | st.text()))
def test_a_name_leads_nowhere_else(pieces: list[str]) -> None:
    name = "".join(pieces)
    if is_picture_name(name):
        assert Path(name).name == name
        assert not set(name) & set("/\\:\0")
        assert len(os.fsencode(name)) <= 255


def test_newest_first_then_by_name(tmp_path: Path) -> None:
    for name, at_s in [("c.png", 5), ("a.jpg", 5), ("b.webp", 9), ("d.jpeg", 1)]:
        write(tmp_path / name, at_s=at_s)
    files = PictureFolder(tmp_path).look().files
    assert [file.name for file in files] == ["b.webp", "a.jpg", "c.png", "d.jpeg"]


def test_only_regular_files_of_the_folder_itself(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(write(tmp_path / "a.gif"))
    (tmp_path / "b.png").symlink_to("missing.png")
    (tmp_path / "c.png").mkdir()
    write(tmp_path / "c.png" / "d.png")
    assert PictureFolder(tmp_path).look().files == ()


def test_a_folder_that_is_missing_comes_and_goes(tmp_path: Path) -> None:
    folder = PictureFolder(tmp_path / "pictures")
    empty = folder.look()
    assert empty.files == ()
    assert list(tmp_path.iterdir()) == []
    folder.path.mkdir()
    assert folder.look() == empty
    write(folder.path / "a.png")
    assert [file.name for file in folder.look().files] == ["a.png"]
    shutil.rmtree(folder.path)
    assert folder.look() == empty


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the pictures in") as caught:
        PictureFolder(write(tmp_path / "pictures")).look()
    assert caught.value.remedy


def test_every_change_is_another_version(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / f"{name}.png", at_s=5)
    folder = PictureFolder(tmp_path)
    versions = [folder.look().version]
    write(tmp_path / "c.png")
    versions.append(folder.look().version)
    (tmp_path / "a.png").unlink()
    versions.append(folder.look().version)
    (tmp_path / "b.png").rename(tmp_path / "d.png")
    versions.append(folder.look().version)
    assert len(set(versions)) == 4


def test_what_is_no_picture_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    folder = PictureFolder(tmp_path)
    before = folder.look()
    write(tmp_path / "notes.txt")
    (tmp_path / "b.png").mkdir()
    assert folder.look() == before
    assert PictureFolder(tmp_path).look() == before  # also of another process


def test_another_file_of_the_same_size_and_time_is_noticed(tmp_path: Path) -> None:
    """As a backup that is copied back with its times."""
    write(tmp_path / "a.png", b"first", at_s=5)
    settle(tmp_path)
    folder = PictureFolder(tmp_path)
    before = folder.look().version
    os.replace(write(tmp_path / "b.part", b"other", at_s=5), tmp_path / "a.png")
    settle(tmp_path)
    assert folder.look().version != before


def test_a_file_written_anew_in_its_place_is_noticed(tmp_path: Path) -> None:
    """The folder itself does not tell."""
    write(tmp_path / "a.png", b"first", at_s=5)
    settle(tmp_path)
    folder = PictureFolder(tmp_path)
    before = folder.look().version
    write(tmp_path / "a.png", b"other")
    while folder.look().version == before:
        pass


def test_an_unchanged_folder_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_REST", 1e9)
    write(tmp_path / "a.png", b"first", at_s=5)
    settle(tmp_path)
    folder = PictureFolder(tmp_path)
    before = folder.look()
    write(tmp_path / "a.png", b"rewritten")
    assert folder.look() is before
    write(tmp_path / "b.png")
    assert [file.name for file in folder.look().files] == ["b.png", "a.png"]


def test_two_changes_within_a_tick_of_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that has just changed may change again and look the same: its state is not believed."""
    monkeypatch.setattr(listing, "_REST", 1e9)
    write(tmp_path / "a.png", b"first", at_s=5)
    in_a_while = time.time() + 3600
    os.utime(tmp_path, (in_a_while, in_a_while))  # at least as new as one written a moment ago
    folder = PictureFolder(tmp_path)
    before = folder.look().version
    write(tmp_path / "a.png", b"rewritten")
    assert folder.look().version != before


def test_many_at_once_see_what_was_there_when_they_asked(tmp_path: Path) -> None:
    folder = PictureFolder(tmp_path)
    start = threading.Barrier(40)

    def add(number: int) -> bool:
        start.wait()
        path = write(tmp_path / f"{number}.png")
        return path.name in [file.name for file in folder.look().files]

    with ThreadPoolExecutor(40) as pool:
        assert all(pool.map(add, range(40)))
    assert len(folder.look().files) == 40
