"""A download that is killed at 50 random moments: nothing corrupt at a final name, nothing fetched twice."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audio2img.config import data_dir
from audio2img.store.receipts import installed
from audio2img.store.transfer import PART_SUFFIX

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL, not Windows"),
]

N_KILLS = 50
LONGEST_S = 0.25
LOST_BYTES = 64 << 10  # of the server: on their way when a process is killed; measured: 16 kB a kill

# Imports once, then forks a process for every call: what is killed is a process of its own.
FORKING = """
import os, sys
import huggingface_hub, filelock, certifi, ssl
from huggingface_hub import hf_api
from audio2img.store.catalog import find_wanted
from audio2img.fetch import certificates
from audio2img.store.get import get_model
from audio2img.store.receipts import LicenceRecord
from audio2img.store.report import Reporter

certificates()  # takes .1 s, once a process
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            get_model(find_wanted(line.strip()), LicenceRecord("MIT", ""), Reporter())
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Victims:
    """Starts downloads and kills them."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def start(self, name: str) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()
        return self._number()

    def end(self) -> int:
        """The exit code of the download; -9 for one that was killed."""
        return self._number()

    def _number(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@pytest.fixture
def victims(server: Any) -> Iterator[Victims]:
    with subprocess.Popen(
        [sys.executable, "-c", FORKING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Victims(process)
        assert process.stdin is not None
        process.stdin.close()


def parts(home: Path) -> dict[str, int]:
    """Every partial file with its size."""
    places = (home / "hf", data_dir())
    return {str(path): path.stat().st_size for place in places for path in place.rglob(f"*{PART_SUFFIX}")}


def assert_nothing_corrupt(home: Path, contents: dict[str, bytes]) -> None:
    """Whatever lies at a final name is whole: blobs, unpacked files, and what a receipt vouches for."""
    for blob in (home / "hf").rglob("blobs/*"):
        if not blob.name.endswith(PART_SUFFIX):
            data = blob.read_bytes()
            git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            assert blob.name in (hashlib.sha256(data).hexdigest(), git)
    for folder in (data_dir() / "models").glob("[!.]*"):
        for path in folder.rglob("*"):
            if path.is_file():
                assert path.read_bytes() == contents[path.name]
    for key in ("p", "z"):
        if receipt := installed(key):
            for file in receipt.files:
                data = (Path(receipt.root) / file.path).read_bytes()
                assert hashlib.sha256(data).hexdigest() == file.sha256


def test_fifty_kills(server: Any, shelf: Any, private_home: Path, victims: Victims) -> None:
    contents = {
        "unet.safetensors": shelf.safetensors(3_000_000, 1),
        "vae.safetensors": shelf.safetensors(1_000_000, 2),
        "model_index.json": b"{}",
        "weight.bin": random.Random(3).randbytes(2_500_000),
        "vocab.json": b'{"a": 1}',
    }
    names = ("unet.safetensors", "vae.safetensors", "model_index.json")
    server.repos["someone/p"] = shelf.repo({name: contents[name] for name in names})
    archive = shelf.make_zip({f"Unet.mlmodelc/{n}": contents[n] for n in ("weight.bin", "vocab.json")})
    server.files["/z.zip"] = archive
    shelf.write(
        shelf.row("p", 'mirrors = [{ hub = "someone/p" }]\npatterns = ["*"]', "image", "diffusers"),
        shelf.row(
            "z",
            f'mirrors = [{{ url = "{server.url}/z.zip" }}]\nfiles = [{{ path = "z.zip", '
            f'bytes = {len(archive)}, sha256 = "{shelf.sha256(archive)}" }}]',
            "image",
            "coreml",
        ),
    )
    server.piece_s = 0.002
    sizes = {"p": sum(len(contents[name]) for name in names), "z": len(archive)}
    rng = random.Random(20261121)
    n_killed, n_whole = 0, 0
    kills_of, sent_before = {"p": 0, "z": 0}, {"p": 0, "z": 0}
    while n_killed < N_KILLS:
        name = rng.choice("pz")
        before, n_asked = parts(private_home), len(server.asked)
        child = victims.start(name)
        if rng.random() < 0.8:  # the others die while they ask what there is, or before
            wait_for_bytes(server, n_asked)
        time.sleep(rng.uniform(0.0, LONGEST_S))
        with contextlib.suppress(ProcessLookupError):  # it was faster
            os.kill(child, signal.SIGKILL)
        code = victims.end()
        assert code in (0, -signal.SIGKILL)
        assert_nothing_corrupt(private_home, contents)
        for asked in [one for one in server.asked[n_asked:] if one.begin]:
            assert asked.begin in before.values(), "it went on elsewhere than where it was cut"
        if code == 0:
            n_whole += 1
            check_bytes(server, name, sizes[name], kills_of[name], sent_before)
            forget(name, private_home)
            kills_of[name] = 0
        else:
            n_killed += 1
            kills_of[name] += 1
    for name in "pz":
        assert victims.start(name) > 0
        assert victims.end() == 0
        check_bytes(server, name, sizes[name], kills_of[name], sent_before)
        assert installed(name) is not None
    assert_nothing_corrupt(private_home, contents)
    assert parts(private_home) == {}
    n_resumed = sum(one.begin > 0 for one in server.bodies())
    assert n_resumed >= N_KILLS // 4, f"{n_resumed} resumed, {n_whole} whole: the kills came at dull moments"


def wait_for_bytes(server: Any, n_asked: int) -> None:
    """Until the download has begun, or at most as long as one that needs no bytes may take."""
    deadline = time.monotonic() + 3.0
    while not any(one.sent for one in server.asked[n_asked:]) and time.monotonic() < deadline:
        time.sleep(0.005)


def sent_for(server: Any, name: str) -> int:
    """Bytes of files that the server has sent for a model, up to now."""
    time.sleep(0.1)  # the last answer may still notice that nobody listens
    is_zip = name == "z"
    return sum(one.sent for one in server.bodies() if (one.path == "/z.zip") == is_zip)


def check_bytes(server: Any, name: str, size: int, n_kills: int, sent_before: dict[str, int]) -> None:
    """No byte was fetched twice but those that were on their way when a process was killed."""
    sent = sent_for(server, name)
    assert size <= sent - sent_before[name] <= size + n_kills * LOST_BYTES
    sent_before[name] = sent


def forget(name: str, home: Path) -> None:
    """As if the model had never been here."""
    shutil.rmtree(home / "hf" if name == "p" else data_dir() / "models" / name)
    (data_dir() / "receipts" / f"{name}.json").unlink()
    # A kill right after the receipt leaves what the download was made of; `models prune` removes that.
    shutil.rmtree(data_dir() / "downloads" / name, ignore_errors=True)
