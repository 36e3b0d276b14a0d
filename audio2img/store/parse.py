"""From a catalogue file to rows: every field known and of the right kind, or an error that says where."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from audio2img.config import read_toml
from audio2img.errors import UsageError
from audio2img.machine import Platform
from audio2img.store.formats import check_name, why_unsafe
from audio2img.store.rows import FileSpec, Format, Kind, Mirror, ModelRow, Variant

TEXTS = ("name", "kind", "format", "title", "purpose", "licence", "licence_url")
OPTIONAL = {
    "aliases": list, "platforms": list, "memory_bytes": int, "mirrors": list, "variant": list,
    "files": list, "patterns": list, "folder": str, "about_bytes": int, "embedded": str,
    "embedded_diffusers": str,
    "unverified": bool, "vocabulary": str, "min_probability": float,
}  # fmt: skip
VARIANT_FIELDS = {"name": str, "files": list, "patterns": list, "folder": str, "about_bytes": int}
FILE_FIELDS = {"path": str, "bytes": int, "sha256": str}
MIRROR_FIELDS = {"hub": str, "revision": str, "url": str}

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
LOOPBACK = re.compile(r"http://(127\.0\.0\.1|localhost|\[::1\])[:/]")
REVISION = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)*")
SHA256 = re.compile(r"[0-9a-f]{64}")


def read_rows(path: Path) -> tuple[ModelRow, ...]:
    """The rows of a catalogue file. Raises UsageError that names the file and the row."""
    table = read_toml(path)
    rows = table.pop("model", [])
    if table or not isinstance(rows, list):
        raise UsageError(f"{path} holds more than [[model]] tables", "mend or remove the file")
    return tuple(_RowParser(path, row).parse() for row in rows)


class _RowParser:
    """Reads one row; `_wrong` words what is the matter with it."""

    def __init__(self, path: Path, table: Any) -> None:
        self.path = path
        self.table = table if isinstance(table, dict) else {}
        self.name = str(self.table.get("name", "(a row without a name)"))

    def parse(self) -> ModelRow:
        self._check_fields(self.table, {**dict.fromkeys(TEXTS, str), **OPTIONAL}, "it")
        if missing := [field for field in TEXTS if field not in self.table]:
            raise self._wrong(f"lacks {', '.join(missing)}")
        kind: Kind = self._choice("kind", self.table["kind"], get_args(Kind))
        format_: Format = self._choice("format", self.table["format"], get_args(Format))
        row = ModelRow(
            name=self._checked_name(self.name),
            kind=kind,
            format=format_,
            title=self.table["title"],
            purpose=self.table["purpose"],
            licence=self.table["licence"],
            licence_url=self.table["licence_url"],
            origin=self.path,
            aliases=tuple(self._checked_name(alias) for alias in self.table.get("aliases", [])),
            platforms=self._platforms(),
            memory_bytes=self.table.get("memory_bytes", 0),
            mirrors=tuple(self._mirror(mirror) for mirror in self.table.get("mirrors", [])),
            variants=self._variants(format_),
            embedded=self.table.get("embedded", ""),
            embedded_diffusers=self.table.get("embedded_diffusers", ""),
            unverified=self.table.get("unverified", False),
            vocabulary=self.table.get("vocabulary", ""),
            min_probability=self.table.get("min_probability"),
        )
        for inside in (row.embedded, row.embedded_diffusers):
            if inside and why_unsafe(inside):
                raise self._wrong(f"has an embedded model at {inside!r}")
        self._check_together(row)
        return row

    def _platforms(self) -> tuple[Platform, ...]:
        known = get_args(Platform)
        return tuple(self._choice("platform", name, known) for name in self.table.get("platforms", known))

    def _variants(self, format_: Format) -> tuple[Variant, ...]:
        tables = self.table.get("variant")
        if tables is None:
            names = ("files", "patterns", "folder", "about_bytes")
            tables = [{name: self.table[name] for name in names if name in self.table}]
        elif any(name in self.table for name in ("files", "patterns", "folder", "about_bytes")):
            raise self._wrong("has both variants and files of its own")
        variants = tuple(self._variant(table, format_) for table in tables)
        if len({variant.name for variant in variants}) != len(variants):
            raise self._wrong("has two variants of one name")
        return variants

    def _variant(self, table: Any, format_: Format) -> Variant:
        self._check_fields(table, VARIANT_FIELDS, "a variant")
        if (folder := table.get("folder")) and why_unsafe(folder):
            raise self._wrong(f"has a folder {folder!r}")
        if not all(isinstance(pattern, str) for pattern in table.get("patterns", [])):
            raise self._wrong("has patterns that are no texts")
        return Variant(
            name=self._checked_name(table["name"]) if "name" in table else "",
            files=tuple(self._file(file, format_) for file in table.get("files", [])),
            patterns=tuple(table.get("patterns", [])),
            folder=table.get("folder", ""),
            about_bytes=table.get("about_bytes", 0),
        )

    def _file(self, table: Any, format_: Format) -> FileSpec:
        self._check_fields(table, FILE_FIELDS, "a file")
        path = str(table.get("path", ""))
        if why_unsafe(path):
            raise self._wrong(f"has a file with the path {path!r}")
        sha256 = table.get("sha256")
        if sha256 is not None and not SHA256.fullmatch(sha256):
            raise self._wrong(f"has a SHA-256 that is none: {sha256!r} (64 small hex digits)")
        if table.get("bytes", 1) < 1:
            raise self._wrong(f"has a file of {table['bytes']} bytes")
        if reason := check_name(path, format_):
            raise self._wrong(f"names {path}, {reason}")
        return FileSpec(path, table.get("bytes"), sha256)

    def _mirror(self, table: Any) -> Mirror:
        self._check_fields(table, MIRROR_FIELDS, "a mirror")
        hub, url = table.get("hub", ""), table.get("url", "")
        if bool(hub) == bool(url):
            raise self._wrong("has a mirror that is not either a hub or a url")
        if hub and not HUB.fullmatch(hub):
            raise self._wrong(f"has a hub that is no owner/name: {hub!r}")
        if url and not url.startswith(("https://", "http://")):
            raise self._wrong(f"has a url that is neither https nor http: {url!r}")
        revision = table.get("revision", "main")
        if not REVISION.fullmatch(revision):
            raise self._wrong(f"has a revision that is none: {revision!r}")
        return Mirror(hub, revision, url)

    def _check_together(self, row: ModelRow) -> None:
        if row.embedded:
            return
        if not row.mirrors:
            raise self._wrong("has no mirrors")
        for variant in row.variants:
            if not variant.files and not variant.patterns:
                raise self._wrong("says of no file what to get: files or patterns")
            if variant.is_archive and (len(variant.files) > 1 or variant.patterns):
                raise self._wrong("has a zip and something else beside it")
            for mirror in row.mirrors:
                self._check_url(mirror.url, variant)

    def _check_url(self, url: str, variant: Variant) -> None:
        if not url:
            return
        if variant.patterns:
            raise self._wrong(f"has patterns, which only a hub can answer, and the url {url}")
        if not url.endswith("/") and len(variant.files) > 1:
            raise self._wrong(f"has several files and a url that is no folder (no / at its end): {url}")
        is_open = url.startswith("http://") and not LOOPBACK.match(url)
        if is_open and any(file.sha256 is None for file in variant.files):
            raise self._wrong(f"has an http url, which anyone on the way can change, and no sha256: {url}")

    def _checked_name(self, name: Any) -> str:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise self._wrong(f"has the name {name!r}: small letters, digits, dots and hyphens only")
        return name

    def _choice(self, what: str, value: Any, choices: tuple[Any, ...]) -> Any:
        if value not in choices:
            raise self._wrong(f"is of unknown {what} {value!r} (known: {', '.join(choices)})")
        return value

    def _check_fields(self, table: Any, known: Mapping[str, type], what: str) -> None:
        if not isinstance(table, dict):
            raise self._wrong(f"has {what} that is no table")
        for field, value in table.items():
            if field not in known:
                raise self._wrong(
                    f"has unknown fields: {field}" if what == "it" else f"has {what} with {field}"
                )
            kinds = (int, float) if known[field] is float else (known[field],)
            if not isinstance(value, kinds) or isinstance(value, bool) != (known[field] is bool):
                raise self._wrong(f"has a {field} that is no {known[field].__name__}: {value!r}")

    def _wrong(self, what: str) -> UsageError:
        return UsageError(f"{self.path}: the model {self.name} {what}", "mend that row")
