"""The folder of pictures as a gallery: pages of it, newest first, single pictures, and thumbnails.

Nothing is ever written. Others may add, replace and remove pictures at any time. Whatever is no picture of
ours is not there: names from outside reach no other folder, no link and no device.
"""

from __future__ import annotations

import os
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from audio2img.errors import InputError
from audio2img.output.parameters import without_controls
from audio2img.output.pictures import read_own_record, recognize
from audio2img.output.record import PictureRecord
from audio2img.output.thumbnails import encode_thumbnail
from audio2img.server.listing import FileVersion, PictureFolder, explain, is_exhausted, is_picture_name
from audio2img.server.remembered import Remembered

MAX_COUNT = 200
"""The most pictures of a page."""

THUMBNAIL_SIDE = 320  # pixels
MAX_THUMBNAIL_BYTES = 64 << 20
MAX_PICTURE_BYTES = 32 << 20  # of what is remembered about pictures; 10,000 usual ones take 10 MB
MAX_OPENED = 2 * MAX_COUNT
"""The most files that are opened for a page: a folder full of photographs must not hold it up."""

MAX_LETTERS = 10_000
"""Of each text in a list; the record has all of it."""

_PICTURE_BYTES = 1000  # of a remembered picture without its texts

_OPEN_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)  # on Windows
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a pipe that took a picture's place must not hold us up
)


class NotInGalleryError(InputError):
    """There is no picture of ours of that name."""


@dataclass(frozen=True)
class GalleryPicture:
    """What a list of pictures shows of one. time_ns: when its file was written. Unknown texts are ""."""

    name: str
    time_ns: int
    width: int
    height: int
    prompt: str
    transcript: str
    seed: int
    model: str
    created: str

    def to_json(self) -> dict[str, Any]:
        """The time as text: JavaScript's numbers do not hold it."""
        return {
            "name": self.name,
            "time": str(self.time_ns),
            "width": self.width,
            "height": self.height,
            "prompt": self.prompt,
            "transcript": self.transcript,
            "seed": self.seed,
            "model": self.model,
            "created": self.created,
        }


@dataclass(frozen=True)
class GalleryPage:
    """Pictures `start` to `start + len(pictures)` of `total`; the next page begins where this one ends.

    A page may be short, even empty, though more follow: where many files turned out not to be ours.
    """

    version: str
    total: int
    start: int
    pictures: tuple[GalleryPicture, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "total": self.total,
            "from": self.start,
            "pictures": [picture.to_json() for picture in self.pictures],
        }


@dataclass(frozen=True)
class Thumbnail:
    """data: WebP; time_ns: when the picture that it shows was written."""

    data: bytes
    time_ns: int


@dataclass(frozen=True)
class OpenPicture:
    """A picture whose content comes from `file` alone, whatever happens to its name. Close it."""

    file: BinaryIO
    version: FileVersion
    picture: GalleryPicture
    media_type: str

    def __enter__(self) -> OpenPicture:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.file.close()


def settings_of(record: PictureRecord) -> dict[str, Any]:
    """What the page puts into its fields to draw such a picture; plain values, no control characters."""
    request = record.request
    return {
        "prompt": without_controls(request.prompt),
        "negative": without_controls(request.negative_prompt),
        "seed": request.seed,
        "steps": request.steps,
        "guidance": request.guidance_scale,
        "scheduler": without_controls(request.scheduler),
        "width": request.width,
        "height": request.height,
        "strength": request.strength,
        "model": without_controls(record.model),
        "transcript": without_controls(record.transcript.text) if record.transcript else "",
        "init_image": without_controls(request.init_image.name) if request.init_image else "",
    }


