"""The gallery over real pictures in real folders, which others change while it is read."""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from audio2img.errors import InputError, MachineError
from audio2img.output import read_record
from audio2img.output.pictures import BY_SUFFIX
from audio2img.server import gallery as gallery_module
from audio2img.server import listing
from audio2img.server.gallery import (
    MAX_COUNT,
    MAX_LETTERS,
    MAX_OPENED,
    Gallery,
    NotInGalleryError,
    settings_of,
)
from tests.server.conftest import Draw

Make = Callable[[Draw, Path], None]


def names(gallery: Gallery, n_a_page: int = MAX_COUNT) -> list[str]:
    """Of all pictures, page by page as a browser asks for them."""
    found: list[str] = []
    while True:
        page = gallery.page(len(found), n_a_page)
        assert page.start == len(found)
        found += [picture.name for picture in page.pictures]
        if len(found) >= page.total:
            assert len(found) == page.total
            return found


def assert_not_there(gallery: Gallery, name: str) -> None:
    for ask in (gallery.open, gallery.record, gallery.path_of, gallery.thumbnail):
        with pytest.raises(NotInGalleryError) as caught:
            ask(name)
        assert caught.value.remedy
        assert str(caught.value).isprintable()


def test_a_folder_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path / "pictures")
    page = gallery.page(0, 60)
    assert (page.total, page.start, page.pictures) == (0, 0, ())
    assert page.version == gallery.version()
    assert_not_there(gallery, "a.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [*BY_SUFFIX, ".PNG"])
def test_a_picture_is_shown_as_its_record_tells(draw: Draw, suffix: str, tmp_path: Path) -> None:
    path = draw(tmp_path / f"a{suffix}", "a red house", said="draw a red house", at_s=5)
    gallery = Gallery(tmp_path)
    page = gallery.page(0, 60)
    assert page.to_json() == {
        "version": gallery.version(),
        "total": 1,
        "from": 0,
        "pictures": [
            {
                "name": f"a{suffix}",
                "time": "5000000000",
                "width": 32,
                "height": 24,
                "prompt": "a red house",
                "transcript": "draw a red house",
                "seed": 42,
                "model": "mini",
                "created": read_record(path).created,
            }
        ],
    }
    assert gallery.record(path.name) == read_record(path)
    assert gallery.path_of(path.name) == path
    with gallery.open(path.name) as found:
        assert found.file.read() == path.read_bytes()
        assert found.picture == page.pictures[0]
        assert found.version.size_bytes == path.stat().st_size
        assert found.media_type == f"image/{BY_SUFFIX[suffix.lower()].name.lower()}"
    with Image.open(io.BytesIO(gallery.thumbnail(path.name).data)) as small:
        assert (small.format, small.size) == ("WEBP", (32, 24))


def test_the_content_tells_the_media_type(draw: Draw, tmp_path: Path) -> None:
    draw(tmp_path / "a.jpg").rename(tmp_path / "a.png")
    with Gallery(tmp_path).open("a.png") as found:
        assert found.media_type == "image/jpeg"


def test_settings_to_draw_again(draw: Draw, tmp_path: Path) -> None:
    draw(tmp_path / "a.png", "a red house", said="draw a red house")
    assert settings_of(Gallery(tmp_path).record("a.png")) == {
        "prompt": "a red house",
        "negative": "blurry",
        "seed": 42,
        "steps": 12,
        "guidance": 6.5,
        "scheduler": "dpmpp-2m",
        "width": 32,
        "height": 24,
        "strength": None,
        "model": "mini",
        "transcript": "draw a red house",
        "init_image": "",
    }


def test_words_that_no_browser_could_be_sent(draw: Draw, tmp_path: Path) -> None:
    draw(tmp_path / "a.png", "a\ud800b\x00c\nd", said="e\udfff")
    gallery = Gallery(tmp_path)
    page = gallery.page(0, 1).to_json()
    assert page["pictures"][0]["prompt"] == "a b c\nd"
    json.dumps([page, settings_of(gallery.record("a.png"))], ensure_ascii=False).encode()


def test_newest_first(draw: Draw, tmp_path: Path) -> None:
    for name, at_s in [("c.png", 5), ("a.jpg", 5), ("b.webp", 9), ("d.png", 1)]:
        draw(tmp_path / name, at_s=at_s)
    assert names(Gallery(tmp_path)) == ["b.webp", "a.jpg", "c.png", "d.png"]


def test_pages_stay_within_bounds(draw: Draw, tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    for number in range(MAX_COUNT):
        (tmp_path / f"{number}.png").write_bytes(content)
    gallery = Gallery(tmp_path)
    assert len(gallery.page(0, 10**30).pictures) == MAX_COUNT
    assert len(gallery.page(-5, 0).pictures) == 1
    assert gallery.page(10**30, 60).pictures == ()
    assert len(set(names(gallery, 7))) == MAX_COUNT + 1


def make_foreign(path: Path) -> None:
    """A picture as other programs write them."""
    Image.new("RGB", (8, 8)).save(path)


@settings(max_examples=25)
@given(ours=st.lists(st.booleans(), max_size=24), n_a_page=st.integers(1, 9))
def test_walking_all_pages_gives_every_picture_once(draw: Draw, ours: list[bool], n_a_page: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, is_ours in enumerate(ours):
            (draw if is_ours else make_foreign)(folder / f"{number:02}.png")
            os.utime(folder / f"{number:02}.png", (1000 - number, 1000 - number))
        gallery = Gallery(folder)
        expected = [f"{number:02}.png" for number, is_ours in enumerate(ours) if is_ours]
        assert names(gallery, n_a_page) == expected
        assert gallery.page(0, n_a_page).total == len(expected)


def test_a_folder_full_of_photographs_holds_no_page_up(draw: Draw, tmp_path: Path) -> None:
    draw(tmp_path / "last.png", at_s=1)
    for number in range(MAX_OPENED):
        (tmp_path / f"{number}.jpg").write_bytes(b"photograph")
    gallery = Gallery(tmp_path)
    page = gallery.page(0, 60)
    assert (page.total, page.pictures) == (1, ())  # so there is more to ask for
    assert names(gallery) == ["last.png"]


def make_damaged(draw: Draw, folder: Path) -> None:
    data = bytearray(draw(folder / "a.png").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "a.png").write_bytes(data)


def make_cut(draw: Draw, folder: Path) -> None:
    os.truncate(draw(folder / "a.png"), 2000)


def make_of_the_web_ui(draw: Draw, folder: Path) -> None:
    texts = PngInfo()
    texts.add_text("parameters", "a cat\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5, Size: 8x8")
    Image.new("RGB", (8, 8)).save(folder / "a.png", pnginfo=texts)
    assert read_record(folder / "a.png").request.prompt == "a cat"


def make_link(draw: Draw, folder: Path) -> None:
    """To a picture of ours elsewhere."""
    (folder.parent / "elsewhere").mkdir()
    (folder / "a.png").symlink_to(draw(folder.parent / "elsewhere" / "a.png"))


def make_link_inside(draw: Draw, folder: Path) -> None:
    draw(folder / "b.gif.png").rename(folder / "b.gif")
    (folder / "a.png").symlink_to("b.gif")


def make_folder(draw: Draw, folder: Path) -> None:
    (folder / "a.png").mkdir()
    draw(folder / "a.png" / "b.png")


def make_text(draw: Draw, folder: Path) -> None:
    (folder / "a.png").write_text("no picture")


def make_empty(draw: Draw, folder: Path) -> None:
    (folder / "a.png").touch()


FOREIGN = [
    make_damaged,
    make_cut,
    make_of_the_web_ui,
    make_link,
    make_link_inside,
    make_folder,
    make_text,
    make_empty,
]


@pytest.mark.parametrize("make", FOREIGN, ids=lambda make: make.__name__)
def test_what_is_no_picture_of_ours_is_not_there(make: Make, draw: Draw, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    make(draw, folder)
    gallery = Gallery(folder)
    assert names(gallery) == []
    assert gallery.page(0, 60).total == 0
    assert_not_there(gallery, "a.png")


@pytest.mark.timeout(30)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_there_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    assert names(Gallery(tmp_path)) == []
    assert_not_there(Gallery(tmp_path), "a.png")


@pytest.mark.parametrize("name", [".a.png", "a\n.png", "a\x1b[2J.png", "a:b.png", "a\\b.png"])
def test_names_that_are_not_shown(draw: Draw, name: str, tmp_path: Path) -> None:
    draw(tmp_path / "a.png").rename(tmp_path / name)
    assert names(Gallery(tmp_path)) == []
    assert_not_there(Gallery(tmp_path), name)


PIECES = ["..", "/", "\\", ":", "\0", "secret.png", "a.png", ".", "pictures", "~", "C:", "\udc80", "%2e"]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=8))
def test_names_from_outside_reach_nothing_else(draw: Draw, pieces: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "pictures"
        folder.mkdir()
        draw(Path(name) / "secret.png")
        draw(folder / "a.png")
        for asked in ("".join(pieces), f"{Path(name)}/{''.join(pieces)}", f"../{''.join(pieces)}"):
            if asked != "a.png":
                assert_not_there(Gallery(folder), asked)


def test_a_picture_replaced_between_listing_and_reading(
    draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list is still the old one, but all that is told of the picture is of one file."""
    monkeypatch.setattr(listing, "_REST", 1e9)
    draw(tmp_path / "a.png", "old", at_s=5)
    new = draw(tmp_path.parent / "new.png", "new words").read_bytes()
    os.utime(tmp_path, (5, 5))
    gallery = Gallery(tmp_path)
    before = gallery.version()
    (tmp_path / "a.png").write_bytes(new)
    os.utime(tmp_path / "a.png", (7, 7))
    page = gallery.page(0, 60)
    assert page.version == before
    assert [(one.prompt, one.time_ns) for one in page.pictures] == [("new words", 7 * 10**9)]


def test_a_picture_written_anew_shows_its_new_words(draw: Draw, tmp_path: Path) -> None:
    draw(tmp_path / "a.png", "old", at_s=5)
    gallery = Gallery(tmp_path)
    assert gallery.page(0, 1).pictures[0].prompt == "old"
    first = gallery.thumbnail("a.png").data
    os.replace(draw(tmp_path / "b.png", "new"), tmp_path / "a.png")
    assert gallery.page(0, 1).pictures[0].prompt == "new"
    assert gallery.record("a.png").request.prompt == "new"
    assert gallery.thumbnail("a.png").data is not first


def test_what_was_no_picture_may_become_one(draw: Draw, tmp_path: Path) -> None:
    """As a large one that is being copied."""
    whole = draw(tmp_path / "whole.gif.png").read_bytes()
    (tmp_path / "whole.gif.png").unlink()
    (tmp_path / "a.png").write_bytes(whole[:2000])
    gallery = Gallery(tmp_path)
    assert names(gallery) == []
    (tmp_path / "b.part").write_bytes(whole)
    os.replace(tmp_path / "b.part", tmp_path / "a.png")
    assert names(gallery) == ["a.png"]
    (tmp_path / "a.png").unlink()
    assert names(gallery) == []


def test_pictures_come_and_go_while_all_are_read(draw: Draw, tmp_path: Path) -> None:
    """Those that stay are there in every reading, once; nobody meets an error."""
    stay = {draw(tmp_path / f"stay-{number}.png", at_s=1000 - number).name for number in range(8)}
    content = (tmp_path / "stay-0.png").read_bytes()
    gallery = Gallery(tmp_path)
    done = threading.Event()

    def come_and_go() -> None:
        while not done.is_set():
            for number in range(4):
                (tmp_path / f"goes-{number}.png").write_bytes(content)
            for number in range(4):
                (tmp_path / f"goes-{number}.png").unlink()

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        for _ in range(60):
            found = [picture.name for picture in gallery.page(0, 60).pictures]
            assert len(set(found)) == len(found)
            assert stay <= set(found)
            with contextlib.suppress(NotInGalleryError):
                gallery.thumbnail("goes-1.png")
    finally:
        done.set()
        other.join()
    assert set(names(gallery)) == stay


def put_link(path: Path) -> None:
    path.symlink_to("../secret.png")


@pytest.mark.timeout(30)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs macOS or Linux")
@pytest.mark.parametrize("put", [put_link, os.mkfifo, os.mkdir], ids=["link", "pipe", "folder"])
def test_what_takes_a_pictures_place_in_the_last_moment(
    put: Callable[[Path], None], draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its name was looked at, before it is opened."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    draw(tmp_path / "secret.png")
    draw(folder / "a.png")
    real = os.lstat

    def lstat(path: str) -> os.stat_result:
        status = real(path)
        os.remove(path)
        put(Path(path))
        return status

    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", lstat)
        with pytest.raises(NotInGalleryError):
            Gallery(folder).open("a.png")
    assert not stat.S_ISREG(real(folder / "a.png").st_mode)


def test_a_thumbnail_is_made_once_for_all_who_ask(draw: Draw, tmp_path: Path) -> None:
    draw(tmp_path / "a.png", size=(640, 480))  # which takes long enough for all to have asked
    gallery = Gallery(tmp_path)
    start = threading.Barrier(20)

    def ask(_number: int) -> bytes:
        start.wait()
        return gallery.thumbnail("a.png").data

    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(ask, range(20)))
    assert all(one is found[0] for one in found)


def test_thumbnails_are_kept_within_a_bound(
    draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        draw(tmp_path / f"{name}.png")
    n_bytes = len(Gallery(tmp_path).thumbnail("a.png").data)
    monkeypatch.setattr(gallery_module, "MAX_THUMBNAIL_BYTES", 2 * n_bytes)
    gallery = Gallery(tmp_path)
    first, second = gallery.thumbnail("a.png").data, gallery.thumbnail("b.png").data
    assert gallery.thumbnail("a.png").data is first
    gallery.thumbnail("c.png")  # takes the place of b, which was asked for longest ago
    assert gallery.thumbnail("a.png").data is first
    assert gallery.thumbnail("b.png").data is not second
    monkeypatch.setattr(gallery_module, "MAX_THUMBNAIL_BYTES", 1)
    gallery = Gallery(tmp_path)
    assert gallery.thumbnail("a.png").data is not gallery.thumbnail("a.png").data


def test_pixels_that_cannot_be_decoded_have_no_thumbnail(draw: Draw, tmp_path: Path) -> None:
    path = draw(tmp_path / "a.jpg")
    os.truncate(path, path.stat().st_size - 300)
    gallery = Gallery(tmp_path)
    assert names(gallery) == ["a.jpg"]
    with pytest.raises(NotInGalleryError):
        gallery.thumbnail("a.jpg")


def test_two_hundred_at_once(draw: Draw, tmp_path: Path) -> None:
    for number in range(30):
        draw(tmp_path / f"{number}.png", f"picture {number}", at_s=1000 - number)
    gallery = Gallery(tmp_path)

    def ask(number: int) -> None:
        start = number % 29
        page = gallery.page(start, 2)
        assert [picture.name for picture in page.pictures] == [f"{start}.png", f"{start + 1}.png"]
        assert gallery.record(f"{start}.png").request.prompt == f"picture {start}"
        assert gallery.thumbnail(f"{start}.png").data[:4] == b"RIFF"
        with gallery.open(f"{start}.png") as found:
            assert found.picture == page.pictures[0]

    with ThreadPoolExecutor(200) as pool:
        assert list(pool.map(ask, range(200))) == [None] * 200


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="needs macOS or Linux")
def test_files_that_cannot_be_opened_just_now_are_not_forgotten(draw: Draw, tmp_path: Path) -> None:
    import resource

    draw(tmp_path / "a.png", at_s=5)
    os.utime(tmp_path, (5, 5))
    gallery = Gallery(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(MachineError, match=r"cannot read .* now") as caught:
            gallery.open("a.png")
        with pytest.raises(MachineError):
            gallery.page(0, 60)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caught.value.remedy
    assert names(gallery) == ["a.png"]


def test_no_file_stays_open(draw: Draw, tmp_path: Path) -> None:
    """Whatever ends well or badly; an open file would be a ResourceWarning, which is an error here."""
    draw(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no picture")
    gallery = Gallery(tmp_path)
    for _ in range(3):
        gallery.page(0, 60)
        gallery.thumbnail("a.png")
        gallery.record("a.png")
        gallery.path_of("a.png")
        assert_not_there(gallery, "b.png")


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "pictures").touch()
    with pytest.raises(InputError, match="cannot read the pictures"):
        Gallery(tmp_path / "pictures").page(0, 60)


def test_a_list_has_the_beginning_of_endless_words_and_the_record_all(tmp_path: Path, draw: Draw) -> None:
    draw(tmp_path / "long.png", "tree " * 20_000, said="draw " * 20_000)
    (listed,) = Gallery(tmp_path).page(0, 60).pictures
    assert len(listed.prompt) == len(listed.transcript) == MAX_LETTERS
    assert len(Gallery(tmp_path).record("long.png").request.prompt) == 100_000
