"""What is printed gets through, whatever the encoding of the stream."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from audio2img.output import read_record

pytestmark = pytest.mark.slow

ENTRY = (sys.executable, "-m", "audio2img")


def generate(words: str, folder: str | bytes, **environment: str) -> bytes:
    done = subprocess.run(
        [*ENTRY, "generate", words, "--steps", "1", "-o", folder],
        capture_output=True,
        timeout=120,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-8"])
def test_a_path_beyond_the_code_page_is_no_fault(tmp_path: Path, encoding: str) -> None:
    """As into a pipe on Windows, where the picture was drawn, and the command then failed."""
    printed = generate("赤い家", str(tmp_path), PYTHONIOENCODING=encoding)
    [path] = tmp_path.iterdir()
    assert path.name.startswith("赤い家")
    assert printed.strip() == str(path).encode(encoding, "backslashreplace")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux: elsewhere names are text")
def test_a_folder_whose_name_is_no_text_is_printed_as_it_is(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/\xff\xfe"
    printed = generate("a red house", folder)
    [name] = os.listdir(folder)
    assert printed == folder + b"/" + name + b"\n"


posix = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell, not Windows")
AUDIO2IMG = f"'{sys.executable}' -m audio2img"


def in_shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """`line` in a shell, where `audio2img` is the command; the exit code is that of its first program."""
    script = f'audio2img() {{ {AUDIO2IMG} "$@"; }}\n{line}'
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, timeout=120, cwd=folder, stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )  # fmt: skip


@posix
@pytest.mark.parametrize("closed", ["2>&-", "<&-", "<&- 2>&-"])
def test_with_closed_streams_the_work_is_done(tmp_path: Path, closed: str) -> None:
    done = in_shell(f"audio2img generate 'a red house' --steps 1 -o out {closed}", tmp_path)
    assert done.returncode == 0, done.stderr
    [picture] = (tmp_path / "out").iterdir()
    assert done.stdout.decode() == f"out/{picture.name}\n"
    assert picture.read_bytes()[:4] == b"\x89PNG"


@posix
def test_a_closed_stdout_is_nobody_who_reads(tmp_path: Path) -> None:
    done = in_shell("audio2img generate 'a red house' --steps 1 -o out.png >&-", tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "out.png").read_bytes()[:4] == b"\x89PNG"


@posix
def test_a_closed_stdin_is_no_terminal(tmp_path: Path) -> None:
    done = in_shell("audio2img transcribe - <&-", tmp_path)
    assert done.returncode == 6
    assert b"terminal" not in done.stderr
    assert b"standard input" in done.stderr


@posix
@pytest.mark.parametrize("words", ["models list", "models list --json", "--help", "generate --help"])
def test_a_reader_who_leaves_is_no_fault(tmp_path: Path, words: str) -> None:
    """The reader has gone before anything is written: the pipe has no other end."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*ENTRY, *words.split()], stdout=write, stderr=subprocess.PIPE, cwd=tmp_path, timeout=60
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux: /dev/full")
@pytest.mark.parametrize("words", ["models list", "--help", "models show mini --json"])
def test_a_full_disk_at_stdout_is_one_line(tmp_path: Path, words: str) -> None:
    done = in_shell(f"audio2img {words} > /dev/full", tmp_path)
    assert done.returncode == 5
    (line,) = done.stderr.decode().splitlines()
    assert "standard output cannot be written: No space left" in line


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux: /dev/full")
def test_a_full_disk_at_stderr_stops_nothing(tmp_path: Path) -> None:
    done = in_shell("audio2img generate 'a purple unicorn' --steps 1 -o out.png 2> /dev/full", tmp_path)
    assert (done.returncode, done.stdout) == (0, b"out.png\n")


@posix
def test_bytes_that_are_no_text_are_refused(audio2img: Any, assert_fails: Any, tmp_path: Path) -> None:
    done = audio2img("generate", "-", "-o", tmp_path / "out", stdin=b"a red h\xffuse")
    assert_fails(done, 6, "standard input is not text in UTF-8", "byte 7")
    assert not (tmp_path / "out").exists()


def test_text_without_end_is_refused(audio2img: Any, assert_fails: Any) -> None:
    assert_fails(audio2img("generate", "-", stdin=b"a red house " * 200_000), 6, "longer than a megabyte")


def test_words_of_the_other_code_page_come_through(audio2img: Any, tmp_path: Path) -> None:
    """What one command writes, the next one reads, also where PYTHONIOENCODING is not UTF-8."""
    encoding = {"PYTHONIOENCODING": "latin-1"}
    words = "ein Häuschen".encode("latin-1")
    done = audio2img("generate", "-", "--steps", "1", "-o", "out.png", stdin=words, env=encoding)
    assert done.returncode == 0, done.stderr
    assert read_record(tmp_path / "out.png").request.prompt == "ein Häuschen"


@posix
@pytest.mark.parametrize(
    "words",
    [
        "generate house -o ~nobody-at-all/x",
        "show ~nobody-at-all/x.png",
        "generate house --model ~nobody-at-all/x",
    ],
)
def test_the_home_of_nobody_is_one_line(audio2img: Any, assert_fails: Any, words: str) -> None:
    assert_fails(audio2img(*words.split()), 2, "~nobody-at-all/x", "no home folder of that user is known")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to be root")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux: the user is changed")
@pytest.mark.parametrize(
    "words", [["generate", "a house"], ["models", "list"], ["devices"], ["actions", "list"]]
)
def test_without_a_home_and_a_name_it_is_one_line(tmp_path: Path, words: list[str]) -> None:
    homeless = {name: value for name, value in os.environ.items() if name not in ("HOME", "USERPROFILE")}
    code = "import os, runpy; os.setreuid(54321, 0); runpy.run_module('audio2img', alter_sys=True)"
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, timeout=60, env=homeless, cwd="/"
    )
    assert done.returncode == 5, done.stderr
    assert done.stderr.decode().startswith("audio2img: no home folder is known")
    assert len(done.stderr.splitlines()) == 1
