"""Settings: the file, the environment over it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from audio2img import config
from audio2img.errors import UsageError


def test_without_a_file_nothing_is_set(private_home: Path) -> None:
    assert config.load_settings() == config.Settings()


def test_the_environment_wins_over_the_file(private_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = config.settings_file()
    path.parent.mkdir(parents=True)
    path.write_text('model = "one"\nsteps = 12\nguidance = 5\noutput = "there"\n')
    monkeypatch.setenv("AUDIO2IMG_MODEL", "two")
    settings = config.load_settings()
    assert (settings.model, settings.steps, settings.guidance, settings.output) == ("two", 12, 5, "there")


@pytest.mark.parametrize("text", ["steps = ", "stepz = 3", "steps = true", 'guidance = "7"', "model = 1"])
def test_a_wrong_file_is_refused_by_name(private_home: Path, text: str) -> None:
    path = config.settings_file()
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(UsageError, match=r"settings\.toml"):
        config.load_settings()


def test_everything_lives_under_the_home(private_home: Path) -> None:
    for path in (config.config_dir(), config.log_file(), config.settings_file()):
        assert private_home in path.parents


@given(name=st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1))
@hypothesis_settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_saved_setting_is_read_back_and_the_rest_stays(private_home: Path, name: str) -> None:
    path = config.settings_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('# mine\nsteps = 12\ndevice="old"\n')
    assert config.save_setting("device", name) == path
    assert config.load_settings() == config.Settings(device=name, steps=12)
    config.save_setting("device", None)
    assert path.read_text() == "# mine\nsteps = 12\n"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("text", ["steps = ", "[steps", "steps = 1\nsteps = 2\n"])
def test_a_settings_file_that_is_not_understood_is_left_alone(private_home: Path, text: str) -> None:
    path = config.settings_file()
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(UsageError, match=r"settings\.toml"):
        config.save_setting("device", "new")
    assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("text", ['stepz = "a"\n', "steps = 3\ndevice = 5\n", "[table]\nx = 1\n"])
def test_what_is_wrong_elsewhere_in_the_file_is_no_reason_to_refuse(private_home: Path, text: str) -> None:
    path = config.settings_file()
    path.parent.mkdir(parents=True)
    path.write_text(text)
    config.save_setting("device", "new")
    before, after = config._parse_toml(text, path), config.read_toml(path)
    assert after == {**before, "device": "new"}


def test_saving_reads_toml_and_not_lines(private_home: Path) -> None:
    path = config.settings_file()
    path.parent.mkdir(parents=True)
    path.write_text('steps = 3\nstyle = """\ndevice = 5\n"""\n"device" = "a"  # loud\n')
    config.save_setting("device", "new")
    assert path.read_text() == 'steps = 3\nstyle = """\ndevice = 5\n"""\n"device" = "new"  # loud\n'
    assert config.load_settings().style == "device = 5\n"


def test_saving_writes_through_a_link(private_home: Path) -> None:
    kept = private_home / "dotfiles" / "settings.toml"
    kept.parent.mkdir()
    kept.write_text("steps = 3\n")
    path = config.settings_file()
    path.parent.mkdir(parents=True)
    path.symlink_to(kept)
    config.save_setting("device", "new")
    assert path.is_symlink()
    assert kept.read_text() == 'steps = 3\ndevice = "new"\n'


@pytest.mark.parametrize(
    "text",
    [
        "steps = " + "9" * 5000,
        "steps = " + "[" * 3000 + "]" * 3000,
        "steps = " + "\n[" * 5000 + "]" * 5000,
        ".".join(["a"] * 20_000) + " = 1",
        "x" * (2 << 20),
    ],
)
def test_hostile_toml_is_refused_at_once(private_home: Path, text: str) -> None:
    path = config.settings_file()
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(UsageError, match=r"settings\.toml") as caught:
        config.load_settings()
    assert len(caught.value.message) < 500
    assert "sys." not in caught.value.message


@pytest.mark.timeout(30)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_settings_are_read_from_a_regular_file_only(private_home: Path) -> None:
    path = config.settings_file()
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    with pytest.raises(UsageError, match=r"settings\.toml cannot be read: it is no regular file"):
        config.load_settings()


def test_every_value_knows_where_it_comes_from(private_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = config.settings_file()
    path.parent.mkdir(parents=True)
    path.write_text('model = "mini"\nsteps = 3\n')
    monkeypatch.setenv("AUDIO2IMG_MODEL", "other")
    settings = config.load_settings()
    assert settings.model == "other"
    assert settings.origins == {"model": "AUDIO2IMG_MODEL", "steps": str(path)}
