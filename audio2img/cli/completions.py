"""What a shell completes: the names there are, looked up when they are asked for.

Each is a `shell_complete` of click: (context, parameter, what is typed) to the names that begin so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _of(find: Callable[[], Iterable[str]], or_path: bool = False) -> Completer:
    """or_path: files of the shell as well, where what is typed can only be a path."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from audio2img.errors import Audio2ImgError

        if or_path and incomplete.startswith((".", "/", "~")):
            return files(ctx, param, incomplete)
        try:
            return [CompletionItem(name) for name in find() if name.startswith(incomplete)]
        except (Audio2ImgError, OSError):  # nobody can be told in the middle of a line
            return []

    return complete


def models(*kinds: str) -> Completer:
    """The models of these kinds; none: of every kind. One in a folder of one's own is a path."""

    def find() -> Iterable[str]:
        from audio2img.store.catalog import load_catalog

        rows = [row for row in load_catalog() if not kinds or row.kind in kinds]
        return sorted({name for row in rows for name in (row.name, *row.aliases)})

    return _of(find, or_path=True)


def models_to_get(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Every model, and "default" for those that are taken when none is named."""
    own = [CompletionItem("default")] if "default".startswith(incomplete) else []
    return own + models()(ctx, param, incomplete)


def pictures(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files, and "last" for the newest picture."""
    last = [CompletionItem("last")] if incomplete and "last".startswith(incomplete) else []
    return last + files(ctx, param, incomplete)


def _styles() -> Iterable[str]:
    from audio2img.config import config_dir
    from audio2img.prompt import list_styles

    return [one.name for one in list_styles("style", config_dir() / "styles")]


def _templates() -> Iterable[str]:
    from audio2img.config import config_dir
    from audio2img.prompt import list_styles

    return [one.name for one in list_styles("template", config_dir() / "templates")]


def _schedulers() -> Iterable[str]:
    from audio2img.diffusion.facts import SCHEDULER_CLASSES

    return SCHEDULER_CLASSES


def _backends() -> Iterable[str]:
    from audio2img.backends import AUTO, ROWS

    return [AUTO, *(row.name for row in ROWS)]


def _devices() -> Iterable[str]:
    from audio2img.audio.microphone import list_devices

    return [device.name for device in list_devices()]


def _settings() -> Iterable[str]:
    from audio2img.config import setting_names

    return setting_names()


def _actions() -> Iterable[str]:
    from audio2img.macos.actions import ACTIONS

    return [action.name for action in ACTIONS]


actions = _of(_actions)
styles, templates, schedulers = _of(_styles), _of(_templates), _of(_schedulers)
backends, devices, settings = _of(_backends), _of(_devices), _of(_settings)


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What the shell itself finds of files."""
    return [CompletionItem(incomplete, type="file")]


def folders(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What the shell itself finds of folders."""
    return [CompletionItem(incomplete, type="dir")]
