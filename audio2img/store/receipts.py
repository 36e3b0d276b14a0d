"""What was installed, from where, under which licence: one JSON file a model, written when it is whole.

A model without a receipt is not installed; a receipt whose files are gone is not believed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audio2img.files import replace_file
from audio2img.store.formats import why_unsafe
from audio2img.store.places import make_folder, receipts_dir


@dataclass(frozen=True)
class InstalledFile:
    """A file of an installed model. path: within the receipt's root, with /.

    is_ours: downloaded by us, not found in the hub's cache where another tool had put it.
    """

    path: str
    size_bytes: int
    sha256: str
    is_ours: bool = True


@dataclass(frozen=True)
class LicenceRecord:
    """name, url as they were shown; accepted: when (ISO 8601, UTC) and how ("at the terminal", ...)."""

    name: str
    url: str
    accepted: str = ""
    how: str = ""


@dataclass(frozen=True)
class Receipt:
    """name: with the variant; key: the same as a file name. model_path: what a backend is given.

    root: the folder that the files are relative to. snapshot: the folder in the hub's cache that the
    same files came through, "" for others. mirror: where from; commit: of a hub's repository.
    """

    name: str
    key: str
    kind: str
    format: str
    model_path: str
    root: str
    mirror: str
    licence: LicenceRecord
    files: tuple[InstalledFile, ...]
    commit: str = ""
    snapshot: str = ""
    installed: str = ""

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    def is_whole(self) -> bool:
        """True while every file is there with the size it had; a quick look, no hashing."""
        root = Path(self.root)
        try:
            return all((root / file.path).stat().st_size == file.size_bytes for file in self.files)
        except OSError:
            return False


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def write_receipt(receipt: Receipt) -> None:
    """Raises OSError."""
    import json

    text = json.dumps(asdict(receipt), indent=2)
    replace_file(make_folder(receipts_dir()) / f"{receipt.key}.json", text.encode())


def read_receipt(key: str) -> Receipt | None:
    """The receipt of the model `key`; None where there is none that can be read."""
    try:
        text = (receipts_dir() / f"{key}.json").read_text(encoding="utf-8")
        import json  # of most models there is no receipt to read

        table = json.loads(text)
        receipt = _from_table(table)
        return receipt if receipt.key == key else None
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


def _from_table(table: dict[str, Any]) -> Receipt:
    files = tuple(InstalledFile(**file) for file in table.pop("files"))
    if any(why_unsafe(file.path) for file in files) or "/" in table["key"]:
        raise ValueError("files outside of the model's folder")
    licence = LicenceRecord(**table.pop("licence"))
    return Receipt(**table, files=files, licence=licence)


def installed(key: str) -> Receipt | None:
    """The receipt of a model that is whole on this machine, else None."""
    receipt = read_receipt(key)
    return receipt if receipt is not None and receipt.is_whole() else None


def all_receipts() -> Iterator[Receipt]:
    folder = receipts_dir()
    if folder.is_dir():
        for path in sorted(folder.glob("*.json")):
            receipt = read_receipt(path.stem)
            if receipt is not None:
                yield receipt


def installed_models() -> dict[str, Receipt]:
    """The receipts of all models that are whole on this machine, by their keys."""
    return {receipt.key: receipt for receipt in all_receipts() if receipt.is_whole()}


def entries_of_ours(but: str = "") -> set[Path]:
    """The entries in the hub's cache that models of ours (except the one of key `but`) consist of and
    that we put there."""
    return {
        Path(receipt.snapshot) / file.path
        for receipt in all_receipts()
        if receipt.key != but and receipt.snapshot
        for file in receipt.files
        if file.is_ours
    }


def remove_receipt(key: str) -> None:
    (receipts_dir() / f"{key}.json").unlink(missing_ok=True)
