"""Which program the actions are made to call."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import pytest

from audio2img.errors import MachineError
from audio2img.macos.command import find_command
from tests.macos.conftest import INSTALLED


def make(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_one_that_was_started_is_taken_and_its_link_kept(tmp_path, monkeypatch):
    real = make(tmp_path / "Cellar" / "audio2img" / "0.1.0" / "bin" / "audio2img")
    link = tmp_path / "bin" / "audio2img"
    link.parent.mkdir()
    link.symlink_to(real)
    monkeypatch.setattr(sys, "argv", [str(link), "actions", "install"])
    assert find_command() == link


def test_started_as_a_module_the_one_beside_this_python(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/audio2img/__main__.py"])
    assert find_command() == INSTALLED


def test_then_the_one_on_the_path(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["-c"])
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / "nowhere"))
    monkeypatch.setenv("PATH", str(tmp_path / "a b"))
    with pytest.raises(MachineError, match="not installed where it could be found"):
        find_command()
    there = make(tmp_path / "a b" / "audio2img")
    assert find_command() == there


def test_a_path_that_is_given_wins_and_becomes_absolute(tmp_path, monkeypatch):
    make(tmp_path / "x" / "mine")
    monkeypatch.chdir(tmp_path)
    assert find_command("x/../x/mine") == tmp_path / "x" / "mine"


def test_what_cannot_be_run_is_refused(tmp_path):
    (tmp_path / "text").write_text("x")
    for path in (tmp_path, tmp_path / "text", tmp_path / "nothing"):
        with pytest.raises(MachineError, match="is not a program"):
            find_command(str(path))


@pytest.mark.parametrize("name", ["two\nlines", "bell\a", "carriage\rreturn"])
def test_what_a_property_list_cannot_hold_is_refused(tmp_path, name):
    with pytest.raises(MachineError, match="characters that macOS cannot keep"):
        find_command(str(make(tmp_path / name / "audio2img")))
