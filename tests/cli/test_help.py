"""What `--help` prints: headings, defaults, examples that work."""

from __future__ import annotations

import shlex
from importlib.resources import files

import click
import pytest

from audio2img.cli import cli
from audio2img.cli.help import HEADINGS, OWN, Command, heading_of
from audio2img.cli.options import STYLES


def every_command(group: click.Group = cli, path: str = "audio2img") -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= every_command(command, f"{path} {name}")
        else:
            found[f"{path} {name}"] = command
    return found


COMMANDS = every_command()


def help_of(path: str) -> str:
    command = COMMANDS[path]
    return command.get_help(click.Context(command, info_name=path, **cli.context_settings))


@pytest.mark.parametrize("path", COMMANDS)
def test_every_option_stands_under_a_heading_once(path: str) -> None:
    lines = help_of(path).splitlines()
    headings = [n for n, line in enumerate(lines) if line.endswith(":") and not line.startswith(" ")]
    lines = lines[headings[0] :]  # after the words about the command
    command = COMMANDS[path]
    for option in command.get_params(click.Context(command)):
        if isinstance(option, click.Option) and not option.hidden:
            longest = max(option.opts, key=len)
            rows = [n for n, line in enumerate(lines) if longest in line.replace(",", " ").split()[:2]]
            assert len(rows) == 1, longest
            above = [line for line in lines[: rows[0]] if line and not line.startswith(" ")]
            assert above[-1] == f"{heading_of(option.name or '')}:"


def test_no_option_is_named_under_two_headings() -> None:
    named = [name for names in HEADINGS.values() for name in names]
    assert len(named) == len(set(named))
    assert OWN not in HEADINGS


@pytest.mark.parametrize("path", COMMANDS)
def test_help_is_words_for_people(path: str) -> None:
    text = help_of(path)
    assert "RANGE" not in text
    assert "INTEGER" not in text
    assert "FLOAT" not in text
    assert text.count("\nExamples:\n") == 1


@pytest.mark.parametrize("path", COMMANDS)
def test_two_examples_that_parse(path: str) -> None:
    command = COMMANDS[path]
    assert isinstance(command, Command)
    assert len(command.examples) == 2
    for example in command.examples:
        assert example in help_of(path)
        assert example.split()[: len(path.split())] == path.split()
        words = shlex.split(example)[len(path.split()) :]
        command.make_context(path, words)


def test_the_styles_that_help_names_are_those_that_come_with_the_package() -> None:
    folder = files("audio2img.prompt") / "styles"
    assert sorted(STYLES) == sorted(one.name.removesuffix(".toml") for one in folder.iterdir())
