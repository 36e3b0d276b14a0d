"""One number for a model's files: of nothing that is no file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from audio2img.diffusion.hashing import hash_files
from audio2img.errors import ModelError


def test_names_sizes_and_contents_count_and_hidden_files_do_not(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    whole = hash_files(tmp_path)
    (tmp_path / ".DS_Store").write_bytes(b"")
    assert hash_files(tmp_path) == whole
    (tmp_path / "a").rename(tmp_path / "b")
    assert hash_files(tmp_path) != whole


def test_a_link_to_a_file_is_read_as_the_file(tmp_path: Path) -> None:
    """A cache of the hub holds nothing but links."""
    (tmp_path / "there").write_bytes(b"one")
    for folder in ("real", "linked"):
        (tmp_path / folder).mkdir()
    (tmp_path / "real" / "a").write_bytes(b"one")
    (tmp_path / "linked" / "a").symlink_to(tmp_path / "there")
    assert hash_files(tmp_path / "real") == hash_files(tmp_path / "linked")


@pytest.mark.timeout(30)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("kind", ["pipe", "device", "nothing"])
def test_what_is_no_regular_file_is_refused(tmp_path: Path, inside: bool, kind: str) -> None:
    path = tmp_path / "model"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else tmp_path / "gone")
    with pytest.raises(ModelError, match="cannot be read") as caught:
        hash_files(tmp_path if inside else path)
    assert str(path) in caught.value.message
    assert caught.value.remedy
