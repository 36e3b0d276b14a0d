"""Several recordings in one command: those that are named, and those that arrive in a folder."""

from __future__ import annotations

import io
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

import pytest
from PIL import Image

from audio2img.cli.outcome import Outcome
from audio2img.cli.streams import ResultsLostError
from audio2img.errors import (
    Audio2ImgError,
    CancelledError,
    InputError,
    MachineError,
    ModelError,
    NothingToDrawError,
)
from audio2img.output import read_record

pytestmark = pytest.mark.slow

DEMO_TEXT = "please draw a big red house at night"

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def memos(tmp_path: Path, demo_audio: Path) -> Path:
    """A folder with two recordings of a sentence, one of silence, and one that is no sound."""
    folder = tmp_path / "memos"
    folder.mkdir()
    for name in ("a.flac", "b.flac"):
        shutil.copyfile(demo_audio, folder / name)
    with wave.open(str(folder / "silence.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(bytes(32000))
    (folder / "broken.wav").write_bytes(b"no sound at all")
    return folder


def test_each_line_of_text_says_whose_it_is(audio2img: Command, memos: Path) -> None:
    done = audio2img("transcribe", "a.flac", "./b.flac", cwd=memos)
    assert done.returncode == 0
    assert done.stdout == f"a.flac: {DEMO_TEXT}\n./b.flac: {DEMO_TEXT}\n"


def test_standard_input_may_be_one_of_several(audio2img: Command, memos: Path) -> None:
    done = audio2img("transcribe", "-", "a.flac", cwd=memos, stdin=(memos / "b.flac").read_bytes())
    assert (done.returncode, done.stdout) == (0, f"-: {DEMO_TEXT}\na.flac: {DEMO_TEXT}\n")


def test_one_that_cannot_be_understood_loses_no_other(audio2img: Command, memos: Path) -> None:
    names = ("silence.wav", "a.flac", "broken.wav", "b.flac")
    done = audio2img("transcribe", "--quiet", *names, cwd=memos)
    assert done.stdout == f"a.flac: {DEMO_TEXT}\nb.flac: {DEMO_TEXT}\n"
    assert done.returncode == 3, "that of the first that failed"
    silent, broken = done.stderr.splitlines()
    assert silent.startswith("audio2img: silence.wav is silent")
    assert broken.startswith("audio2img: broken.wav is not a recording")


def test_names_that_are_alike_are_told_apart(audio2img: Command, memos: Path) -> None:
    (memos / "deeper").mkdir()
    shutil.copyfile(memos / "broken.wav", memos / "deeper" / "broken.wav")
    done = audio2img("transcribe", "broken.wav", "deeper/broken.wav", cwd=memos)
    assert done.returncode == 6
    first, second = done.stderr.splitlines()
    assert first.startswith("audio2img: broken.wav is not")
    assert second.startswith("audio2img: deeper/broken.wav: broken.wav is not")


def test_json_is_one_object_a_line_for_each(audio2img: Command, memos: Path) -> None:
    done = audio2img("transcribe", "--json", "a.flac", "broken.wav", "b.flac", cwd=memos)
    assert done.returncode == 6
    tables = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(table["source"], table["text"]) for table in tables] == [
        ("a.flac", DEMO_TEXT),
        ("b.flac", DEMO_TEXT),
    ]
    [error] = [json.loads(line)["error"] for line in done.stderr.splitlines()]
    assert (error["source"], error["exit_code"]) == ("broken.wav", 6)
    assert set(error) == {"message", "remedy", "exit_code", "source"}


def test_json_of_one_says_its_source_too(audio2img: Command, memos: Path) -> None:
    table = json.loads(audio2img("transcribe", "--json", "a.flac", cwd=memos).stdout)
    assert (table["source"], table["text"]) == ("a.flac", DEMO_TEXT)


def test_several_are_drawn_into_one_folder(audio2img: Command, memos: Path, tmp_path: Path) -> None:
    names = ("a.flac", "broken.wav", "b.flac")
    done = audio2img("run", *names, "--steps", 1, "--count", 2, "-o", tmp_path / "out", cwd=memos)
    assert done.returncode == 6
    paths = [Path(line) for line in done.stdout.splitlines()]
    assert sorted(paths) == sorted((tmp_path / "out").iterdir())
    assert [read_record(path).audio_source for path in paths] == ["a.flac"] * 2 + ["b.flac"] * 2
    assert "broken.wav" in done.stderr


def test_the_pictures_of_several_as_json(audio2img: Command, memos: Path, tmp_path: Path) -> None:
    words = ["run", "a.flac", "b.flac", "--json", "--steps", 1, "--count", 2, "-o", tmp_path / "out"]
    done = audio2img(*words, cwd=memos)
    tables = [json.loads(line) for line in done.stdout.splitlines()]
    assert [table["source"] for table in tables] == ["a.flac", "b.flac"]
    paths = [picture["path"] for table in tables for picture in table["pictures"]]
    assert len(paths) == 4
    assert sorted(paths) == sorted(map(str, (tmp_path / "out").iterdir()))


@pytest.mark.parametrize(
    ("words", "exit_code", "hints"),
    [
        (["run", "a.flac", "none.wav"], 6, ["no such file", "none.wav"]),
        (["transcribe", "a.flac", "none.wav"], 6, ["no such file", "none.wav"]),
        (["run", "a.flac", "b.flac", "-o", "x.png"], 2, ["x.png", "give a folder"]),
        (["run", "-", "a.flac", "-"], 2, ["standard input", "once"]),
        (["transcribe", "-", "-"], 2, ["standard input", "once"]),
        (["run", "a.flac", "b.flac", "--from", "x.png"], 2, ["--from"]),
        (["transcribe"], 2, ["AUDIO"]),
        (["run", "--watch", ".", "a.flac"], 2, ["--watch", "AUDIO"]),
        (["run", "--watch", ".", "--from", "x.png"], 2, ["--watch", "--from"]),
        (["run", "--watch", ".", "--keep-audio"], 2, ["--keep-audio"]),
        (["run", "--watch", ""], 2, ["--watch needs a folder"]),
        (["run", "--watch", "none"], 6, ["no such folder", "none"]),
        (["run", "--watch", "a.flac"], 6, ["a.flac is a file"]),
        (["run", "--watch", ".", "-o", "x.png"], 2, ["x.png", "give a folder"]),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_done(
    audio2img: Command,
    assert_fails: Callable[..., None],
    memos: Path,
    words: list[str],
    exit_code: int,
    hints: list[str],
) -> None:
    before = sorted(memos.iterdir())
    assert_fails(audio2img(*words, cwd=memos), exit_code, *hints)
    assert sorted(memos.iterdir()) == before


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX terminal, not Windows")
def test_on_a_terminal_each_result_has_a_line_of_its_own(
    shown: Callable[..., tuple[int, bytes]], memos: Path
) -> None:
    sources = [memos / name for name in ("a.flac", "broken.wav", "b.flac")]
    exit_code, output = shown("transcribe", *sources)
    assert exit_code == 6
    text = output.decode()
    for line in (f"{sources[0]}: {DEMO_TEXT}", f"{sources[2]}: {DEMO_TEXT}", "audio2img: "):
        before = text.partition(line)[0]
        assert before.endswith(("\n", "\x1b[2K")), "at the beginning of a line that was cleared"
    assert text.count(DEMO_TEXT + "\n") >= 2


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX terminal, not Windows")
def test_previews_of_one_do_not_cover_what_is_said_of_another(
    shown: Callable[..., tuple[int, bytes]], memos: Path
) -> None:
    kitty = {"KITTY_WINDOW_ID": "1", "TERM": "xterm-kitty"}
    words = ["run", memos / "a.flac", memos / "b.flac", "--steps", "8", "-o", memos]
    exit_code, output = shown(*map(str, words), env=kitty)
    assert exit_code == 0
    first, second, rest = re.split(rb"\.png\n", output)
    assert set(re.findall(rb"i=(\d+)", first)) == {b"2114"}
    assert set(re.findall(rb"i=(\d+)", second)) == {b"2115"}
    assert b"i=" not in rest


@pytest.mark.parametrize(
    ("error", "is_patient", "exit_code"),
    [
        (InputError("no sound", "another"), False, 6),
        (NothingToDrawError("no words", "another"), True, 3),
        (MachineError("the disk is full", "free 1 MB"), True, 5),
        (MachineError("the disk is full", "free 1 MB"), False, None),
        (ResultsLostError("nothing more is printed", "make room"), True, None),
        (ModelError("damaged", "get it again"), True, None),
        (CancelledError("stopped"), True, None),
    ],
)
def test_what_one_of_several_may_get_wrong(
    error: Audio2ImgError, is_patient: bool, exit_code: int | None
) -> None:
    outcome, said = Outcome(), list[str]()
    with nullcontext() if exit_code else pytest.raises(type(error)):
        with outcome.survives("memo.wav", said.append, is_patient):
            raise error
        with outcome.survives("other.wav", said.append, is_patient):
            raise InputError("no sound either", "another")
    assert outcome.exit_code == (exit_code or 0), "of the first"
    assert len(said) == (2 if exit_code else 0)


@pytest.mark.parametrize(
    ("typed", "kind"),
    [("run me", "file"), ("run a.wav me", "file"), ("transcribe me", "file"), ("classify me", "file"),
     ("run --watch me", "dir")],
)  # fmt: skip
def test_the_shell_completes_files(audio2img: Command, typed: str, kind: str) -> None:
    typed = f"audio2img {typed}"
    place = str(len(typed.split()) - 1)
    env = {"_AUDIO2IMG_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": place}
    assert audio2img(env=env).stdout == f"{kind},me\n"


class Lines:
    """The lines of a process's output, as they come."""

    def __init__(self, stream: IO[str] | None) -> None:
        self._stream = stream
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with self._stream or io.StringIO() as stream:
            for line in stream:
                self._lines.put(line.rstrip("\n"))

    def next(self) -> str:
        return self._lines.get(timeout=120)

    def rest(self) -> list[str]:
        """What is left of them when the process has ended."""
        self._reader.join(60)
        return list(self._lines.queue)


class Watching:
    """A `run --watch` that is running."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.printed, self.said = Lines(process.stdout), Lines(process.stderr)

    def wait(self) -> int:
        """The exit code."""
        return self._process.wait(120)

    def press_ctrl_c(self) -> int:
        """The exit code."""
        assert self._process.poll() is None
        self._process.send_signal(signal.SIGINT)
        return self.wait()

    def end(self) -> None:
        self._process.kill()
        self._process.wait(60)
        self.printed.rest()
        self.said.rest()


@contextmanager
def watching(folder: Path, *options: Any, stdout: Any = subprocess.PIPE) -> Iterator[Watching]:
    words = ["run", "--watch", folder, "--steps", "1", *options]
    process = subprocess.Popen(
        [sys.executable, "-m", "audio2img", *map(str, words)],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=dict(os.environ),
    )
    command = Watching(process)
    try:
        yield command
    finally:
        command.end()


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals, not Windows")
def test_what_arrives_in_a_folder_is_drawn_until_ctrl_c(memos: Path, demo_audio: Path) -> None:
    with watching(memos, "-o", memos) as command:
        assert command.said.next() == (
            f"watching {memos}: 4 recordings are there already and left alone; Ctrl-C ends it"
        )
        half = memos / "new.flac.part"
        shutil.copyfile(demo_audio, half)
        half.rename(memos / "new.flac")
        first = Path(command.printed.next())
        assert read_record(first).audio_source == "new.flac"

        (memos / "noise.mp3").write_bytes(b"no sound")  # after it comes one more that is
        assert command.said.next().startswith(f"audio2img: {memos / 'noise.mp3'}: noise.mp3 is not")
        os.utime(memos / "new.flac", (1, 1))
        shutil.copyfile(demo_audio, memos / "newer.flac")
        second = Path(command.printed.next())
        assert read_record(second).audio_source == "newer.flac"

        assert command.press_ctrl_c() == 130
        assert command.said.rest() == ["audio2img: stopped"]
        assert command.printed.rest() == []
    pictures = sorted(memos.glob("*.png"))
    assert pictures == sorted([first, second])
    for path in pictures:
        with Image.open(path) as picture:
            picture.load()


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals, not Windows")
def test_watching_as_json_is_a_line_for_each(tmp_path: Path, demo_audio: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    with watching(folder, "--json", "-o", tmp_path / "out") as command:
        assert "0 recordings" in command.said.next()
        (folder / "noise.wav").write_bytes(b"no sound")
        assert json.loads(command.said.next())["error"]["source"] == str(folder / "noise.wav")
        shutil.copyfile(demo_audio, folder / "new.flac")
        table = json.loads(command.printed.next())
        assert (table["source"], len(table["pictures"])) == (str(folder / "new.flac"), 1)
        assert command.press_ctrl_c() == 130
        [line] = command.said.rest()
        assert json.loads(line)["error"]["exit_code"] == 130


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux: /dev/full")
def test_watching_ends_when_nothing_more_can_be_printed(tmp_path: Path, demo_audio: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    with (
        Path("/dev/full").open("w") as full,
        watching(folder, "-o", tmp_path / "out", stdout=full) as command,
    ):
        assert "0 recordings" in command.said.next()
        shutil.copyfile(demo_audio, folder / "new.flac")
        assert command.wait() == 5
        [line] = command.said.rest()
    assert line.startswith("audio2img: standard output cannot be written")
    assert len(list((tmp_path / "out").iterdir())) == 1, "the picture itself is there"