class Gallery:
    """The pictures of ours in a folder, which may not exist yet. Any thread may call any method.

    Only the files that a page shows are opened, and what they say is remembered for as long as they stay
    as they are. What the system refuses whatever the file is raised as `listing.explain` words it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = PictureFolder(folder)
        self._pictures: Remembered[GalleryPicture] = Remembered(MAX_PICTURE_BYTES)
        self._thumbnails: Remembered[bytes] = Remembered(MAX_THUMBNAIL_BYTES)
        self._foreign: frozenset[FileVersion] = frozenset()
        self._noting = threading.Lock()
        self._making = threading.Lock()

    def version(self) -> str:
        """Another text after any file with a picture's name was added, removed or written anew."""
        return self._folder.look().version

    def page(self, start: int, count: int) -> GalleryPage:
        """`count` (made to be 1 to MAX_COUNT) pictures from `start` on, counted from the newest.

        Files that turn out not to be ours are left out from then on, also of the total.
        """
        start, count = max(start, 0), min(max(count, 1), MAX_COUNT)
        listing = self._folder.look()
        foreign = self._foreign
        files = [file for file in listing.files if file not in foreign]
        pictures: list[GalleryPicture] = []
        others: list[FileVersion] = []
        for file in files[start : start + MAX_OPENED]:
            try:
                pictures.append(self._pictures.get(file) or self._read_picture(file.name))
            except NotInGalleryError:
                others.append(file)
            if len(pictures) == count:
                break
        if others:
            with self._noting:  # and forget those that are no longer there
                self._foreign = self._foreign.intersection(listing.files).union(others)
        return GalleryPage(listing.version, len(files) - len(others), start, tuple(pictures))

    def open(self, name: str) -> OpenPicture:
        """The picture of that name, opened. Raises NotInGalleryError when there is none of ours."""
        file, version = self._open_file(name)
        try:
            picture = self._pictures.get(version)
            if picture is None:
                picture = _summarize(version, read_own_record(file, _quoted(name)))
                n_letters = len(picture.prompt) + len(picture.transcript)
                self._pictures.put(version, picture, _PICTURE_BYTES + 4 * n_letters)
            form = recognize(file)
            if form is None:
                raise _missing(name)
            return OpenPicture(file, version, picture, form.media_type)
        except BaseException as error:
            file.close()
            if isinstance(error, (InputError, OSError)):
                raise _missing(name) from error
            raise

    def record(self, name: str) -> PictureRecord:
        """How that picture was made. Raises NotInGalleryError when there is none of ours."""
        file, _ = self._open_file(name)
        with file:
            try:
                return read_own_record(file, _quoted(name))
            except InputError as error:
                raise _missing(name) from error

    def path_of(self, name: str) -> Path:
        """Where that picture lies. Raises NotInGalleryError when there is none of ours."""
        self.open(name).file.close()
        return self._folder.path / name

    def thumbnail(self, name: str) -> Thumbnail:
        """A WebP of at most THUMBNAIL_SIDE pixels a side.

        Raises NotInGalleryError when there is no picture of ours of that name that can be decoded.
        """
        with self.open(name) as opened:
            small = self._thumbnails.get(opened.version)
            if small is not None:
                return Thumbnail(small, opened.version.mtime_ns)
            # One at a time: no two make the same, and a hundred large ones do not fill the memory.
            with self._making:
                small = self._thumbnails.get(opened.version)
                if small is None:
                    try:
                        small = encode_thumbnail(opened.file, _quoted(name), THUMBNAIL_SIDE)
                    except InputError as error:
                        raise _missing(name) from error
                    self._thumbnails.put(opened.version, small, len(small))
            return Thumbnail(small, opened.version.mtime_ns)

    def _read_picture(self, name: str) -> GalleryPicture:
        with self.open(name) as opened:
            return opened.picture

    def _open_file(self, name: str) -> tuple[BinaryIO, FileVersion]:
        """A regular file of the folder itself, opened, and what it is by then."""
        if not is_picture_name(name):
            raise _missing(name)
        path = os.path.join(self._folder.path, name)
        try:
            # Before opening, which some devices and pipes notice; and below again, of what was opened.
            if not stat.S_ISREG(os.lstat(path).st_mode):
                raise _missing(name)
            handle = os.open(path, _OPEN_FLAGS)
        except OSError as error:
            if is_exhausted(error):
                raise explain(error, self._folder.path) from error
            raise _missing(name) from error
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            os.close(handle)
            raise _missing(name)
        return os.fdopen(handle, "rb"), FileVersion.of(name, status)


def _summarize(file: FileVersion, record: PictureRecord) -> GalleryPicture:
    request = record.request
    return GalleryPicture(
        name=file.name,
        time_ns=file.mtime_ns,
        width=request.width or 0,
        height=request.height or 0,
        prompt=without_controls(request.prompt[:MAX_LETTERS]),
        transcript=without_controls(record.transcript.text[:MAX_LETTERS]) if record.transcript else "",
        seed=request.seed,
        model=without_controls(record.model),
        created=without_controls(record.created),
    )


def _missing(name: str) -> NotInGalleryError:
    return NotInGalleryError(
        f"there is no picture {_quoted(name)} in the gallery", "look through the gallery again"
    )


def _quoted(name: str) -> str:
    return repr(name[:80])
