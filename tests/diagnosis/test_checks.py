"""How checks become a table, and which of them fail the whole."""

from __future__ import annotations

from pathlib import Path

from audio2img.diagnosis.checks import Check, as_markdown, failures


def test_only_a_needed_check_fails_the_whole() -> None:
    checks = [
        Check("a", "fail", "", is_needed=True),
        Check("b", "fail", ""),
        Check("c", "note", "", is_needed=True),
        Check("d", "skip", "", is_needed=True),
    ]
    assert failures(checks) == ["a"]


def test_the_table_is_markdown_that_nothing_in_it_breaks() -> None:
    table = as_markdown(
        [
            Check("one", "ok", "a|b\nc <d>", "not shown where all is well"),
            Check("two", "fail", f"in {Path.home() / 'x'}", "run: this"),
        ]
    )
    assert table.splitlines() == [
        "| check | result | found |",
        "| --- | --- | --- |",
        "| one | ok | a\\|b c &lt;d> |",
        "| two | **fail** | in ~/x — run: this |",
    ]


def test_figures_are_plain_values_in_json() -> None:
    table = Check("one", "ok", "fine", figures={"picture_db": 50.5}).as_table()
    assert table == {
        "name": "one", "state": "ok", "detail": "fine", "remedy": "",
        "figures": {"picture_db": 50.5}, "is_needed": False,
    }  # fmt: skip
