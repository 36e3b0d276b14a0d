"""What is printed gets through, whatever the encoding of the stream."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
