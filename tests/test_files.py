from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from audio2img import files

NEEDS_POSIX = pytest.mark.skipif(os.name == "nt", reason="needs POSIX")

# A process that writes and is killed in the middle of it, as by the system when memory runs out.
KILLED = """
import os, signal, sys
from pathlib import Path
from audio2img import files
os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_while(code: str, folder: Path) -> Path:
    """What a process that runs `code` (with `folder`) and is killed at its first fsync left there."""
    before = set(folder.iterdir())
    done = subprocess.run([sys.executable, "-c", KILLED + code, str(folder)], check=False)
    assert done.returncode == -9
    (left,) = set(folder.iterdir()) - before
    return left


def make_old(path: Path, seconds: float) -> None:
    when = path.stat().st_mtime - seconds
    os.utime(path, (when, when))


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, code: int, *functions: str) -> Iterator[None]:
    """As if the file system could not do `os.<function>`."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as context:
        for function in functions:
            context.setattr(os, function, refuse)
        yield


def test_a_file_is_replaced_and_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "new" / "settings.toml"
    files.replace_file(path, b"one")
    path.chmod(0o600)
    files.replace_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]
    if os.name != "nt":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@NEEDS_POSIX
def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    real, link = tmp_path / "dotfiles" / "mine.toml", tmp_path / "settings.toml"
    real.write_bytes(b"old")
    link.symlink_to(Path("dotfiles", "mine.toml"))
    files.replace_file(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert list(real.parent.iterdir()) == [real]
    link.unlink()
    link.symlink_to(link)
    with pytest.raises(OSError, match="symbolic links"):
        files.replace_file(link, b"newer")


def test_a_failure_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    files.replace_file(path, b"old")
    for function in ("fsync", "replace"):
        with failing(monkeypatch, errno.EIO, function), pytest.raises(OSError, match="Input/output"):
            files.replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
@pytest.mark.parametrize("functions", [("fsync",), ("fsync", "link"), ("fsync", "link", "replace")])
def test_file_systems_that_can_do_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, functions: tuple[str, ...]
) -> None:
    with failing(monkeypatch, code, *functions):
        made = [files.create_file(tmp_path, iter(["a", "b"]), data) for data in (b"1", b"2")]
        files.replace_file(tmp_path / "b", b"3")
        with files.replace_folder(tmp_path / "c") as fresh:
            files.write_synced(fresh / "d", b"4")
    assert [path.name for path in made] == ["a", "b"]
    assert (tmp_path / "a").read_bytes() == b"1"
    assert (tmp_path / "b").read_bytes() == b"3"
    assert (tmp_path / "c" / "d").read_bytes() == b"4"
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "c"]


def test_windows_says_it_with_a_number_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = OSError(errno.EIO, "Incorrect function")
    error.winerror = 1  # type: ignore[attr-defined,unused-ignore]

    def refuse(*_: object) -> None:
        raise error

    with monkeypatch.context() as context:
        context.setattr(os, "fsync", refuse)
        context.setattr(os, "link", refuse)
        assert files.create_file(tmp_path, iter(["a"]), b"1").read_bytes() == b"1"


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    with files.replace_folder(folder) as fresh:
        (fresh / "a").write_bytes(b"1")
        assert not folder.exists()

    def fill(error: BaseException | None = None) -> None:
        with files.replace_folder(folder) as fresh:
            (fresh / "b").write_bytes(b"2")
            if error:
                raise error

    with pytest.raises(KeyboardInterrupt):
        fill(KeyboardInterrupt())
    with failing(monkeypatch, errno.EIO, "replace"), pytest.raises(OSError, match="Input/output"):
        fill()
    assert os.listdir(folder) == ["a"]
    fill()
    assert os.listdir(folder) == ["b"]
    assert os.listdir(tmp_path) == ["model"]


@NEEDS_POSIX
def test_the_next_run_clears_what_a_kill_left(tmp_path: Path) -> None:
    create = "files.create_file(Path(sys.argv[1]), iter(['a']), b'x' * 1000)"
    folder = "with files.replace_folder(Path(sys.argv[1], 'c')) as f: files.write_synced(f / 'd', b'x')"
    left = [killed_while(code, tmp_path) for code in (create, folder)]
    recent = killed_while(create, tmp_path)
    # What only looks like ours stays, however old.
    others = [".audio2img-notes", ".audio2img-12-0123456789abcdef.part.txt", "audio2img-1.part"]
    for name in others:
        (tmp_path / name).write_bytes(b"mine")
    of_this_process = files.temporary_path(tmp_path)
    of_this_process.write_bytes(b"under way")
    for path in [*left, of_this_process, *(tmp_path / name for name in others)]:
        make_old(path, 7200)
    assert set(files.leftovers(tmp_path)) == set(left)
    assert set(files.leftovers(tmp_path, older_than_s=0.0)) == {*left, recent}
    files.create_file(tmp_path, iter(["b"]), b"2")
    assert set(os.listdir(tmp_path)) == {"b", recent.name, of_this_process.name, *others}
    # The id of a process is given again, but no write takes a day.
    make_old(of_this_process, 25 * 3600)
    assert list(files.leftovers(tmp_path)) == [of_this_process]


@NEEDS_POSIX
def test_what_a_leftover_links_to_stays(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_bytes(b"kept")
    link = tmp_path / ".audio2img-999999999-0123456789abcdef.part"
    link.symlink_to(kept)
    files.clear_leftovers(tmp_path, older_than_s=0.0)
    assert os.listdir(tmp_path) == ["kept"]
    assert (kept / "file").read_bytes() == b"kept"
