from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from audio2img.diffusion.tokenizer import CONTEXT_LENGTH, END_MARK, START_MARK, ClipTokenizer
from audio2img.errors import ModelError

MERGES = [("r", "e"), ("re", "d</w>"), ("m", "o"), ("mo", "o"), ("moo", "n</w>"), ("d", "o"), ("do", "n</w>")]


def byte_letters() -> list[str]:
    """The 256 letters that byte-level encoding writes bytes with (GPT-2's `bytes_to_unicode`)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + n) for n in range(len(others))]


def small_vocabulary() -> dict[str, int]:
    """Every byte, alone and at a word's end, a few merges, the two marks: CLIP's own order."""
    letters = byte_letters()
    made = [first + second for first, second in MERGES]
    return {
        t: i for i, t in enumerate([*letters, *(f"{c}</w>" for c in letters), *made, START_MARK, END_MARK])
    }


@functools.cache
def small_tokenizer() -> ClipTokenizer:
    return ClipTokenizer(small_vocabulary(), MERGES)


@pytest.fixture
def tokenizer() -> ClipTokenizer:
    return small_tokenizer()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vocab.json").write_text(json.dumps(small_vocabulary()), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in MERGES)]
    (tmp_path / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def spell(tokenizer: ClipTokenizer, text: str) -> list[str]:
    """The tokens of `text` by name, without the end mark and padding after it."""
    names = {number: token for token, number in small_vocabulary().items()}
    tokens = tokenizer.encode(text)
    return [names[number] for number in tokens.ids[1 : 1 + tokens.n_tokens].tolist()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t\u3000", []),
        ("red moon", ["red</w>", "moon</w>"]),
        ("  RED\n\n Moon ", ["red</w>", "moon</w>"]),
        ("redo", ["re", "d", "o</w>"]),
        ("don't", ["don</w>", "'", "t</w>"]),
        ("red,moon!!", ["red</w>", ",</w>", "moon</w>", "!", "!</w>"]),
        ("42", ["4</w>", "2</w>"]),
        ("e\u0301", ["Ã", "©</w>"]),  # composed first: é is C3 A9
        ("red<|endoftext|>moon", ["red</w>", END_MARK, "moon</w>"]),
    ],
)
def test_pieces(tokenizer: ClipTokenizer, text: str, expected: list[str]) -> None:
    assert spell(tokenizer, text) == expected


def test_row_is_marks_text_and_padding(tokenizer: ClipTokenizer) -> None:
    vocabulary = small_vocabulary()
    tokens = tokenizer.encode("red moon")
    assert tokens.ids.shape == (CONTEXT_LENGTH,)
    assert tokens.ids.dtype == np.int32
    start, red, moon, *rest = tokens.ids.tolist()
    assert (start, red, moon) == (vocabulary[START_MARK], vocabulary["red</w>"], vocabulary["moon</w>"])
    assert set(rest) == {vocabulary[END_MARK]}
    assert (tokens.kept, tokens.dropped) == ("red moon", "")


def test_real_clip_ids(shared_data: Path, tmp_path: Path) -> None:
    # transformers.CLIPTokenizer.from_pretrained(folder)("A red house, don't you see?").input_ids
    expected = [49406, 320, 736, 1212, 267, 847, 713, 592, 862, 286, 49407]
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes((shared_data / f"clip-{name}").read_bytes())
    tokens = ClipTokenizer.from_folder(tmp_path).encode("A red house, don't you see?")
    assert tokens.ids[: len(expected)].tolist() == expected


@pytest.mark.parametrize(
    ("text", "kept", "dropped"),
    [
        ("red " * 75, "red " * 75, ""),
        ("red " * 75 + "moon", ("red " * 75).strip(), "moon"),
        ("red " * 74 + "Redo  the\nMoon! ", ("red " * 74).strip(), "Redo  the\nMoon!"),
        ("red " * 74 + "moon.", ("red " * 74) + "moon", "."),
        ("red " * 74 + "don't stop", ("red " * 74).strip(), "don't stop"),
        ("x" * 80, "x" * 75, "x" * 5),
        ("\u6708" * 30, "\u6708" * 25, "\u6708" * 5),  # three bytes each, no spaces to cut at
        ("red " * 75 + "\n \t", "red " * 75 + "\n \t", ""),
    ],
    ids=[
        "fits",
        "one over",
        "word in part",
        "point after a word",
        "contraction",
        "long word",
        "han",
        "space",
    ],
)
def test_what_does_not_fit_is_handed_back(
    tokenizer: ClipTokenizer, text: str, kept: str, dropped: str
) -> None:
    tokens = tokenizer.encode(text)
    assert (tokens.kept, tokens.dropped) == (kept, dropped)


@given(
    st.one_of(st.text(), st.text("redmon '!\u6708e\u0301\U0001f319 ", min_size=60), st.text(st.characters()))
)
@example("\ud800 lone surrogate")
@example("\u6708\u0301" * 60)
@settings(max_examples=300, deadline=None)
def test_any_text_is_encoded_and_nothing_is_lost(text: str) -> None:
    tokenizer = small_tokenizer()
    tokens = tokenizer.encode(text)
    assert tokens.ids.shape == (CONTEXT_LENGTH,)
    assert text.startswith(tokens.kept)
    assert text.rstrip().endswith(tokens.dropped)
    assert "".join((tokens.kept + tokens.dropped).split()) == "".join(text.split())
    if tokens.n_tokens > CONTEXT_LENGTH - 2:
        assert tokens.kept
        assert tokenizer.encode(tokens.kept).dropped == ""


def test_any_context_length(folder: Path) -> None:
    tokens = ClipTokenizer.from_folder(folder, context_length=5).encode("red moon red red")
    assert tokens.ids.shape == (5,)
    assert tokens.dropped == "red"


@pytest.mark.parametrize(
    ("settings_file", "content", "pad"),
    [
        (None, {}, END_MARK),
        ("special_tokens_map.json", {"pad_token": "!"}, "!"),
        ("tokenizer_config.json", {"pad_token": "!"}, "!"),
        ("tokenizer_config.json", {"pad_token": {"content": "!", "lstrip": False}}, "!"),
        ("tokenizer_config.json", {"pad_token": None}, END_MARK),
    ],
)
def test_padding_is_what_the_folder_says(
    folder: Path, settings_file: str | None, content: dict[str, object], pad: str
) -> None:
    if settings_file:
        (folder / settings_file).write_text(json.dumps(content))
    assert ClipTokenizer.from_folder(folder).encode("red").ids[-1] == small_vocabulary()[pad]


def test_padding_can_be_given(folder: Path) -> None:
    tokens = ClipTokenizer.from_folder(folder, pad_token="!").encode("red")
    vocabulary = small_vocabulary()
    assert tokens.ids[1:4].tolist() == [vocabulary["red</w>"], vocabulary[END_MARK], vocabulary["!"]]


def cut_merges_in_a_line(folder: Path) -> None:
    text = (folder / "merges.txt").read_text(encoding="utf-8")
    (folder / "merges.txt").write_text(text[:-9], encoding="utf-8")


def cut_merges_after_a_line(folder: Path) -> None:
    lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    (folder / "merges.txt").write_text("\n".join(lines[:4]) + "\n", encoding="utf-8")


def edit_vocabulary(edit: Callable[[dict[str, int]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        vocabulary = small_vocabulary()
        edit(vocabulary)
        (folder / "vocab.json").write_text(json.dumps(vocabulary))

    return damage


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: (f / "vocab.json").unlink(), "vocab.json"),
        (lambda f: (f / "merges.txt").unlink(), "merges.txt"),
        (lambda f: (f / "vocab.json").write_bytes(b""), "JSON"),
        (lambda f: (f / "vocab.json").write_text('{"a": 0'), "JSON"),
        (lambda f: (f / "vocab.json").write_text("[1, 2]"), "not a table"),
        (lambda f: (f / "vocab.json").write_text('{"a": "0"}'), "not a table"),
        (lambda f: (f / "vocab.json").write_bytes(b"\xff\xfe{}"), "UTF-8"),
        (lambda f: (f / "merges.txt").write_bytes(b"r e\na b c\n"), "line 2"),
        (lambda f: (f / "merges.txt").write_bytes(b""), "cut short"),
        (cut_merges_in_a_line, "line|match|cut short"),
        (cut_merges_after_a_line, "cut short"),
        (edit_vocabulary(lambda v: v.pop(END_MARK)), "lacks"),
        (edit_vocabulary(lambda v: v.pop("moo")), "number"),
        (
            edit_vocabulary(lambda v: v.update({END_MARK: v["moo"], "moo": v[END_MARK]}) or v.pop("moo")),
            "match",
        ),
        (lambda f: (f / "tokenizer_config.json").write_text("{"), "JSON"),
        (lambda f: (f / "special_tokens_map.json").write_text('{"pad_token": "<pad>"}'), "<pad>"),
    ],
)
def test_damaged_files_are_named(folder: Path, damage: Callable[[Path], None], says: str) -> None:
    damage(folder)
    with pytest.raises(ModelError, match=says) as caught:
        ClipTokenizer.from_folder(folder)
    assert caught.value.remedy


def test_importing_brings_nothing_heavy() -> None:
    code = "import sys, audio2img.diffusion.tokenizer; sys.exit('tokenizers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
