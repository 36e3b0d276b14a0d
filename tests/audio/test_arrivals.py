"""Which recordings in a folder are new and whole, look by look."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from audio2img.audio.arrivals import arrivals, list_recordings
from audio2img.errors import InputError

Step = Callable[[], object]
NOBODY = 65534


class Over(Exception):  # noqa: N818
    """All that was to happen has happened."""


def taken(folder: Path, *steps: Step) -> list[str]:
    """The names that are handed on when each of the steps happens before one look, and two looks follow."""
    left = iter([*steps, lambda: None, lambda: None])
    found: list[str] = []

    def wait() -> None:
        step = next(left, None)
        if step is None:
            raise Over
        step()

    with contextlib.suppress(Over):
        for path in arrivals(folder, list_recordings(folder), wait):
            assert path.parent == folder
            found.append(path.name)
    return found


def put(path: Path, content: bytes = b"sound", modified_s: int = 100) -> Step:
    def write() -> None:
        path.write_bytes(content)
        os.utime(path, (modified_s, modified_s))

    return write


def nothing() -> None:
    pass


@pytest.fixture
def a_folder_of_mine() -> Iterator[Path]:
    """A folder of a user whom permissions bind, which they do not root; the test is that user meanwhile."""
    with tempfile.TemporaryDirectory() as name:
        if os.geteuid() != 0:
            yield Path(name)
            return
        os.chown(name, NOBODY, -1)
        os.seteuid(NOBODY)
        try:
            yield Path(name)
        finally:
            os.seteuid(0)


def test_what_was_there_is_left_and_what_comes_is_taken(tmp_path: Path) -> None:
    put(tmp_path / "old.wav")()
    assert taken(tmp_path, put(tmp_path / "new.wav")) == ["new.wav"]


def test_a_file_that_still_grows_is_not_taken_yet(tmp_path: Path) -> None:
    path = tmp_path / "memo.m4a"
    looks: list[int] = []
    growing = [put(path, b"x" * n) for n in (0, 1, 2, 3)]
    same_size_other_time = put(path, b"y" * 3, 101)
    left = iter([*growing, same_size_other_time, nothing, nothing])

    def wait() -> None:
        step = next(left, None)
        if step is None:
            raise Over
        looks.append(1)
        step()

    found = arrivals(tmp_path, {}, wait)
    assert next(found) == path
    assert len(looks) == 6, "the first look that finds it as the one before did"
    assert path.read_bytes() == b"yyy"
    with pytest.raises(Over):
        next(found)


def test_an_empty_file_is_one_that_has_not_begun(tmp_path: Path) -> None:
    path = tmp_path / "memo.wav"
    assert taken(tmp_path, put(path, b""), nothing, nothing) == []
    path.unlink()
    assert taken(tmp_path, put(path, b""), nothing, nothing, put(path, b"x", 200)) == ["memo.wav"]


def test_a_file_that_was_growing_at_the_start_is_new(tmp_path: Path) -> None:
    put(tmp_path / "half.wav", b"so")()
    assert taken(tmp_path, put(tmp_path / "half.wav", b"sound", 101)) == ["half.wav"]


def test_touching_makes_no_new_recording(tmp_path: Path) -> None:
    put(tmp_path / "old.wav")()
    new = tmp_path / "new.wav"
    touched = [put(tmp_path / "old.wav", modified_s=300), nothing, put(new, modified_s=300)]
    assert taken(tmp_path, put(new), nothing, *touched) == ["new.wav"]


@pytest.mark.parametrize("content", [b"other", b"longer than before"])
def test_a_file_that_is_changed_comes_again(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "new.wav"
    assert taken(tmp_path, put(path), nothing, put(path, content, 300)) == ["new.wav", "new.wav"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs the permissions of POSIX, not Windows")
def test_a_file_that_could_not_be_read_comes_again_when_it_can(a_folder_of_mine: Path) -> None:
    path = a_folder_of_mine / "memo.wav"

    def come_locked() -> None:
        put(path)()
        path.chmod(0)

    def unlock() -> None:
        path.chmod(0o600)
        os.utime(path, (200, 200))

    assert taken(a_folder_of_mine, come_locked, nothing, unlock) == ["memo.wav", "memo.wav"]


def test_a_file_that_goes_and_comes_back_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "new.wav"
    assert taken(tmp_path, put(path), nothing, path.unlink, put(path, modified_s=300)) == ["new.wav"]
    assert taken(tmp_path, path.unlink, nothing, put(path, modified_s=400)) == []


def test_a_file_that_is_gone_before_it_is_whole_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "new.wav"
    assert taken(tmp_path, put(path), path.unlink) == []


@pytest.mark.parametrize(
    "name",
    [
        ".memo.wav", "._memo.wav", ".memo.m4a.icloud", "memo.wav.part", "memo.wav.crdownload", "memo.tmp",
        "picture.png", "picture.jpg", "notes.txt", "memo", "wav", ".wav",
    ],
)  # fmt: skip
def test_what_is_hidden_half_or_no_sound_is_left(tmp_path: Path, name: str) -> None:
    assert taken(tmp_path, put(tmp_path / name)) == []


@pytest.mark.parametrize("name", ["MEMO.WAV", "Neue Aufnahme 3.m4a", "été.opus", "a.part.mp3"])
def test_names_of_sounds(tmp_path: Path, name: str) -> None:
    assert taken(tmp_path, put(tmp_path / name)) == [name]


def test_a_download_that_gets_its_name_is_taken(tmp_path: Path) -> None:
    part, whole = tmp_path / "memo.mp3.part", tmp_path / "memo.mp3"
    assert taken(tmp_path, put(part), nothing, lambda: part.rename(whole)) == ["memo.mp3"]


def test_folders_are_no_recordings(tmp_path: Path) -> None:
    assert taken(tmp_path, (tmp_path / "album.wav").mkdir) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs named pipes, not Windows")
def test_pipes_are_no_recordings(tmp_path: Path) -> None:
    assert taken(tmp_path, lambda: os.mkfifo(tmp_path / "pipe.wav")) == []


def test_the_oldest_comes_first(tmp_path: Path) -> None:
    def both() -> None:
        put(tmp_path / "a.wav", modified_s=200)()
        put(tmp_path / "b.wav", modified_s=100)()

    assert taken(tmp_path, both) == ["b.wav", "a.wav"]


def test_a_folder_that_cannot_be_watched_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for name, words in (("none", "no such folder"), ("file", "is a file"), ("\0", "cannot read")):
        with pytest.raises(InputError, match=words) as caught:
            list_recordings(tmp_path / name)
        assert caught.value.remedy


def test_a_folder_that_goes_ends_it(tmp_path: Path) -> None:
    folder = tmp_path / "memos"
    folder.mkdir()
    with pytest.raises(InputError, match="no such folder"):
        list(arrivals(folder, {}, folder.rmdir))
