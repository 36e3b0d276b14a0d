from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from audio2img.errors import MachineError, UsageError
from audio2img.output.files import write_new_file
from audio2img.output.naming import numbered_names

DATA = bytes(range(256)) * 300


def write(folder: Path, data: bytes = DATA, name: str = "a.png") -> Path:
    return write_new_file(folder, numbered_names(name), data)


def test_a_file_is_written_whole_and_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "a.png"
    assert path.read_bytes() == DATA
    assert os.listdir(path.parent) == ["a.png"]
    assert path.stat().st_nlink == 1


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    names = [write(tmp_path, str(n).encode()).name for n in range(3)]
    assert names == ["a.png", "a-2.png", "a-3.png"]
    assert [(tmp_path / name).read_bytes() for name in names] == [b"0", b"1", b"2"]


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX modes")
def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        assert stat.S_IMODE(write(tmp_path).stat().st_mode) == 0o640
    finally:
        os.umask(previous)


def test_threads_get_different_names(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda n: write(tmp_path, str(n).encode() * 1000), range(40)))
    assert len(set(paths)) == 40
    assert {path.read_bytes() for path in paths} == {str(n).encode() * 1000 for n in range(40)}
    assert len(os.listdir(tmp_path)) == 40


def test_processes_get_different_names(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from audio2img.output.files import write_new_file\n"
        "from audio2img.output.naming import numbered_names\n"
        "folder = Path(sys.argv[1])\n"
        "for n in range(30): print(write_new_file(folder, numbered_names('a.png'), b'x' * 5000).name)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    names = [name for process in processes for name in process.communicate()[0].split()]
    assert len(names) == len(set(names)) == 60
    assert sorted(os.listdir(tmp_path)) == sorted(names)


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, function: str, error: BaseException) -> Iterator[None]:
    """As if the system refused `os.<function>` with `error`."""

    def refuse(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as context:
        context.setattr(os, function, refuse)
        yield


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_file_systems_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    with failing(monkeypatch, "link", OSError(code, os.strerror(code))):
        names = [write(tmp_path, str(n).encode()).name for n in range(3)]
    assert names == ["a.png", "a-2.png", "a-3.png"]
    assert [(tmp_path / name).read_bytes() for name in names] == [b"0", b"1", b"2"]
    assert len(os.listdir(tmp_path)) == 3


@pytest.mark.parametrize(
    ("function", "code", "says"),
    [
        ("fsync", errno.ENOSPC, "full"),
        ("fsync", errno.EDQUOT, "full"),
        ("fsync", errno.EIO, "cannot write"),
        ("fsync", errno.EFBIG, "grow"),
        ("link", errno.ENOSPC, "full"),
        ("link", errno.EACCES, "permission"),
    ],
)
def test_a_refusing_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, code: int, says: str
) -> None:
    with (
        failing(monkeypatch, function, OSError(code, os.strerror(code))),
        pytest.raises(MachineError, match=says) as caught,
    ):
        write(tmp_path / "made" / "for it")
    assert "`target`" in caught.value.remedy
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("function", ["fsync", "link"])
def test_ctrl_c_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    with failing(monkeypatch, function, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        write(tmp_path / "made")
    assert os.listdir(tmp_path) == []


def test_ctrl_c_without_hard_links_gives_the_name_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        failing(monkeypatch, "link", OSError(errno.EPERM, "")),
        failing(monkeypatch, "replace", KeyboardInterrupt()),
        pytest.raises(KeyboardInterrupt),
    ):
        write(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_failure_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, b"old")
    with failing(monkeypatch, "fsync", OSError(errno.ENOSPC, "")), pytest.raises(MachineError):
        write(tmp_path)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX limits")
def test_a_real_limit_on_file_sizes(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from audio2img.errors import MachineError\n"
        "from audio2img.output.files import write_new_file\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_new_file(Path(sys.argv[1]), iter(['a.png']), b'x' * 5000)\n"
        "except MachineError as error: sys.exit(error.message)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "5000 bytes" in result.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX permissions")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    root = os.geteuid() == 0
    if root:  # nothing is forbidden to root, so be nobody for a moment
        os.seteuid(65534)
    try:
        for folder in (locked, locked / "below"):
            with pytest.raises(MachineError, match="permission") as caught:
                write(folder)
            assert "`target`" in caught.value.remedy
    finally:
        if root:
            os.seteuid(0)
    assert os.listdir(locked) == []


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"kept")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="not a folder"):
            write(folder)
    assert (tmp_path / "file").read_bytes() == b"kept"


def test_an_impossible_folder_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name of a folder"):
        write(tmp_path / ("x" * 300))
    assert os.listdir(tmp_path) == []
