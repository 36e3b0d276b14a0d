"""Writing files and folders whole or not at all, for everybody.

What is written grows under a temporary name beside its final one, is synced, and takes its name when
all of it is there. The temporary name holds a token of ours and the process's id, so that what a
killed run left is known as ours, and nothing else is ever taken for it. Callers word the OSErrors.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path

_TEMPORARY = re.compile(r"\.audio2img-(\d{1,10})-[0-9a-f]{16}\.part")
_OLD_S = 3600.0
_VERY_OLD_S = 24 * 3600.0  # no write takes so long: another process has the writer's id by now

# How systems say that a file system (FAT, exFAT, RAM disks, network shares) cannot do a thing at all.
_UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_NO_HARD_LINKS = _UNSUPPORTED | {errno.EPERM, errno.EMLINK, errno.EXDEV}
_INVALID_FUNCTION = 1  # Windows' own number for it

_cleared: set[Path] = set()


def regular_size(path: Path) -> int:
    """The bytes of a regular file. Raises OSError for what would never end or never begin when it is read:
    devices, pipes, sockets, and links to them."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return status.st_size


def size_on_disk(path: Path) -> int:
    """The bytes of a file, or of all files in a folder; what has just gone counts nothing."""
    size = 0
    for file in path.rglob("*") if path.is_dir() else [path]:
        with contextlib.suppress(OSError):
            size += file.stat().st_size if file.is_file() else 0
    return size


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """The content of a regular file. Raises OSError for one that is larger, and for what is none."""
    size = regular_size(path)
    if size > most_bytes:
        raise OSError(errno.EFBIG, f"it has {size} bytes, more than {most_bytes}", str(path))
    return path.read_bytes()


def create_file(folder: Path, names: Iterator[str], data: bytes) -> Path:
    """Write `data` under the first of `names` that is free in `folder` (made where missing); the path.

    Never over another file: two processes that want one name get different ones. Whatever goes wrong,
    Ctrl-C included, leaves nothing behind. Raises OSError.
    """
    made: list[Path] = []
    temporary = temporary_path(folder)
    try:
        try:
            _make_folders(folder, made)
            _clear_once(folder)
            write_synced(temporary, data)
            path = _publish(temporary, folder, names)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
    except BaseException:
        for one in reversed(made):
            with contextlib.suppress(OSError):
                one.rmdir()
        raise
    sync_folder(folder)
    return path


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whose old content stays until the new one is whole. Raises OSError.

    A symbolic link is written through; the permissions of a file that was there are kept.
    """
    import shutil

    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    _clear_once(target.parent)
    temporary = temporary_path(target.parent)
    try:
        write_synced(temporary, data)
        with contextlib.suppress(OSError):
            shutil.copymode(target, temporary)
        move_over(temporary, target)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    sync_folder(target.parent)


@contextlib.contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Gives a fresh folder beside `path` to fill, which takes its name when the block ends well.

    An old folder of that name stays until then, and is back when the change fails; whatever goes
    wrong leaves nothing else behind. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(path.parent) as fresh:
        yield fresh
        put_in_place(fresh, path)


def put_in_place(folder: Path, path: Path) -> None:
    """Rename a finished folder to `path`; what is there goes, or is back on a failure. Raises OSError."""
    old = temporary_path(path.parent)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, old)
        try:
            move_over(folder, path)
        except BaseException:
            if os.path.lexists(old):
                os.rename(old, path)
            raise
    finally:
        remove(old)
    sync_folder(path.parent)


@contextlib.contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A folder in `parent` that is gone when the block ends. Raises OSError."""
    _clear_once(parent)
    folder = temporary_path(parent)
    try:
        folder.mkdir()
        yield folder
    finally:
        remove(folder)


def temporary_path(folder: Path) -> Path:
    """A new name in `folder` for what is not finished yet."""
    return folder / f".audio2img-{os.getpid()}-{os.urandom(8).hex()}.part"


