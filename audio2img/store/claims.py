"""Which files in the hub's cache are ours while a download is not finished, and so has no receipt yet."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from audio2img.store.places import make_folder

NAME = "claims"


def claim(workshop: Path, blob: Path, entry: Path) -> None:
    """Note, before it is fetched, that we put `blob` into the cache. entry: its place in a snapshot."""
    with (make_folder(workshop) / NAME).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps([str(blob), str(entry)]) + "\n")


def claimed(workshop: Path) -> dict[Path, Path]:
    """What was claimed: blob -> entry. A line that a kill cut short does not count."""
    claims: dict[Path, Path] = {}
    path = workshop / NAME
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with suppress(ValueError):
            blob, entry = json.loads(line)
            claims[Path(blob)] = Path(entry)
    return claims
