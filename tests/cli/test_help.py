"""What `--help` prints: headings, defaults, examples that work."""

from __future__ import annotations

import shlex
from importlib.resources import files

import click
import pytest

from audio2img.cli import cli
from audio2img.cli.help import HEADINGS, OWN, Command, heading_of
from audio2img.cli.options import STYLES
from audio2img.store.defaults import Machine


def every_command(group: click.Group = cli, path: str = "audio2img") -> dict[str, click.Command]:
    """Every command and every group by the words that call it."""
    found: dict[str, click.Command] = {path: group}
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= every_command(command, f"{path} {name}")
        else:
            found[f"{path} {name}"] = command
    return found


COMMANDS = every_command()
GROUPS = [path for path, command in COMMANDS.items() if isinstance(command, click.Group)]
# What an option that takes a value needs not say: without it nothing of the kind is done.
NOTHING_WITHOUT = {
    "picture", "watched", "initial_prompt", "style", "template", "negative", "init_image", "loras", "seconds",
    "plot", "group_size", "recipe", "recipe_name", "prompts", "dest", "given_command", "wanted",
    "model of doctor", "public",
}  # fmt: skip


def help_of(path: str) -> str:
    command = COMMANDS[path]
    return command.get_help(click.Context(command, info_name=path, **cli.context_settings))


def parse_line(line: str) -> None:
    """Have click read a whole command line, and run nothing. Raises click.UsageError."""
    name, *words = shlex.split(line)
    command: click.Command = cli
    while isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        _, chosen, words = command.resolve_command(context, words)
        assert chosen is not None
        command = chosen
    command.make_context(line, words)


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
    assert "<=" not in text
    assert ">=" not in text
    assert text.count("\nExamples:\n") == 1


@pytest.mark.parametrize("path", COMMANDS)
def test_an_option_that_takes_a_value_says_what_holds_without_it(path: str) -> None:
    command = COMMANDS[path]
    context = click.Context(command)
    for option in command.params:
        if isinstance(option, click.Option) and not option.is_flag and not option.required:
            names = {option.name, f"{option.name} of {path.split()[-1]}"}
            assert names & NOTHING_WITHOUT or option.get_help_extra(context).get("default"), option.name


@pytest.mark.parametrize("path", GROUPS)
def test_a_group_shows_each_of_its_commands(path: str) -> None:
    command = COMMANDS[path]
    assert isinstance(command, click.Group)
    shown = help_of(path).split("\nCommands:\n")[1].split("\n\n")[0].splitlines()
    names = [line.split()[0] for line in shown if line.startswith("  ") and line[2] != " "]
    assert sorted(names) == sorted(command.list_commands(click.Context(command)))
    assert not any(line.endswith("...") for line in shown)


@pytest.mark.parametrize("path", COMMANDS)
def test_two_examples_that_parse(path: str) -> None:
    command = COMMANDS[path]
    assert isinstance(command, Command)
    assert len(command.examples) == 2
    for example in command.examples:
        assert example in help_of(path)
        assert example.split()[: len(path.split())] == path.split()
        parse_line(example)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("audio2img run --silence 0", "it must be 0.2 to 60, not 0"),
        ("audio2img run --seconds nan", "it must be 0.1 to 3600, not nan"),
        ("audio2img run --limit 3600.5", "it must be 1 to 3600, not 3600.5"),
        ("audio2img run --threads 0", "it must be 1 or more, not 0"),
        ("audio2img run --threads 1.5", "'1.5' is not a valid integer"),
    ],
)
def test_a_number_beyond_its_bounds_is_refused_in_words(line: str, words: str) -> None:
    with pytest.raises(click.BadParameter) as caught:
        parse_line(line)
    assert words in caught.value.message


@pytest.mark.parametrize("line", ["audio2img run --seconds 0.1 --limit 3600", "audio2img run --threads 1"])
def test_bounds_belong_to_their_range(line: str) -> None:
    parse_line(line)


def test_bounds_stand_beside_the_default() -> None:
    text = " ".join(help_of("audio2img record").split())
    assert "--silence SECONDS Silence that ends it. [default: 1.2; 0.2 to 60]" in text


def test_the_models_that_help_names_are_those_that_are_taken() -> None:
    defaults = Machine("linux", has_diffusers=False).defaults
    text = help_of("audio2img run")
    assert f"[default: {defaults['speech']}]" in text
    assert f"[default: {defaults['sound']}]" in text


def test_the_styles_that_help_names_are_those_that_come_with_the_package() -> None:
    folder = files("audio2img.prompt") / "styles"
    assert sorted(STYLES) == sorted(one.name.removesuffix(".toml") for one in folder.iterdir())
