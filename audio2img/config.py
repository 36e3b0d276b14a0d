"""Where things live, and what the user has set: directories, the settings file, environment variables.

Precedence: an option on the command line, then the environment, then the settings file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audio2img.errors import MachineError, UsageError
from audio2img.names import did_you_mean

if TYPE_CHECKING:
    from platformdirs import PlatformDirs

APP = "audio2img"

MAX_TOML_BYTES = 1 << 20
MAX_TOML_LINE = 4096  # characters: parsers take the square of the dots in a key
FROM_ENVIRONMENT = ("model", "speech_model", "sound_model", "backend", "output")


@dataclass(frozen=True)
class Settings:
    """Defaults a person has set. None means: not set, the program decides.

    origins: where each value that is set comes from, by its name: a file's path, or a variable's name.
    """

    model: str | None = None
    speech_model: str | None = None
    sound_model: str | None = None
    hear: str | None = None
    backend: str | None = None
    output: str | None = None
    language: str | None = None
    device: str | None = None
    silence: float | None = None
    limit: float | None = None
    vad_model: str | None = None
    style: str | None = None
    template: str | None = None
    negative: str | None = None
    scheduler: str | None = None
    steps: int | None = None
    guidance: float | None = None
    compute_units: str | None = None
    low_memory: bool | None = None
    precision: str | None = None
    compile: bool | None = None
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)


def config_dir() -> Path:
    """Settings, styles and the user's own models table."""
    return _in_home(lambda folders: folders.user_config_dir)


def cache_dir() -> Path:
    """What can be made again: compiled models, half-finished work. AUDIO2IMG_CACHE chooses another folder."""
    chosen = os.environ.get("AUDIO2IMG_CACHE")
    if chosen:
        return expand_path(chosen)
    return _in_home(lambda folders: folders.user_cache_dir)


def data_dir() -> Path:
    """Models that were downloaded, and the receipts of all. AUDIO2IMG_DATA chooses another folder."""
    chosen = os.environ.get("AUDIO2IMG_DATA")
    if chosen:
        return expand_path(chosen)
    return _in_home(lambda folders: folders.user_data_dir)


def is_offline() -> bool:
    """True when HF_HUB_OFFLINE asks never to touch the network; `--offline` sets it."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def log_file() -> Path:
    """Where an unexpected fault leaves its traceback."""
    return _in_home(lambda folders: folders.user_log_dir) / f"{APP}.log"


def pictures_dir() -> Path:
    """Where pictures go unless told otherwise: a folder of ours among the user's pictures."""
    return _in_home(lambda folders: folders.user_pictures_dir) / APP


def expand_path(path: str | Path) -> Path:
    """`path` with a leading ~ or ~name as that user's home. Raises UsageError for a user nobody knows."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{path}: no home folder of that user is known", "write the path in full") from error


def home_dir() -> Path:
    """The user's home folder. Raises MachineError where none is known."""
    return _in_home(lambda folders: str(Path.home()))


def _in_home(find: Callable[[PlatformDirs], str]) -> Path:
    """The folder that platformdirs finds. Raises MachineError where it knows no home to look in."""
    from platformdirs import PlatformDirs

    try:
        return Path(find(PlatformDirs(APP, appauthor=False)))
    except RuntimeError as error:
        raise MachineError(
            "no home folder is known for this user", "set HOME to a folder of yours"
        ) from error


def embedded_models_dir() -> Path:
    """The folder of the models that come with the package: inside the wheel, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "_models" / "mini"
    return installed if installed.is_dir() else package.parent / "models" / "mini"


def settings_file() -> Path:
    return config_dir() / "settings.toml"


def load_settings() -> Settings:
    """The settings file overlaid with AUDIO2IMG_MODEL, _SPEECH_MODEL, _SOUND_MODEL, _BACKEND, _OUTPUT.

    Raises UsageError when the file is not valid TOML or holds a key or type we do not know.
    """
    settings = _read_settings(settings_file())
    variables = {name: f"AUDIO2IMG_{name.upper()}" for name in FROM_ENVIRONMENT}
    variables = {name: variable for name, variable in variables.items() if os.environ.get(variable)}
    given: dict[str, Any] = {name: os.environ[variable] for name, variable in variables.items()}
    return replace(settings, **given, origins={**settings.origins, **variables})


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dict. Raises UsageError, naming the file and the place, when it cannot be read."""
    from audio2img.files import regular_size

    try:
        if regular_size(path) > MAX_TOML_BYTES:
            raise UsageError(f"{path} is larger than a megabyte", "mend or remove the file")
        return _parse_toml(path.read_text(encoding="utf-8"), path)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {error}", "mend or remove the file") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "check its permissions") from error


