"""`audio2img models get` as a process, against a real hub and real files on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audio2img.config import data_dir
from audio2img.errors import ModelError
from audio2img.store.catalog import find_wanted
from audio2img.store.get import get_model
from audio2img.store.patience import Patience
from audio2img.store.receipts import (
    InstalledFile,
    LicenceRecord,
    Receipt,
    installed,
    read_receipt,
    write_receipt,
)
from audio2img.store.report import Reporter

pytestmark = pytest.mark.slow

DEMO = Path(__file__).resolve().parents[2] / "models" / "mini" / "demo.flac"

FILE = ("someone/speech", "ggml-x.bin")
FETCH = f"import huggingface_hub; huggingface_hub.hf_hub_download(*{FILE})"
HUB_ROW = 'mirrors = [{ hub = "someone/speech" }]\nfiles = [{ path = "ggml-x.bin" }]'
Command = Callable[..., subprocess.CompletedProcess[str]]


def hub_folder(home: Path, repo: str) -> Path:
    return home / "hf" / "hub" / f"models--{repo.replace('/', '--')}"


@pytest.fixture
def speech(server: Any, shelf: Any) -> bytes:
    """A ggml file in a repository of the hub, and a row for it in the person's catalogue."""
    data: bytes = shelf.weights(300_000)
    server.repos["someone/speech"] = shelf.repo({"ggml-x.bin": data, "README.md": b"# hello\n"})
    shelf.write(shelf.row("x", HUB_ROW))
    return data


