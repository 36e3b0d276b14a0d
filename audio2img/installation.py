"""How audio2img came onto this machine, and with it the command that adds an extra.

It is on no index of packages, so that `pip install 'audio2img[...]'` finds nothing: what adds an extra
has to name where this installation came from. direct_url.json tells (PEP 610), and the files that uv and
pipx leave in the environments that they make.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from audio2img.machine import missing_packages

if TYPE_CHECKING:
    from importlib.metadata import Distribution

NAME = "audio2img"
# What tells that an extra is there; one that is added must not take another away.
EXTRAS: dict[str, tuple[str, ...]] = {
    "sounds": ("ai_edge_litert",),
    "diffusers": ("torch", "diffusers", "peft"),
    "convert": ("torch", "diffusers", "sklearn"),
}
WITH_TORCH = ("diffusers", "convert")


def how_to_add(extra: str, distribution: Distribution | None = None, prefix: Path | None = None) -> str:
    """What to run so that `extra` is installed, beginning with "run: ".

    distribution, prefix: of another installation than the one that is running, its metadata and the
    folder of its environment.
    """
    prefix = Path(sys.prefix) if prefix is None else prefix
    origin = _read_origin(distribution)
    wanted = ",".join(dict.fromkeys([*_present_extras(), extra]))
    smaller = (
        " (without an NVIDIA card, choose torch for the processor first: https://pytorch.org/get-started)"
    )
    return f"run: {_command(extra, wanted, origin, prefix)}{smaller if extra in WITH_TORCH else ''}"


def _command(extra: str, wanted: str, origin: dict[str, Any], prefix: Path) -> str:
    folder = _local_folder(origin)
    python = shlex.quote(str(_python_of(prefix)))
    if folder is not None and origin.get("dir_info", {}).get("editable"):
        return f"{python} -m pip install -e {shlex.quote(f'{folder}[{extra}]')}"
    if folder is not None and (folder / "Makefile").is_file() and _is_of_make(prefix):
        return f"make -C {shlex.quote(str(folder))} install EXTRAS={wanted}{_prefix_of_make(prefix)}"
    what = shlex.quote(_requirement(origin, folder, wanted))
    if (prefix / "uv-receipt.toml").is_file():
        return f"uv tool install --force {what}"
    if (prefix / "pipx_metadata.json").is_file():
        return f"pipx install --force {what}"
    return f"{python} -m pip install {what}"


def _read_origin(distribution: Distribution | None) -> dict[str, Any]:
    """direct_url.json; {} where there is none, as after an installation from an index."""
    import json
    from importlib.metadata import Distribution, PackageNotFoundError

    try:
        text = (distribution or Distribution.from_name(NAME)).read_text("direct_url.json")
        origin = json.loads(text or "{}")
    except (PackageNotFoundError, ValueError, OSError):
        return {}
    return origin if isinstance(origin, dict) else {}


def _local_folder(origin: dict[str, Any]) -> Path | None:
    """The checkout that it was installed from, if that is still there."""
    parts = urlsplit(str(origin.get("url", "")))
    if parts.scheme != "file" or "dir_info" not in origin:
        return None
    path = unquote(parts.path)
    folder = Path(path[1:] if sys.platform == "win32" else path)
    return folder if folder.is_dir() else None


def _requirement(origin: dict[str, Any], folder: Path | None, extras: str) -> str:
    """What pip, uv and pipx are asked for."""
    if folder is not None:
        return f"{folder}[{extras}]"
    url = str(origin.get("url", ""))
    if not url:
        return f"{NAME}[{extras}]"
    vcs = origin.get("vcs_info")
    if isinstance(vcs, dict):
        url = f"{vcs.get('vcs', 'git')}+{url}@{vcs.get('commit_id', '')}".rstrip("@")
    return f"{NAME}[{extras}] @ {url}"


def _is_of_make(prefix: Path) -> bool:
    """`make install` keeps its environment with uv or pipx, or beside a receipt of its own."""
    marks = ("uv-receipt.toml", "pipx_metadata.json")
    return (prefix.parent / "install.json").is_file() or any((prefix / mark).is_file() for mark in marks)


def _prefix_of_make(prefix: Path) -> str:
    """What `make install` was told besides: its own environment is PREFIX/share/audio2img/venv."""
    if not (prefix.parent / "install.json").is_file() or len(prefix.parents) < 3:
        return ""
    chosen = prefix.parents[2]
    return "" if chosen == Path.home() / ".local" else f" PREFIX={shlex.quote(str(chosen))}"


def _python_of(prefix: Path) -> Path:
    return prefix / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _present_extras() -> list[str]:
    return [extra for extra, packages in EXTRAS.items() if not missing_packages(packages)]
