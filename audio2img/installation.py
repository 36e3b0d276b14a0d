"""How audio2img came onto this machine, and with it the command that adds an extra or mends a package.

It is on no index of packages, so that `pip install 'audio2img[...]'` finds nothing: what adds an extra
has to name where this installation came from. direct_url.json tells (PEP 610), and the files that uv and
pipx leave in the environments that they make.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from audio2img.machine import has_nvidia_card, missing_packages, this_platform

if TYPE_CHECKING:
    from importlib.metadata import Distribution

NAME = "audio2img"
# What tells that an extra is there; one that is added must not take another away.
EXTRAS: dict[str, tuple[str, ...]] = {
    "sounds": ("ai_edge_litert",),
    "diffusers": ("torch", "diffusers", "peft"),
    "convert": ("torch", "diffusers", "sklearn"),
    "web": ("starlette", "uvicorn", "websockets"),
}
DEFAULT_PREFIX = Path("~/.local")
RECEIPT = Path("share", NAME, "install.json")  # of `make install`, below its prefix
WITH_TORCH = ("diffusers", "convert", "train")

TORCH_FOR_CPU = "https://download.pytorch.org/whl/cpu"
"""PyTorch's index of its builds for the processor: 2.9.1+cpu, which is newer than 2.9.1 (PEP 440)."""

# What the extra diffusers adds on disk, measured: of PyPI's torch, the wheels for Linux bring CUDA along.
WITH_CUDA, WITHOUT_CUDA = "6 GB", "1.1 GB"


def how_to_add(extra: str, distribution: Distribution | None = None, prefix: Path | None = None) -> str:
    """What to run so that `extra` is installed, beginning with "run: ", and what that weighs with torch.

    distribution, prefix: of another installation than the one that is running, its metadata and the
    folder of its environment.
    """
    prefix = Path(sys.prefix) if prefix is None else prefix
    origin = _read_origin(distribution)
    wanted = ",".join(dict.fromkeys([*_present_extras(), extra]))
    brings_torch = extra in WITH_TORCH and bool(missing_packages(("torch",)))
    for_cpu = brings_torch and needs_torch_for_cpu((extra,))
    weight = f" ({_weight()})" if brings_torch else ""
    return f"run: {_command(extra, wanted, origin, prefix, for_cpu)}{weight}"


def how_to_repair(
    *packages: str, distribution: Distribution | None = None, prefix: Path | None = None
) -> str:
    """What to run so that `packages` are installed again, in the newest versions that audio2img takes.

    It begins with "run: ". distribution, prefix: see how_to_add.
    """
    prefix = Path(sys.prefix) if prefix is None else prefix
    wanted = " ".join(shlex.quote(_taken(package, distribution)) for package in packages)
    if _has_pip(prefix):
        return f"run: {_pip(prefix)} --force-reinstall {wanted}"
    again = " ".join(f"--reinstall-package {package}" for package in packages)
    return f"run: {_pip(prefix)} {again} {wanted}"


def needs_torch_for_cpu(extras: Iterable[str]) -> bool:
    """Whether these extras would bring gigabytes for a card that is not here."""
    return (
        any(extra in WITH_TORCH for extra in extras) and this_platform() == "linux" and not has_nvidia_card()
    )


def _weight() -> str:
    if this_platform() == "linux" and has_nvidia_card():
        return f"about {WITH_CUDA} on disk, with CUDA's libraries"
    if this_platform() == "linux":
        return f"about {WITHOUT_CUDA} on disk, with torch for the processor: there is no NVIDIA card here"
    if has_nvidia_card():
        return f"about {WITHOUT_CUDA} on disk; for the card take a build with CUDA: https://pytorch.org/get-started"
    return f"about {WITHOUT_CUDA} on disk"


def _command(extra: str, wanted: str, origin: dict[str, Any], prefix: Path, for_cpu: bool) -> str:
    folder = _local_folder(origin)
    if folder is not None and origin.get("dir_info", {}).get("editable"):
        return f"{_pip(prefix, for_cpu)} -e {shlex.quote(f'{folder}[{extra}]')}"
    if folder is not None and (folder / "Makefile").is_file() and (chosen := _prefix_of_make(prefix)):
        own = "" if chosen == DEFAULT_PREFIX.expanduser() else f" PREFIX={shlex.quote(str(chosen))}"
        return f"make -C {shlex.quote(str(folder))} install EXTRAS={wanted}{own}"
    what = shlex.quote(_requirement(origin, folder, wanted))
    if (prefix / "uv-receipt.toml").is_file():
        return f"uv tool install --force{_index_for_uv(for_cpu)} {what}"
    if (prefix / "pipx_metadata.json").is_file():
        return _pipx(what, prefix, for_cpu)
    return f"{_pip(prefix, for_cpu)} {what}"


def _pip(prefix: Path, for_cpu: bool = False) -> str:
    """What installs into the environment; those that uv makes have no pip."""
    python = shlex.quote(str(prefix / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")))
    if _has_pip(prefix):
        return f"{python} -m pip install{f' --extra-index-url {TORCH_FOR_CPU}' if for_cpu else ''}"
    return f"uv pip install --python {python}{_index_for_uv(for_cpu)}"


def _pipx(what: str, prefix: Path, for_cpu: bool) -> str:
    if not for_cpu:
        return f"pipx install --force {what}"
    index = f"--extra-index-url {TORCH_FOR_CPU}" if _has_pip(prefix) else _index_for_uv(True).strip()
    return f"pipx install --force --pip-args={shlex.quote(index)} {what}"


def _index_for_uv(for_cpu: bool) -> str:
    """uv else takes from the first index that has a package whatever is there, however old."""
    return f" --extra-index-url {TORCH_FOR_CPU} --index-strategy unsafe-best-match" if for_cpu else ""


def _has_pip(prefix: Path) -> bool:
    if prefix == Path(sys.prefix):
        return find_spec("pip") is not None
    return any(any(prefix.glob(f"{lib}/site-packages/pip")) for lib in ("lib/python3*", "Lib"))


def _taken(package: str, distribution: Distribution | None) -> str:
    """`package` with the versions that audio2img's metadata asks for, as "av<19,>=14"."""
    from importlib.metadata import Distribution, PackageNotFoundError

    try:
        required = (distribution or Distribution.from_name(NAME)).requires or []
    except PackageNotFoundError:
        return package
    wanted = re.compile(rf"{re.escape(package)}(?![\w.-])\s*([^;]*)", re.IGNORECASE)
    found = next((match for line in required if (match := wanted.match(line))), None)
    return package + found[1].strip() if found else package


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


def _prefix_of_make(prefix: Path) -> Path | None:
    """The folder that `make install` worked in, by its receipt; None where another has made the environment.

    Its own environment lies beside the receipt; for one that uv or pipx keeps elsewhere, the receipt is
    where the launcher is.
    """
    if (prefix.parent / RECEIPT.name).is_file() and len(prefix.parents) > 2:
        return prefix.parents[2]
    if not any((prefix / mark).is_file() for mark in ("uv-receipt.toml", "pipx_metadata.json")):
        return None
    import shutil

    launcher = shutil.which(NAME)
    places = [Path(launcher).parent.parent] if launcher else []
    return next((one for one in [*places, DEFAULT_PREFIX.expanduser()] if (one / RECEIPT).is_file()), None)


def _present_extras() -> list[str]:
    return [extra for extra, packages in EXTRAS.items() if not missing_packages(packages)]