def test_a_file_of_a_hub_goes_into_the_cache_that_all_tools_share(
    audio2img: Command, server: Any, private_home: Path, speech: bytes
) -> None:
    done = audio2img("models", "get", "x", "--accept-license")
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.removesuffix("\n"))
    assert path.read_bytes() == speech
    assert path == hub_folder(private_home, "someone/speech") / "snapshots" / ("c" * 40) / "ggml-x.bin"
    assert "licence MIT" in done.stderr
    check = f"import huggingface_hub as h; print(h.hf_hub_download(*{FILE}, revision='c' * 40))"
    found = subprocess.run(
        [sys.executable, "-c", check],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert Path(found.stdout.strip()) == path
    assert len(server.bodies("/cdn/")) == 1


def test_the_receipt_says_where_from_and_under_which_licence(
    audio2img: Command, shelf: Any, speech: bytes
) -> None:
    audio2img("models", "get", "x", "--accept-license")
    receipt = installed("x")
    assert receipt is not None
    assert (receipt.commit, receipt.mirror) == ("c" * 40, "someone/speech at cccccccccc")
    assert [(file.path, file.size_bytes, file.sha256) for file in receipt.files] == [
        ("ggml-x.bin", len(speech), shelf.sha256(speech))
    ]
    assert (receipt.licence.name, receipt.licence.how) == ("MIT", "--accept-license")
    assert receipt.licence.accepted.startswith("20")


def test_what_is_here_is_not_asked_for_again(audio2img: Command, server: Any, speech: bytes) -> None:
    audio2img("models", "get", "x", "--accept-license")
    n_asked = len(server.asked)
    again = audio2img("models", "get", "x")
    assert again.returncode == 0
    assert len(server.asked) == n_asked
    listed = json.loads(audio2img("models", "list", "--json").stdout)
    (table,) = [table for table in listed if table["name"] == "x"]
    assert (table["installed"], table["size_bytes"]) == (True, len(speech))


def test_a_script_must_accept_the_licence(audio2img: Command, server: Any, speech: bytes) -> None:
    done = audio2img("models", "get", "x")
    assert done.returncode == 2
    assert "models get --accept-license x" in done.stderr
    assert server.asked == []


@pytest.mark.parametrize("how", [["--offline"], []])
def test_offline_never_touches_the_network(
    audio2img: Command, server: Any, speech: bytes, how: list[str]
) -> None:
    env = {} if how else {"HF_HUB_OFFLINE": "1"}
    for command in (
        ["models", "get", "x", "--accept-license"],
        ["transcribe", str(DEMO), "--speech-model", "x"],
    ):
        done = audio2img(*command, *how, env=env)
        assert done.returncode == 4
        assert "network is off" in done.stderr
    assert server.asked == []


def test_the_token_goes_to_the_hub_and_nowhere_else(audio2img: Command, server: Any, speech: bytes) -> None:
    audio2img("models", "get", "x", "--accept-license", env={"HF_TOKEN": "hf_secret"})
    assert {one.authorization for one in server.asked if "/cdn/" not in one.path} == {"Bearer hf_secret"}
    assert {one.authorization for one in server.asked if "/cdn/" in one.path} == {None}


def test_mirrors_are_tried_in_order_and_each_failure_is_said(
    audio2img: Command, server: Any, shelf: Any, speech: bytes
) -> None:
    server.files["/wrong/ggml-x.bin"] = speech[:-1] + b"!"
    server.files["/short/ggml-x.bin"] = speech[:-1]
    mirrors = ", ".join(
        [
            '{ hub = "gone/speech" }',
            '{ hub = "someone/speech", revision = "' + "d" * 40 + '" }',
            f'{{ url = "{server.url}/nothing/" }}',
            f'{{ url = "{server.url}/wrong/" }}',
            f'{{ url = "{server.url}/short/" }}',
            '{ hub = "someone/speech" }',
        ]
    )
    file = f'{{ path = "ggml-x.bin", bytes = {len(speech)}, sha256 = "{shelf.sha256(speech)}" }}'
    shelf.write(shelf.row("x", f"mirrors = [{mirrors}]\nfiles = [{file}]"))
    done = audio2img("models", "get", "x", "--accept-license")
    assert done.returncode == 0, done.stderr
    for words in ("no such repository", "no such revision", "404", "wrong bytes", "wrong length"):
        assert words in done.stderr
    assert Path(done.stdout.strip()).read_bytes() == speech


def test_when_no_mirror_has_it_all_are_named(audio2img: Command, server: Any, shelf: Any) -> None:
    shelf.write(
        shelf.row("x", 'mirrors = [{ hub = "gone/a" }, { hub = "gone/b" }]\nfiles = [{ path = "x.bin" }]')
    )
    done = audio2img("models", "get", "x", "--accept-license")
    assert done.returncode == 4
    last = done.stderr.strip().splitlines()[-1]
    assert "gone/a" in last
    assert "gone/b" in last


def test_a_busy_hub_is_asked_again(audio2img: Command, server: Any, shelf: Any, speech: bytes) -> None:
    busy = [shelf.fault(status=429, headers={"Retry-After": "1"}), shelf.fault(status=503)]
    server.faults["/api/models/someone/speech/revision/main"] = busy
    server.faults[f"/cdn/{shelf.sha256(speech)}"] = [shelf.fault(status=500)]
    done = audio2img("models", "get", "x", "--accept-license")
    assert done.returncode == 0, done.stderr
    for words in ("the hub answers 429", "the hub answers 503", "the server answers 500"):
        assert words in done.stderr


def test_a_cut_download_from_the_hub_goes_on_in_the_next_call(
    audio2img: Command, server: Any, shelf: Any, private_home: Path, speech: bytes
) -> None:
    path = f"/cdn/{shelf.sha256(speech)}"
    server.always[path] = shelf.fault(status=500)
    server.faults[path] = [shelf.fault(cut=200_000)]
    process = subprocess.Popen(
        [sys.executable, "-m", "audio2img", "models", "get", "x", "--accept-license"],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    blobs = hub_folder(private_home, "someone/speech") / "blobs"
    wait_for(lambda: any(one.status == 500 for one in server.asked))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "what has arrived is kept" in said
    assert [part.stat().st_size for part in blobs.iterdir()] == [200_000]
    server.always.clear()
    assert audio2img("models", "get", "x", "--accept-license").returncode == 0
    assert server.bodies(path)[-1].begin == 200_000
    assert [blob.name for blob in blobs.iterdir()] == [shelf.sha256(speech)]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


def test_what_another_tool_has_fetched_is_used(
    audio2img: Command, server: Any, private_home: Path, speech: bytes
) -> None:
    subprocess.run([sys.executable, "-c", FETCH], check=True, capture_output=True)
    n_bodies = len(server.bodies("/cdn/"))
    assert audio2img("models", "get", "x", "--accept-license").returncode == 0
    assert len(server.bodies("/cdn/")) == n_bodies == 1
    receipt = installed("x")
    assert receipt is not None
    assert not receipt.files[0].is_ours


def test_a_damaged_file_in_the_cache_is_fetched_anew(
    audio2img: Command, shelf: Any, private_home: Path, speech: bytes
) -> None:
    subprocess.run([sys.executable, "-c", FETCH], check=True, capture_output=True)
    blob = hub_folder(private_home, "someone/speech") / "blobs" / shelf.sha256(speech)
    blob.write_bytes(speech[:1000])
    done = audio2img("models", "get", "x", "--accept-license")
    assert "damaged in the hub's cache" in done.stderr
    assert blob.read_bytes() == speech


DIFFUSERS_ROW = 'mirrors = [{ hub = "someone/pictures" }]\npatterns = ["*"]'


def pictures(shelf: Any, **more: bytes) -> dict[str, bytes]:
    return {
        "model_index.json": b'{"_class_name": "StableDiffusionPipeline"}',
        "unet/config.json": b"{}",
        "unet/diffusion_pytorch_model.safetensors": shelf.safetensors(50_000),
        "README.md": b"# hello",
        **more,
    }


def test_of_a_repository_only_what_a_model_needs_is_taken(
    audio2img: Command, server: Any, shelf: Any, private_home: Path
) -> None:
    files = pictures(shelf)
    files["unet/diffusion_pytorch_model.bin"] = b"\x80\x04a pickle"
    server.repos["someone/pictures"] = shelf.repo(files)
    shelf.write(shelf.row("p", DIFFUSERS_ROW, "image", "diffusers"))
    done = audio2img("models", "get", "p", "--accept-license", "--anyway")
    assert done.returncode == 0, done.stderr
    assert "left out, because a pickle can run any program: unet/diffusion_pytorch_model.bin" in done.stderr
    folder = Path(done.stdout.strip())
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {"model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors"}
    assert not any(".bin" in one.path or "README" in one.path for one in server.asked)


@pytest.mark.parametrize(
    ("kind", "format_", "name"),
    [
        ("image", "diffusers", "v2-1_768.ckpt"),
        ("image", "diffusers", "unet/diffusion_pytorch_model.bin"),
        ("image", "coreml", "weights.pt"),
        ("speech", "ggml", "model.pkl"),
        ("sound", "tflite", "model.pth"),
    ],
)
def test_a_pickle_is_refused_by_name_before_anything_is_fetched(
    audio2img: Command, server: Any, shelf: Any, kind: str, format_: str, name: str
) -> None:
    server.repos["someone/pickle"] = shelf.repo({name: b"\x80\x04"})
    mirrors = 'mirrors = [{ hub = "someone/pickle" }]\n'
    shelf.write(shelf.row("p", mirrors + 'patterns = ["*"]', kind, format_))
    done = audio2img("models", "get", "p", "--accept-license", "--anyway")
    assert done.returncode == 4
    assert f"refused: {name}" in done.stderr
    assert server.bodies("/cdn/") + server.bodies("/resolve/") == []
    path = shelf.write(shelf.row("p", mirrors + f'files = [{{ path = "{name}" }}]', kind, format_))
    done = audio2img("models", "get", "p", "--accept-license", "--anyway")
    assert done.returncode == 2
    for words in (str(path), "the model p ", name, "pickle"):
        assert words in done.stderr


def test_what_is_not_what_its_name_says_is_refused(audio2img: Command, server: Any, shelf: Any) -> None:
    server.repos["someone/speech"] = shelf.repo({"ggml-x.bin": b"\x80\x04 a pickle under another name"})
    shelf.write(shelf.row("x", HUB_ROW))
    done = audio2img("models", "get", "x", "--accept-license")
    assert done.returncode == 4
    assert "it is not a ggml file" in done.stderr


def test_a_core_ml_model_gets_a_folder_without_links(
    audio2img: Command, server: Any, shelf: Any, mini_bundle: Path, tmp_path: Path
) -> None:
    """The mini model as a repository of Apple's layout: fetched, put together, and drawn with."""
    files = {
        f"original/packages/{path.relative_to(mini_bundle).as_posix()}": path.read_bytes()
        for path in mini_bundle.rglob("*")
        if path.is_file()
    }
    server.repos["someone/coreml"] = shelf.repo(files)
    shelf.write(
        shelf.row(
            "small",
            'mirrors = [{ hub = "someone/coreml" }]\n[[model.variant]]\nname = "original"\n'
            'patterns = ["original/packages/*"]\nfolder = "original/packages"',
            "image",
            "coreml",
        )
    )
    done = audio2img("models", "get", "small", "--accept-license", "--anyway")
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert folder == data_dir() / "models" / "small--original" / "original" / "packages"
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    drawn = audio2img("generate", "a cat", "--model", "small", "--steps", "1", "-o", tmp_path / "a.png")
    assert drawn.returncode == 0, drawn.stderr


def test_a_zip_is_unpacked_and_not_kept(audio2img: Command, server: Any, shelf: Any) -> None:
    members = {
        "m/Unet.mlmodelc/weights/weight.bin": os.urandom(9000),
        "m/vocab.json": b"{}",
        "__MACOSX/x": b"",
    }
    server.files["/m.zip"] = shelf.make_zip(members)
    shelf.write(shelf.row("z", zip_row(server), "image", "coreml"))
    done = audio2img("models", "get", "z", "--accept-license", "--anyway")
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert (folder / "m/Unet.mlmodelc/weights/weight.bin").read_bytes() == members[
        "m/Unet.mlmodelc/weights/weight.bin"
    ]
    assert sorted(path.name for path in data_dir().iterdir()) == ["downloads", "locks", "models", "receipts"]
    assert list((data_dir() / "downloads").iterdir()) == []


def zip_row(server: Any) -> str:
    return f'mirrors = [{{ url = "{server.url}/m.zip" }}]\nfiles = [{{ path = "m.zip" }}]'


def test_a_model_of_several_files_from_a_folder_of_a_plain_server(
    audio2img: Command, server: Any, shelf: Any
) -> None:
    files = {"unet/model.safetensors": shelf.safetensors(90_000), "model_index.json": b"{}"}
    server.files.update({f"/p/{path}": data for path, data in files.items()})
    specs = ", ".join(
        f'{{ path = "{path}", sha256 = "{shelf.sha256(data)}" }}' for path, data in files.items()
    )
    shelf.write(
        shelf.row("p", f'mirrors = [{{ url = "{server.url}/p/" }}]\nfiles = [{specs}]', "image", "diffusers")
    )
    server.faults["/p/model_index.json"] = [shelf.fault(status=404)]
    assert audio2img("models", "get", "p", "--accept-license", "--anyway").returncode == 4
    assert not (data_dir() / "models" / "p").exists()
    done = audio2img("models", "get", "p", "--accept-license", "--anyway")
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert {path: (folder / path).read_bytes() for path in files} == files
    assert len(server.bodies("/p/unet/")) == 1  # the first call had brought it whole


def test_a_zip_needs_room_for_what_is_in_it(
    audio2img: Command, server: Any, shelf: Any, tmp_path: Path
) -> None:
    """On a real small disk: refused before the first byte, because the unpacked files would not fit."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=72m", "none", str(disk)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs Linux with the right to mount, not Windows")
    try:
        data = shelf.make_zip({"Unet.mlmodelc/weights/weight.bin": bytes(24_000_000)})
        server.files["/m.zip"] = data
        file = f'{{ path = "m.zip", bytes = {len(data)} }}'
        mirrors = f'mirrors = [{{ url = "{server.url}/m.zip" }}]'
        shelf.write(shelf.row("z", f"{mirrors}\nfiles = [{file}]", "image", "coreml"))
        done = audio2img(
            "models", "get", "z", "--accept-license", "--anyway", env={"AUDIO2IMG_DATA": str(disk / "a")}
        )
        assert done.returncode == 5, done.stderr
        assert "with its unpacking needs 53 MB" in done.stderr
        assert server.asked == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_eight_processes_download_it_once(server: Any, shelf: Any, speech: bytes) -> None:
    server.piece_s = 0.05
    command = [sys.executable, "-m", "audio2img", "models", "get", "x", "--accept-license"]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(8)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, outputs
    (path,) = {Path(out.strip()) for out, _ in outputs}
    assert path.read_bytes() == speech
    bodies = server.bodies(f"/cdn/{shelf.sha256(speech)}")
    assert [(body.begin, body.sent) for body in bodies] == [(0, len(speech))]
    assert any("another process is at work on x" in said for _, said in outputs)


def test_a_first_run_in_a_script_exits_with_the_command(
    audio2img: Command, server: Any, tmp_path: Path
) -> None:
    done = audio2img("transcribe", DEMO)
    assert done.returncode == 4
    assert "whisper-base must be downloaded first, 148 MB" in done.stderr
    assert "audio2img models get whisper-base" in done.stderr
    assert "--speech-model mini-whisper" in done.stderr
    assert server.asked == []


def test_the_embedded_models_never_need_the_network(
    audio2img: Command, server: Any, demo_audio: Path, tmp_path: Path
) -> None:
    names = ("--model", "mini", "--speech-model", "mini-whisper")
    done = audio2img("run", demo_audio, *names, "--steps", "1", "-o", tmp_path / "a.png")
    assert done.returncode == 0, done.stderr
    assert server.asked == []


HOSTILE_PATHS = ["{victim}", "../../../../../../../../..{victim}", "a/../../b.bin", "..\\\\b.bin", "C:/b.bin",
                 "a//b.bin", "a\x1b[31m.bin", "x/" * 2000 + "b.bin", "aux.bin", "\ud800.bin"]  # fmt: skip


@pytest.mark.parametrize("field", ["path", "oid", "lfs", "sha", "size"])
@pytest.mark.parametrize("hostile", HOSTILE_PATHS)
def test_a_hostile_listing_touches_nothing(
    server: Any, shelf: Any, tmp_path: Path, field: str, hostile: str
) -> None:
    victim = tmp_path / "victim.bin"
    victim.write_bytes(b"kept")
    hostile = hostile.format(victim=victim)
    commit = hashlib.sha1(repr((field, hostile)).encode()).hexdigest()  # listings are cached by it
    server.repos[f"own/{commit}"] = shelf.repo({"w.bin": shelf.weights(1000)}, (".bin",), commit)
    server.twist = lambda table: twist(table, field, hostile)
    shelf.write(shelf.row("hostile", f'mirrors = [{{ hub = "own/{commit}" }}]\npatterns = ["*.bin"]'))
    with pytest.raises(ModelError, match="could not be downloaded") as caught:
        get_model(find_wanted("hostile"), LicenceRecord("MIT", ""), Reporter(), Patience(timeout_s=2.0))
    assert len(caught.value.message) < 1000
    assert victim.read_bytes() == b"kept"
    assert not server.bodies("/cdn/")


@pytest.mark.parametrize(("field", "odd"), [("path", None), ("path", ["a"]), ("path", 5), ("size", 1 << 60)])
def test_an_odd_value_in_a_listing_is_the_mirrors_fault(
    server: Any, shelf: Any, field: str, odd: object
) -> None:
    commit = hashlib.sha1(repr((field, odd)).encode()).hexdigest()
    server.repos[f"own/{commit}"] = shelf.repo({"w.bin": shelf.weights(1000)}, (".bin",), commit)
    server.twist = lambda table: twist(table, field, odd)
    shelf.write(shelf.row("odd", f'mirrors = [{{ hub = "own/{commit}" }}]\npatterns = ["*.bin"]'))
    with pytest.raises(ModelError, match=r"none of the files|no size and hash"):
        get_model(find_wanted("odd"), LicenceRecord("MIT", ""), Reporter(), Patience(timeout_s=2.0))


@pytest.mark.parametrize("turned", [False, True])
def test_a_listing_with_a_file_that_is_a_folder_is_refused(server: Any, shelf: Any, turned: bool) -> None:
    files = {"vae.json": b"{}", "vae.json/x.safetensors": shelf.safetensors(1000)}
    commit = ("a" if turned else "b") * 40
    kept = dict(reversed(files.items())) if turned else files
    server.repos[f"own/{commit}"] = shelf.repo(kept, commit=commit)
    row = f'mirrors = [{{ hub = "own/{commit}" }}]\npatterns = ["*"]'
    shelf.write(shelf.row("double", row, "image", "diffusers"))
    with pytest.raises(ModelError, match=r"vae\.json in its list is a file and a folder"):
        get_model(find_wanted("double"), LicenceRecord("MIT", ""), Reporter(), Patience(timeout_s=2.0))
    assert not server.bodies()


def twist(table: Any, field: str, value: object) -> Any:
    """An answer of the hub's API with `value` in the place of what is true."""
    if isinstance(table, dict):
        return {**table, "sha": value} if field == "sha" else table
    for entry in table:
        if field == "lfs":
            entry["lfs"]["oid"] = value
        elif field != "sha":
            entry[field] = value
    return table


def test_a_sign_in_page_instead_of_a_hub_leads_to_the_next_mirror(
    audio2img: Command, server: Any, shelf: Any
) -> None:
    data = shelf.weights(1000)
    server.files["/w.bin"] = data
    server.repos["own/er"] = shelf.repo({"w.bin": data})
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>Please sign in</html>"
    server.always["/api/models/own/er/revision/main"] = shelf.fault(raw=lambda begin: [page])
    server.always["/api/models/own/er"] = shelf.fault(raw=lambda begin: [page])
    mirrors = f'mirrors = [{{ hub = "own/er" }}, {{ url = "{server.url}/w.bin" }}]'
    shelf.write(
        shelf.row("signed", f'{mirrors}\nfiles = [{{ path = "w.bin", sha256 = "{shelf.sha256(data)}" }}]')
    )
    done = audio2img("models", "get", "signed", "--accept-license")
    assert done.returncode == 0, done.stderr
    assert "own/er at main: it does not answer as a hub does" in done.stderr


def test_an_endless_listing_ends(server: Any, shelf: Any) -> None:
    server.repos["own/long"] = shelf.repo({f"{n}.txt": b"x" for n in range(20_001)}, commit="e" * 40)
    shelf.write(shelf.row("long", 'mirrors = [{ hub = "own/long" }]\npatterns = ["*.bin"]'))
    with pytest.raises(ModelError, match=r"lists more than 20,000 files"):
        get_model(find_wanted("long"), LicenceRecord("MIT", ""), Reporter(), Patience())


def test_a_receipt_with_files_elsewhere_is_not_believed(private_home: Path) -> None:
    receipt = Receipt(
        "x", "x", "speech", "ggml", "", "", "", LicenceRecord("", ""), (InstalledFile("../y", 1, ""),)
    )
    write_receipt(receipt)
    assert read_receipt("x") is None
    write_receipt(replace(receipt, files=(InstalledFile("y", 1, ""),)))
    assert read_receipt("x") is not None
