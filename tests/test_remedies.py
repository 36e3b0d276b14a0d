"""Every failure that a person can meet says what to do next, wherever it is raised."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from audio2img import errors

# What somebody stopped needs no remedy.
WITH_REMEDY = {
    name
    for name, value in vars(errors).items()
    if isinstance(value, type)
    and issubclass(value, errors.Audio2ImgError)
    and not issubclass(value, errors.CancelledError)
}
MODULES = sorted(Path(str(files("audio2img"))).rglob("*.py"))


def without_remedy(source: str) -> Iterator[str]:
    """The calls of our errors that give none, as LINE: WORDS."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        spread = any(isinstance(one, ast.Starred) for one in node.args)
        given = (
            spread or len(node.args) > 1 or any(keyword.arg in ("remedy", None) for keyword in node.keywords)
        )
        remedy = node.args[1] if len(node.args) > 1 else None
        is_empty = isinstance(remedy, ast.Constant) and not remedy.value
        if node.func.id in WITH_REMEDY and (not given or is_empty):
            yield f"{node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_every_error_has_a_remedy(module: Path) -> None:
    assert not list(without_remedy(module.read_text(encoding="utf-8")))


def test_a_missing_remedy_is_found() -> None:
    source = 'raise ModelError("no")\nraise ModelError("no", "")\nraise ModelError("no", "get it")'
    assert [line.split(":")[0] for line in without_remedy(source)] == ["1", "2"]