def _parse_toml(text: str, path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > MAX_TOML_LINE:
            raise UsageError(
                f"{path}: line {number} is longer than {MAX_TOML_LINE:,} characters",
                "mend or remove the file",
            )
    try:
        table: dict[str, Any] = tomllib.loads(text)
        return table
    except (ValueError, RecursionError) as error:
        why = str(error)
        if not isinstance(error, tomllib.TOMLDecodeError):  # these words are Python's own
            too_deep = isinstance(error, RecursionError)
            why = "it is nested too deeply" if too_deep else "a number in it has thousands of digits"
        raise UsageError(f"{path} is not valid TOML: {why}", "mend or remove the file") from error


def _read_settings(path: Path) -> Settings:
    if not path.exists():
        return Settings()
    table = read_toml(path)
    _check_settings(table, path)
    return Settings(**table, origins=dict.fromkeys(table, str(path)))


def _check_settings(table: Mapping[str, Any], path: Path) -> None:
    """Raises UsageError for a key or a type we do not know."""
    known = {one.name: str(one.type) for one in fields(Settings) if one.name in setting_names()}
    for key, value in table.items():
        if key not in known:
            raise UsageError(
                f"{path}: unknown setting {key!r}",
                f"{did_you_mean(key, known)}known settings: {', '.join(known)}",
            )
        wanted = known[key].split(" ")[0]
        accepted = {"str": (str,), "int": (int,), "float": (int, float), "bool": (bool,)}[wanted]
        if isinstance(value, bool) != (wanted == "bool") or not isinstance(value, accepted):
            raise UsageError(
                f"{path}: {key} must be of type {wanted}, not {_shown(value)}", f"mend {key} in {path}"
            )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def setting_names() -> tuple[str, ...]:
    return tuple(one.name for one in fields(Settings) if one.name != "origins")


def check_setting_name(name: str) -> None:
    """Raises UsageError, with the choices, for a name that no setting has."""
    if name not in setting_names():
        raise UsageError(
            f"there is no setting {_shown(name)}",
            f"{did_you_mean(name, setting_names())}known settings: {', '.join(setting_names())}",
        )


def parse_setting(name: str, text: str) -> str | int | float | bool:
    """The value that `text` means for this setting. Raises UsageError for no such name or value."""
    check_setting_name(name)
    wanted = next(str(one.type) for one in fields(Settings) if one.name == name).split(" ")[0]
    truths = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    try:
        if wanted == "bool":
            return truths[text.lower()]
        return text if wanted == "str" else int(text) if wanted == "int" else float(text)
    except (KeyError, ValueError) as error:
        kind = {"bool": "true or false", "int": "a whole number", "float": "a number"}[wanted]
        raise UsageError(f"{name} is {kind}, not {_shown(text)}", f"give {kind}") from error


def save_setting(name: str, value: str | float | bool | None) -> Path:
    """Set one value in the settings file, or take it out (None); the rest stays as it is. The file's path.

    What is wrong with other values of the file is no reason to refuse: they may be mended one by one, and
    a name that no setting has may be taken out. Raises UsageError for an unknown name, a value of another
    type, and a file that cannot be read or written.
    """
    import tomlkit

    from audio2img.files import replace_file

    path = settings_file()
    is_there = path.exists() and name in read_toml(path)
    if value is not None or not is_there:
        check_setting_name(name)
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8") if path.exists() else "")
        if value is None:
            document.pop(name, None)
        else:
            _check_settings({name: value}, path)
            document[name] = value
        replace_file(path, tomlkit.dumps(document).encode())
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", "check its permissions") from error
    return path
