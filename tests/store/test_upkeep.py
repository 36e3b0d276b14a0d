"""`models verify`, `remove`, `prune` and `path`, on models that were really downloaded here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audio2img.config import data_dir
from audio2img.store.receipts import installed, read_receipt

pytestmark = pytest.mark.slow

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def whisper(audio2img: Command, server: Any, shelf: Any, mini_whisper: Path) -> Path:
    """The mini Whisper, downloaded from a hub under the name w; gives where it is."""
    server.repos["someone/w"] = shelf.repo({"ggml-w.bin": mini_whisper.read_bytes(), "README.md": b"#"})
    shelf.write(
        shelf.row(
            "w", 'unverified = true\nmirrors = [{ hub = "someone/w" }]\nfiles = [{ path = "ggml-w.bin" }]'
        )
    )
    done = audio2img("models", "get", "w", "--accept-license", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    return Path(done.stdout.strip())


def test_a_downloaded_model_hears(audio2img: Command, whisper: Path, demo_audio: Path) -> None:
    heard = audio2img("transcribe", demo_audio, "--speech-model", "w")
    assert heard.stdout == "please draw a big red house at night\n"
    assert audio2img("models", "path", "w").stdout == f"{whisper}\n"
    table = json.loads(audio2img("models", "path", "w", "--json").stdout)
    assert table == {"name": "w", "kind": "speech", "format": "ggml", "path": str(whisper)}


def test_path_of_what_is_not_here_exits_with_the_command(audio2img: Command) -> None:
    done = audio2img("models", "path", "whisper-tiny")
    assert (done.returncode, done.stdout) == (4, "")
    assert "audio2img models get whisper-tiny" in done.stderr


def test_verify_fills_in_what_the_catalogue_does_not_know(
    audio2img: Command, shelf: Any, whisper: Path
) -> None:
    done = audio2img("models", "verify")
    assert done.returncode == 0, done.stderr
    data = whisper.read_bytes()
    assert done.stdout.splitlines() == [
        "w: ok, 1 files, from someone/w at cccccccccc",
        "  the catalogue does not know all of this yet:",
        f'  revision = "{"c" * 40}"',
        f'  {{ path = "ggml-w.bin", bytes = {len(data)}, sha256 = "{shelf.sha256(data)}" }},',
    ]


def test_verify_finds_damage_of_the_same_size(audio2img: Command, whisper: Path) -> None:
    data = bytearray(whisper.read_bytes())
    data[-1] ^= 1
    whisper.resolve().write_bytes(data)
    done = audio2img("models", "verify", "w", "--json")
    assert done.returncode == 4
    assert json.loads(done.stdout)[0]["problems"] == ["ggml-w.bin: damaged"]
    assert "audio2img models remove w" in done.stderr


def test_verify_finds_a_file_that_is_gone_and_get_brings_it_back(audio2img: Command, whisper: Path) -> None:
    whisper.resolve().unlink()
    assert "ggml-w.bin: missing" in audio2img("models", "verify", "w").stdout
    assert installed("w") is None
    done = audio2img("models", "get", "w")  # the licence was accepted before
    assert (done.returncode, done.stdout) == (0, f"{whisper}\n")


def test_verify_checks_that_whisper_could_load_it(audio2img: Command, server: Any, shelf: Any) -> None:
    server.files["/x.bin"] = shelf.weights(5000)
    shelf.write(
        shelf.row("x", f'mirrors = [{{ url = "{server.url}/x.bin" }}]\nfiles = [{{ path = "x.bin" }}]')
    )
    assert audio2img("models", "get", "x", "--accept-license").returncode == 0
    done = audio2img("models", "verify", "x")
    assert done.returncode == 4
    assert "NOT OK" in done.stdout


def test_verify_remote_asks_the_mirrors_and_fetches_nothing(
    audio2img: Command, server: Any, shelf: Any
) -> None:
    data = shelf.weights(1000)
    server.repos["someone/w"] = shelf.repo({"ggml-w.bin": data})
    mirrors = 'mirrors = [{ hub = "gone/w" }, { hub = "someone/w" }]'
    shelf.write(shelf.row("w", f'unverified = true\n{mirrors}\nfiles = [{{ path = "ggml-w.bin" }}]'))
    done = audio2img("models", "verify", "--remote", "w", "--json")
    assert done.returncode == 0, done.stderr
    (table,) = json.loads(done.stdout)
    assert table["commit"] == "c" * 40
    assert table["files"] == [{"path": "ggml-w.bin", "bytes": 1000, "sha256": shelf.sha256(data)}]
    assert "no such repository" in table["problems"][0]
    assert server.bodies("/cdn/") == []


@pytest.mark.parametrize("command", ["verify", "remove"])
@pytest.mark.parametrize(
    ("name", "words"), [("mini", "comes with audio2img"), ("whisper-tiny", "not on this")]
)
def test_what_was_not_downloaded_is_said(audio2img: Command, command: str, name: str, words: str) -> None:
    done = audio2img("models", command, name)
    assert done.returncode == 4
    assert words in done.stderr


def test_remove_takes_what_we_put_into_the_cache(
    audio2img: Command, private_home: Path, whisper: Path
) -> None:
    size = whisper.stat().st_size
    done = audio2img("models", "remove", "w", "--json")
    assert json.loads(done.stdout) == [{"name": "w", "size_bytes": size}]
    assert not any(
        path.suffix == ".bin" or path.stat().st_size == size
        for path in private_home.rglob("*")
        if path.is_file()
    )
    assert read_receipt("w") is None
    assert audio2img("models", "remove", "w").returncode == 4


def test_remove_leaves_what_another_tool_had_fetched(
    audio2img: Command, server: Any, shelf: Any, private_home: Path
) -> None:
    server.repos["someone/w"] = shelf.repo({"ggml-w.bin": shelf.weights(1000)})
    shelf.write(shelf.row("w", 'mirrors = [{ hub = "someone/w" }]\nfiles = [{ path = "ggml-w.bin" }]'))
    code = "import huggingface_hub as h; print(h.hf_hub_download('someone/w', 'ggml-w.bin'))"
    theirs = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    audio2img("models", "get", "w", "--accept-license")
    done = audio2img("models", "remove", "w")
    assert "left in the hub's cache" in done.stderr
    assert Path(theirs.stdout.strip()).is_file()


def test_two_models_that_share_a_file_are_removed_one_by_one(
    audio2img: Command, server: Any, shelf: Any, private_home: Path
) -> None:
    files = {"a.bin": shelf.weights(4000), "b.bin": shelf.weights(5000, 2), "vocab.json": b"{}"}
    server.repos["someone/w"] = shelf.repo(files)
    rows = [
        shelf.row(
            name, f'mirrors = [{{ hub = "someone/w" }}]\npatterns = ["{name}.bin", "vocab.json"]', "sound"
        )
        for name in "ab"
    ]
    shelf.write(*rows)
    audio2img("models", "get", "a", "b", "--accept-license")
    assert audio2img("models", "remove", "a").returncode == 0
    assert installed("a") is None
    assert installed("b") is not None
    assert audio2img("models", "verify", "b").returncode == 0
    assert audio2img("models", "remove", "b").returncode == 0
    assert list((private_home / "hf").rglob("blobs/*")) == []


def test_prune_takes_the_whole_files_of_an_unfinished_model(
    audio2img: Command, server: Any, shelf: Any, private_home: Path
) -> None:
    files = {"a.bin": shelf.weights(4000), "b.bin": shelf.weights(5000, 2)}
    server.repos["someone/w"] = shelf.repo(files)
    shelf.write(shelf.row("w", 'mirrors = [{ hub = "someone/w" }]\npatterns = ["*"]', "sound"))
    server.always[f"/cdn/{shelf.sha256(files['b.bin'])}"] = shelf.fault(status=404)
    assert audio2img("models", "get", "w", "--accept-license").returncode == 4
    assert len(list((private_home / "hf").rglob("blobs/*"))) == 1
    done = json.loads(audio2img("models", "prune", "--json").stdout)
    assert done["downloads"]["size_bytes"] >= 4000
    assert list((private_home / "hf").rglob("blobs/*")) == []
    assert list((private_home / "hf").rglob("*.bin")) == []


def test_remove_of_a_core_ml_model_takes_folder_and_cache(
    audio2img: Command, server: Any, shelf: Any, private_home: Path
) -> None:
    data = os.urandom(50_000)
    server.repos["someone/c"] = shelf.repo({"Unet.mlmodelc/weights/weight.bin": data})
    shelf.write(shelf.row("c", 'mirrors = [{ hub = "someone/c" }]\npatterns = ["*"]', "image", "coreml"))
    assert audio2img("models", "get", "c", "--accept-license", "--anyway").returncode == 0
    done = audio2img("models", "remove", "c")
    assert done.stdout == "removed c: freed 0.1 MB\n"  # 0.05, once, though it is linked from two places
    left = [path for path in private_home.rglob("*") if path.is_file() and path.stat().st_size == len(data)]
    assert left == []


def test_prune_removes_half_downloads_and_leaves_those_under_way(
    audio2img: Command, server: Any, shelf: Any, private_home: Path
) -> None:
    data = shelf.weights(300_000)
    server.repos["someone/w"] = shelf.repo({"ggml-w.bin": data})
    server.files["/x.bin"] = data
    shelf.write(
        shelf.row("w.en", 'mirrors = [{ hub = "someone/w" }]\nfiles = [{ path = "ggml-w.bin" }]'),
        shelf.row("x", f'mirrors = [{{ url = "{server.url}/x.bin" }}]\nfiles = [{{ path = "x.bin" }}]'),
    )
    for path in (f"/cdn/{shelf.sha256(data)}", "/x.bin"):
        server.faults[path] = [shelf.fault(cut=100_000)]
        server.always[path] = shelf.fault(status=404)
    assert audio2img("models", "get", "w.en", "--accept-license").returncode == 4
    assert audio2img("models", "get", "x", "--accept-license").returncode == 4
    said = json.loads(audio2img("models", "prune", "--dry-run", "--json").stdout)["downloads"]
    assert said["interrupted"] == 2
    assert said["size_bytes"] >= 200_000
    from filelock import FileLock

    with FileLock(data_dir() / "locks" / "w.en.lock"):
        done = audio2img("models", "prune")
    assert "another process is getting w.en" in done.stderr
    assert len(list(private_home.rglob("*.audio2img-part"))) == 1
    assert audio2img("models", "prune").returncode == 0
    assert list(private_home.rglob("*.audio2img-*")) == []
