"""A model of the Hugging Face Hub as a diffusers folder: only what conversion needs, and no pickles."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from audio2img.conversion.source import COMPONENTS, wanted_weights
from audio2img.errors import MachineError, ModelError

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(?:@[\w./-]+)?")
_COMPONENT_FOLDERS = tuple(dict.fromkeys(COMPONENTS.values()))
_CONFIG_FILES = (
    "model_index.json",
    "scheduler/scheduler_config.json",
    "feature_extractor/preprocessor_config.json",
    *(f"{folder}/config.json" for folder in _COMPONENT_FOLDERS),
    *(
        f"{tokenizer}/{name}"
        for tokenizer in ("tokenizer", "tokenizer_2")
        for name in ("vocab.json", "merges.txt", "special_tokens_map.json", "tokenizer_config.json")
    ),
)


def is_hub_id(source: str) -> bool:
    """Whether `source` can be OWNER/NAME or OWNER/NAME@REVISION."""
    return _HUB_ID.fullmatch(source) is not None


def wanted_files(names: Iterable[str], parts: Iterable[str] | None = None) -> list[str]:
    """Of the files of a repository those to download for `parts` (None: all)."""
    names = list(names)
    folders = _COMPONENT_FOLDERS if parts is None else list(dict.fromkeys(COMPONENTS[part] for part in parts))
    settings = [name for name in names if name in _CONFIG_FILES]
    return settings + [name for folder in folders for name in wanted_weights(names, folder)]


def fetch_model(hub_id: str, parts: Iterable[str] | None = None) -> Path:
    """The folder of a hub model in huggingface_hub's cache, downloaded where it is not there yet.

    Raises ModelError if there is no such model or no leave to read it, MachineError if the hub
    cannot be reached and the cache does not have it.
    """
    import huggingface_hub
    from huggingface_hub import errors

    repository, _, revision = hub_id.partition("@")
    # Of httpx or of requests, after the version of huggingface_hub; OSError has what the rest raise.
    unreachable = (OSError, getattr(errors, "HTTPError", OSError))
    try:
        patterns = _list_wanted(repository, revision or None, parts, unreachable)
        return Path(
            huggingface_hub.snapshot_download(
                repository,
                revision=revision or None,
                allow_patterns=patterns,
                local_files_only=patterns is None,
            )
        )
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{repository} is open only to those who accepted its terms",
            f"accept them on https://huggingface.co/{repository}, then run: hf auth login",
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise ModelError(
            f"there is no folder and no hub model {hub_id}",
            "check the spelling, or give the path of a diffusers folder",
        ) from error
    except unreachable as error:
        raise MachineError(
            f"{hub_id} is no folder here, and cannot be fetched from the hub: {_first_line(error)}",
            "check the network, or download the model elsewhere and give its folder",
        ) from error


def _list_wanted(
    repository: str,
    revision: str | None,
    parts: Iterable[str] | None,
    unreachable: tuple[type[BaseException], ...],
) -> list[str] | None:
    """The files to download, None where the hub cannot be reached and only the cache is left."""
    import huggingface_hub
    from huggingface_hub import errors

    try:
        listed = huggingface_hub.HfApi().list_repo_files(repository, revision=revision)
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
        raise
    except unreachable:
        return None
    return wanted_files(listed, parts)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
