"""Settings, styles and completion by the command."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audio2img.config import config_dir, load_settings, settings_file

pytestmark = pytest.mark.slow

Command = Callable[..., Any]
Fails = Callable[..., None]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("style", "ink", "ink"), ("steps", "12", 12), ("guidance", "5", 5.0), ("low_memory", "yes", True)],
)
def test_a_setting_is_written_read_and_taken_out(
    audio2img: Command, name: str, text: str, value: object
) -> None:
    done = audio2img("config", "set", name, text)
    assert done.stdout == f"{settings_file()}\n", done.stderr
    assert getattr(load_settings(), name) == value
    assert audio2img("config", "get", name).stdout.strip().lower() == str(value).lower()
    assert audio2img("config", "set", name, "--unset").returncode == 0
    assert getattr(load_settings(), name) is None
    assert audio2img("config", "get", name).stdout == "\n"


def test_what_is_wrong_in_the_file_can_be_mended_one_by_one(audio2img: Command) -> None:
    settings_file().parent.mkdir(parents=True)
    settings_file().write_text('steps = "x"  # many\nstlye = "ink"\nquality = 3\nstyle = 4\n')
    for change in (["steps", "5"], ["stlye", "--unset"], ["style", "--unset"], ["quality", "--unset"]):
        done = audio2img("config", "set", *change)
        assert done.returncode == 0, done.stderr
    assert settings_file().read_text() == "steps = 5  # many\n"
    assert load_settings().steps == 5


def test_what_may_come_yet_can_be_set(audio2img: Command, tmp_path: Path) -> None:
    folder = config_dir() / "styles"
    folder.mkdir(parents=True)
    (folder / "pastel.toml").write_text('template = "{prompt}, pastel"\n')
    values = {
        "style": "pastel", "template": "{prompt}, at dawn", "scheduler": "lcm", "backend": "diffusers",
        "model": "sdxl", "speech_model": "./not-here-yet.bin", "device": "USB", "silence": "2",
    }  # fmt: skip
    for name, value in values.items():
        done = audio2img("config", "set", name, value)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["set", "steps", "many"], "a whole number"),
        (["set", "low_memory", "2"], "true or false"),
        (["set", "guidance", "-1"], "the guidance -1"),
        (["set", "style", "inkk"], "did you mean ink?"),
        (["set", "template", "{scene}"], "placeholder {scene}"),
        (["set", "scheduler", "eulr"], "did you mean euler"),
        (["set", "hear", "noise"], "choose from: speech, sounds"),
        (["set", "backend", "cuda"], "diffusers"),
        (["set", "compute_units", "cpu_only"], "did you mean CPU_ONLY?"),
        (["set", "silence", "0"], "choose 0.2 seconds or more"),
        (["set", "Stlye", "ink"], "did you mean style?"),
        (["get", "nonesuch"], "known settings"),
        (["set", "style"], "--unset"),
        (["set", "style", "ink", "--unset"], "--unset"),
    ],
)
def test_wrong_calls_change_nothing(
    audio2img: Command, assert_fails: Fails, arguments: list[str], words: str
) -> None:
    assert_fails(audio2img("config", *arguments), 2, words)
    assert not settings_file().exists()


def test_a_model_that_nobody_knows_is_not_set(audio2img: Command, assert_fails: Fails) -> None:
    assert_fails(audio2img("config", "set", "model", "sdlx"), 4, "did you mean sdxl")
    assert_fails(audio2img("config", "set", "speech_model", "mini"), 4, "mini is an image model")
    assert not settings_file().exists()


def test_the_list_says_where_a_value_comes_from(audio2img: Command) -> None:
    audio2img("config", "set", "steps", "9")
    shown = audio2img("config", "list").stdout
    assert f"9  (set by {settings_file()})" in shown
    table = json.loads(audio2img("config", "list", "--json").stdout)
    assert table["steps"] == {"value": 9, "set_by": str(settings_file())}
    assert table["model"] == {"value": "mini", "set_by": "AUDIO2IMG_MODEL"}
    assert audio2img("config", "path").stdout == f"{settings_file()}\n"


def test_styles_are_listed_and_shown_and_a_broken_one_breaks_only_itself(audio2img: Command) -> None:
    folder = config_dir() / "styles"
    folder.mkdir(parents=True)
    (folder / "pastel.toml").write_text('template = "{prompt}, pastel"\ndescription = "soft"\n')
    (folder / "broken.toml").write_text("template = ")
    lines = audio2img("styles", "list").stdout.splitlines()
    assert any(line.startswith("pastel") and line.endswith("soft  (your own)") for line in lines)
    assert any(line.startswith("broken") and "not valid TOML" in line for line in lines)
    assert any(line.startswith("watercolor") for line in lines)
    assert "{prompt}, pastel" in audio2img("styles", "show", "pastel").stdout
    assert json.loads(audio2img("styles", "show", "ink", "--json").stdout)["name"] == "ink"
    assert "scene" in audio2img("styles", "list", "--templates").stdout


def test_an_unknown_style_is_refused(audio2img: Command, assert_fails: Fails) -> None:
    assert_fails(audio2img("styles", "show", "nonesuch"), 2, "watercolor")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("audio2img ru", ["run"]),
        ("audio2img generate --style wat", ["watercolor"]),
        ("audio2img generate --scheduler euler", ["euler", "euler-a"]),
        ("audio2img generate --scheduler l", ["lcm"]),
        ("audio2img generate --model sd-t", ["sd-turbo"]),
        ("audio2img transcribe --speech-model mini-w", ["mini-whisper"]),
        ("audio2img generate --template pan", ["panorama"]),
        ("audio2img config get compute", ["compute_units"]),
        ("audio2img models path mini-", ["mini-whisper"]),
        ("audio2img run --hear so", ["sounds"]),
        ("audio2img models get sd-t", ["sd-turbo"]),
        ("audio2img models get def", ["default"]),
        ("audio2img models show sd-t", ["sd-turbo"]),
        ("audio2img models verify mini-", ["mini-whisper"]),
        ("audio2img models remove mini-", ["mini-whisper"]),
        ("audio2img actions show rec", ["recording", "recording-shortcut"]),
        ("audio2img actions install clip", ["clipboard"]),
        ("audio2img actions uninstall clip", ["clipboard"]),
        ("audio2img show la", ["last", "la"]),  # the second: a file that begins so
        ("audio2img run --from ./fo", ["./fo"]),
        ("audio2img generate -o fo", ["fo"]),
        ("audio2img generate --init-image fo", ["fo"]),
        ("audio2img generate --lora fo", ["fo"]),
        ("audio2img generate --model ./fo", ["./fo"]),
        ("audio2img record -o fo", ["fo"]),
    ],
)
def test_names_are_completed(audio2img: Command, typed: str, offered: list[str]) -> None:
    words = typed.split(" ")
    env = {
        "_AUDIO2IMG_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1),
    }  # fmt: skip
    done = audio2img(env=env)
    assert [line.split(",")[1] for line in done.stdout.splitlines()] == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_the_shell_reads(audio2img: Command, tmp_path: Path, shell: str) -> None:
    script = audio2img("completion", shell)
    assert script.returncode == 0, script.stderr
    assert "_AUDIO2IMG_COMPLETE" in script.stdout
    if shutil.which(shell) is None:
        return
    path = tmp_path / "completion"
    path.write_text(script.stdout)
    assert subprocess.run([shell, "-n", str(path)], capture_output=True).returncode == 0


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_a_zsh_that_nobody_has_set_up_takes_the_script(audio2img: Command, tmp_path: Path) -> None:
    """As on a new Mac, where no compinit has made compdef known."""
    path = tmp_path / "completion"
    path.write_text(audio2img("completion", "zsh").stdout)
    words = 'source "$1"; print ${_comps[audio2img]}'
    done = subprocess.run(
        ["zsh", "-f", "-c", words, "zsh", str(path)], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("_audio2img_completion\n", "")
