"""`audio2img models compress` as a person runs it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

Command = Callable[..., Any]
SMALL = ("--bits", "4", "--parts", "vae_encoder,vae_decoder", "--no-measure")


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_help_says_what_happens(audio2img: Command) -> None:
    done = audio2img("models", "compress", "--help")
    assert done.returncode == 0
    text = " ".join(done.stdout.split())
    assert "goes on where it stopped" in text
    assert "compress" in audio2img("models", "--help").stdout


def test_a_model_is_compressed_by_its_name(audio2img: Command, mini_bundle: Path, tmp_path: Path) -> None:
    before = contents(mini_bundle)
    done = audio2img("models", "compress", "mini", "small", *SMALL)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "small\n"
    assert "bits a weight" in done.stderr.splitlines()[-1]
    report = json.loads((tmp_path / "small" / "compression" / "report.json").read_text())
    assert report["size_after"] < 0.7 * report["size_before"]
    assert report["average_bits"] == pytest.approx(4.05, abs=0.05)
    assert contents(mini_bundle) == before


def test_the_result_draws(audio2img: Command, tmp_path: Path) -> None:
    audio2img("models", "compress", "mini", "small", *SMALL, "--quiet")
    done = audio2img("generate", "a red house", "--model", "./small", "--steps", "4", "-o", "house.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "house.png").stat().st_size > 1000


def test_json_holds_the_whole_report(audio2img: Command, tmp_path: Path) -> None:
    done = audio2img("models", "compress", "mini", "small", *SMALL, "--json", "--quiet")
    assert done.stderr == ""
    table = json.loads(done.stdout)
    assert table.pop("path") == "small"
    assert table == json.loads((tmp_path / "small" / "compression" / "report.json").read_text())


@pytest.mark.parametrize(
    ("options", "exit_code", "words"),
    [
        (("--mixed", "--recipe", "r.json"), 2, ("--mixed and --recipe",)),
        (("--mixed", "--bits", "6"), 2, ("--mixed and --bits",)),
        (("--min-psnr", "40"), 2, ("--min-psnr needs --mixed",)),
        (("--recipe-name", "x"), 2, ("--recipe-name needs --recipe",)),
        (("--mixed", "--no-measure"), 2, ("--no-measure",)),
        (("--bits", "3"), 2, ("3",)),
        (("--parts", "prior"), 2, ("'prior'", "unet")),
        (("--parts", ","), 2, ("part",)),
        (("--bits", "8"), 2, ("would get smaller", "original")),
        (("--recipe", "none.json"), 6, ("none.json",)),
    ],
)
def test_what_does_not_fit_is_refused(
    audio2img: Command,
    assert_fails: Command,
    tmp_path: Path,
    options: tuple[str, ...],
    exit_code: int,
    words: tuple[str, ...],
) -> None:
    done = audio2img("models", "compress", "mini", "small", "--quiet", *options)
    assert_fails(done, exit_code, *words)
    assert list(tmp_path.iterdir()) == []


def test_places_that_do_not_fit_are_refused(
    audio2img: Command, assert_fails: Command, tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()
    assert_fails(audio2img("models", "compress", "mini", "taken", "--quiet"), 2, "taken is there already")
    assert_fails(audio2img("models", "compress", "mini", "a/b", "--quiet"), 2, "mkdir -p a")
    assert_fails(audio2img("models", "compress", "./none", "small", "--quiet"), 4, "none")
    assert_fails(audio2img("models", "compress", "mini-whisper", "small", "--quiet"), 4, "speech")


def count_done(work: Path) -> int:
    return len(list(work.glob("*.npz")))


def start(folder: Path, home: Path, *options: str) -> tuple[subprocess.Popen[bytes], Path]:
    """The command at work on its weights: some are done, not all. (process, their folder)."""
    process = subprocess.Popen(
        [sys.executable, "-m", "audio2img", "models", "compress", "mini", "small", *SMALL, *options],
        cwd=folder,
        env={**os.environ, "HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for work in folder.glob(".small.compress-*/weights"):
            if count_done(work) >= 3:
                return process, work
        time.sleep(0.005)
    process.kill()
    raise AssertionError("it never came to its weights")


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX signal, not Windows")
def test_killed_it_goes_on_where_it_was(
    audio2img: Command, private_home: Path, tmp_path: Path, workers: str
) -> None:
    (tmp_path / "killed").mkdir()
    process, work = start(tmp_path / "killed", private_home, "--workers", workers)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    n_done = count_done(work)
    assert not (tmp_path / "killed" / "small").exists()
    done = audio2img("models", "compress", "mini", "small", *SMALL, cwd=tmp_path / "killed")
    assert done.returncode == 0, done.stderr
    whole = audio2img("models", "compress", "mini", "small", *SMALL)
    assert whole.returncode == 0
    assert n_done >= 3
    assert contents(tmp_path / "killed" / "small") == contents(tmp_path / "small")
    assert not list(tmp_path.glob("**/.small*"))


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX signal, not Windows")
def test_stopped_it_says_how_to_go_on(audio2img: Command, private_home: Path, tmp_path: Path) -> None:
    process, work = start(tmp_path, private_home, "--workers", "2", "--quiet")
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == b""
    assert errors.decode() == "audio2img: stopped — the same command goes on where it was\n"
    assert count_done(work) >= 3
    assert audio2img("models", "compress", "mini", "small", *SMALL).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["small"]