def leftovers(folder: Path, older_than_s: float = _OLD_S) -> Iterator[Path]:
    """What killed processes of ours left in `folder`: by our token, old enough, and the process gone."""
    try:
        names = [entry.name for entry in os.scandir(folder)]
    except OSError:
        return
    for name in names:
        match = _TEMPORARY.fullmatch(name)
        if match is None:
            continue
        with contextlib.suppress(OSError):  # gone meanwhile
            age_s = time.time() - (folder / name).lstat().st_mtime
            is_gone = age_s >= older_than_s and not is_running(int(match[1]))
            if is_gone or age_s >= _VERY_OLD_S:
                yield folder / name


def clear_leftovers(folder: Path, older_than_s: float = _OLD_S) -> None:
    """Remove what `leftovers` finds, as far as the system lets us."""
    for path in leftovers(folder, older_than_s):
        remove(path)


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file and see it onto the disk. Raises FileExistsError, OSError."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        sync_file(file.fileno())


def sync_file(handle: int) -> None:
    """fsync, where the file system can. Raises OSError for a disk that fails."""
    try:
        os.fsync(handle)
    except OSError as error:
        if not _is_unsupported(error):
            raise


def sync_folder(folder: Path) -> None:
    """Make new names in `folder` outlive a power cut, where the system can."""
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def move_over(temporary: Path, path: Path) -> None:
    """Rename a finished file or folder to `path`, over a file that is there. Raises OSError.

    Where the file system cannot rename, it is copied.
    """
    try:
        os.replace(temporary, path)
    except OSError as error:
        if not _is_unsupported(error):
            raise
        import shutil

        if temporary.is_dir():
            shutil.copytree(temporary, path)
        else:
            shutil.copyfile(temporary, path)
        remove(temporary)


def _publish(temporary: Path, folder: Path, names: Iterator[str]) -> Path:
    """Give the finished file the first free name: link, which fails where the name is taken."""
    for name in names:
        path = folder / name
        try:
            try:
                os.link(temporary, path)
            except OSError as error:
                if error.errno not in _NO_HARD_LINKS and not _is_unsupported(error):
                    raise
                _move_to_free_name(temporary, path)
        except FileExistsError:
            continue
        return path
    raise FileExistsError(errno.EEXIST, "every name is taken", str(folder))


def _move_to_free_name(temporary: Path, path: Path) -> None:
    """For file systems without hard links (FAT, exFAT, some network shares). Raises FileExistsError."""
    # Taking the name with an empty file keeps every other process off it until the real one is moved in.
    with path.open("xb"):
        pass
    try:
        move_over(temporary, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _make_folders(folder: Path, made: list[Path]) -> None:
    """Make `folder` and the missing ones above it, noting each in `made`."""
    missing = []
    one = folder
    while not one.exists() and one != one.parent:
        missing.append(one)
        one = one.parent
    for one in reversed(missing):
        with contextlib.suppress(FileExistsError):  # somebody else made it meanwhile
            one.mkdir()
            made.append(one)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


def _clear_once(folder: Path) -> None:
    """Clear what killed runs left in a folder, the first time this process writes there."""
    if folder not in _cleared:
        _cleared.add(folder)
        clear_leftovers(folder)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, as far as the system lets us."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            import shutil

            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def is_running(process_id: int) -> bool:
    """Whether there is a process of that number."""
    if os.name == "nt":  # there os.kill would end it
        return _is_running_on_windows(process_id)
    try:
        os.kill(process_id, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _is_running_on_windows(process_id: int) -> bool:
    import ctypes

    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009, there on Windows alone
    query_limited_information, access_denied, still_active = 0x1000, 5, 259
    handle = kernel.OpenProcess(query_limited_information, False, process_id)
    if not handle:
        return bool(kernel.GetLastError() == access_denied)
    code = ctypes.c_ulong()
    kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return code.value == still_active


def _is_unsupported(error: OSError) -> bool:
    return error.errno in _UNSUPPORTED or getattr(error, "winerror", None) == _INVALID_FUNCTION
