"""`models list`, `show`, `get` and `path` without any network: what the catalogue says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]
Check = Callable[..., None]


def entries(stdout: str) -> dict[str, str]:
    """What `models list` shows of each model, by its name."""
    entries: dict[str, str] = {}
    name = ""
    for line in stdout.splitlines():
        if line[2] != " ":
            name = line[2:].split()[0]
        entries[name] = entries.get(name, "") + line + "\n"
    return entries


def test_list_says_what_each_model_is_for_and_what_is_here(audio2img: Command) -> None:
    done = audio2img("models", "list")
    assert done.returncode == 0
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    found = entries(done.stdout)
    base = found["whisper-base"].splitlines()
    assert base[0].startswith("* whisper-base (base) ")
    assert base[0].endswith(" 148.0 MB")
    assert base[1] == "    speech: quick and good enough for clear speech"
    assert found["mini"].splitlines()[0].endswith("here")


@pytest.mark.skipif(sys.platform == "darwin", reason="needs Linux or Windows")
def test_list_says_what_this_machine_cannot_use_and_what_an_alias_means_on_it(audio2img: Command) -> None:
    found = entries(audio2img("models", "list").stdout)
    assert "which only macOS can draw" in found["sd21-base-palettized:original"]
    assert "(sd21-palettized)" in found["sd21-base-palettized:original"]
    assert "(sd21)" in found["sd21-base-diffusers"]
    assert "not usable" not in found["mini"] + found["whisper-tiny"]


def test_list_as_json(audio2img: Command, mini_whisper: Path) -> None:
    tables = {table["name"]: table for table in json.loads(audio2img("models", "list", "--json").stdout)}
    mini = tables["mini-whisper"]
    assert (mini["installed"], mini["embedded"], mini["path"]) == (True, True, str(mini_whisper))
    assert mini["size_bytes"] == mini_whisper.stat().st_size
    base = tables["whisper-base"]
    assert (base["installed"], base["default"], base["kind"]) == (False, True, "speech")
    assert base["size_bytes"] == 147_951_465
    assert (base["licence"], base["aliases"], base["why_not"]) == ("MIT", ["base"], "")
    assert base["purpose"] == "quick and good enough for clear speech"


def test_list_of_what_is_here(audio2img: Command) -> None:
    tables = json.loads(audio2img("models", "list", "--installed", "--json").stdout)
    assert [table["name"] for table in tables] == ["mini", "mini-whisper"]


def test_show_says_where_a_model_comes_from(audio2img: Command) -> None:
    done = audio2img("models", "show", "sd21:original")
    for words in ("apple/coreml-stable-diffusion-2-1-base-palettized", "unverified", "original_compiled.zip"):
        assert words in done.stdout
    tables = json.loads(audio2img("models", "show", "sd21-palettized", "--json").stdout)
    assert [table["name"] for table in tables] == [
        "sd21-base-palettized:split_einsum", "sd21-base-palettized:original",
    ]  # fmt: skip


def test_show_of_the_mini_model_tells_its_words(audio2img: Command) -> None:
    assert "castle" in audio2img("models", "show", "mini").stdout


def test_the_embedded_models_are_where_path_says(audio2img: Command, mini_bundle: Path) -> None:
    assert audio2img("models", "path", "mini").stdout == f"{mini_bundle}\n"
    assert audio2img("models", "get", "mini", "--offline").stdout == f"{mini_bundle}\n"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["get", "nonesuch"], 4, "there is no model called"),
        (["get", "wisper-base"], 4, "whisper-base"),
        (["get", "whisper-base:best"], 4, "variant"),
        (["get", "whisper-base", "--accept-license"], 4, "network is off"),
        (["get"], 2, "default"),
        (["path", "nonesuch"], 4, "mini"),
        (["path", "whisper-base"], 4, "audio2img models get whisper-base"),
        (["verify", "nonesuch"], 4, "there is no model called"),
        (["verify", "whisper-base"], 4, "not on this machine"),
        (["remove", "mini"], 4, "comes with audio2img"),
    ],
)
def test_wrong_commands(
    audio2img: Command, assert_fails: Check, arguments: list[str], exit_code: int, words: str
) -> None:
    assert_fails(audio2img("models", *arguments), exit_code, words)


def test_a_wrong_row_of_ones_own_is_named(audio2img: Command, assert_fails: Check) -> None:
    from audio2img.store.catalog import own_catalog

    own_catalog().parent.mkdir(parents=True)
    own_catalog().write_text('[[model]]\nname = "mine"\nkind = "image"\n')
    assert_fails(audio2img("models", "list"), 2, str(own_catalog()), "mine", "lacks")


def test_the_script_is_the_command(tmp_path: Path) -> None:
    script = Path(__file__).resolve().parents[2] / "scripts" / "download_model.py"
    done = subprocess.run([sys.executable, str(script), "mini"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("coreml\n")
