"""What is wrong with a call is said before anything is loaded or fetched for it."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio2img import Audio2ImgError, AudioClip, InputError, MachineError, Options, UsageError
from audio2img.pipeline.checks import check


@pytest.mark.parametrize(
    ("options", "source", "target", "kind", "words"),
    [
        ({}, "none.wav", None, InputError, "no such file: none.wav"),
        ({}, ".", None, InputError, "is a folder"),
        ({}, "empty.wav", None, InputError, "empty.wav is empty"),
        ({"style": "nonesuch"}, None, None, UsageError, "nonesuch"),
        ({"template": "nonesuch"}, None, None, UsageError, "nonesuch"),
        ({"template": "{prompt} in {place}"}, None, None, UsageError, "placeholder {place}"),
        ({"template": "at dawn"}, None, None, UsageError, "lacks the placeholder"),
        ({}, "http://127.0.0.1:8000/a.mp3", None, InputError, "for safety"),
        ({}, "http://0x7f.1/a.mp3", None, InputError, "for safety"),
        ({}, "https://[fd00::1]/a.mp3", None, InputError, "for safety"),
        ({"init_image": "none.png"}, None, None, InputError, "none.png"),
        ({"init_image": "words.txt"}, None, None, InputError, "words.txt"),
        ({"count": 2}, None, "one.png", UsageError, "2 pictures"),
        ({}, None, "words.txt/out", UsageError, "words.txt is not a folder"),
        ({}, None, "words.txt/deeper/out.png", UsageError, "words.txt is not a folder"),
        ({}, None, "picture.tiff", UsageError, ".tiff"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_wrong_is_said_first(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    source: str | None,
    target: str | None,
    kind: type[Audio2ImgError],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    (tmp_path / "words.txt").write_text("no picture", encoding="utf-8")
    (tmp_path / "empty.wav").touch()
    with pytest.raises(kind) as caught:
        check(Options(**options), [] if source is None else [source], target)
    assert words in caught.value.message
    assert caught.value.remedy
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.wav", "words.txt"], "nothing was made"


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX permissions, not Windows")
def test_a_folder_that_may_not_be_written_into_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):  # root may do anything: ask as somebody who may not
        monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    with pytest.raises(MachineError, match="no permission"):
        check(Options(), [], tmp_path / "new" / "folder")
    tmp_path.chmod(0o700)


def test_what_can_be_done_passes(tmp_path: Path, demo_audio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    options = Options(style="ink", template="{prompt} at dawn", count=2)
    sources = (
        demo_audio, str(demo_audio), "-", "https://example.org/a.mp3", io.BytesIO(),
        AudioClip(np.zeros(1, np.float32)),
    )  # fmt: skip
    check(options, sources, tmp_path / "not" / "here" / "yet")
    check(Options(), [], tmp_path / "one.png")
    check(Options(), ["-"], tmp_path / "one.png")


@pytest.mark.parametrize(
    ("more", "target", "kind", "words"),
    [
        (["none.wav"], None, InputError, "no such file: none.wav"),
        (["http://"], None, InputError, "no address"),
        (["-", "-"], None, UsageError, "standard input"),
        ([], "one.png", None, ""),
        (["-"], "one.png", UsageError, "2 pictures"),
    ],
)
def test_all_sources_are_checked(
    tmp_path: Path, demo_audio: Path, more: list[str], target: str | None, kind: Any, words: str
) -> None:
    path = None if target is None else tmp_path / target
    with contextlib.nullcontext() if kind is None else pytest.raises(kind, match=words):
        check(Options(), [str(demo_audio), *more], path)
