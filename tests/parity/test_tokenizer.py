"""Our CLIP tokenizer against transformers', on a thousand odd strings and three vocabularies."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio2img.diffusion.tokenizer import ClipTokenizer

transformers = pytest.importorskip("transformers")

ODDITIES = [
    "", " ", "\n\t  \r\n", "a", "!", "!!", "?!...", "'", "''", "don't",
    "I'LL WE'VE they're 's 'd 'm x't", "’s it’s", "<|endoftext|>", "a<|startoftext|>b<|endoftext|>c",
    "<|ENDOFTEXT|>", "<|endoftext", "</w>", "a</w> b</w>", "Ünïcödé Ålesund",
    "e\u0301 \u0065\u0301\u0323", "\u1e9e ß ẞ", "İstanbul ıI", "ﬁne ﬂow", "ΑΒΓ ΣΊΣΥΦΟΣ", "ДОМ дом",
    "红色的房子", "赤い家と黄色い月", "빨간 집", "บ้านสีแดง", "بيت أحمر", "בית אדום", "क्षत्रिय नमस्ते",
    "🏠🌙", "👩‍👩‍👧‍👦 family", "🇳🇴🇯🇵", "1234567890", "3.14159e-10", "½ ² Ⅷ ٣", "a_b__c",
    "snake_case camelCase", "http://example.org/?q=a&b=c", "\x00\x01\x02", "tab\tnew\nline\rcr",
    "\x1c\x1d\x1e\x1f", "\x85\xa0\u1680\u2003\u2028\u2029\u3000", "\u200b\u200d\ufeff", "\ufffd",
    "\U0010ffff", "\ue000", "a" * 500, "ab " * 200, "!" * 300, "🏠" * 100,
    "supercalifragilisticexpialidocious", "antidisestablishmentarianism" * 5, "\u0301",
    "x\u0301\u0302\u0303\u0304", "Ａ Ｂ ｃ", "&amp; &lt;b&gt;", "“quoted” – dash—",
    "A red house. A YELLOW moon!", "C++ and C#", "$100,000.00 €5", "@user #tag", "no\u00adbreak",
    "ǅ ǆ Ǆ", "ﷺ", "a\u2060b",
]  # fmt: skip
PIECES = [
    "red", "House", "MOON", "  ", "\n", "'s", "'LL", "!", "...", "-", "_", "7", "42", "é", "e\u0301",
    "ß", "İ", "日", "本語", "집", "🏠", "👨‍🚀", "\u200d", "\x07", "\u00a0", "\u2028", "<|endoftext|>",
    "</w>", "ツ", "ж", "Σ", "ﬃ", "\u0327", "q" * 30, "(", ")", "\\", '"', "%",
]  # fmt: skip


def odd_strings(count: int) -> list[str]:
    """The table above, then strings put together at random: from its pieces, and from any code points."""
    rng = random.Random(20)
    strings = list(ODDITIES)
    while len(strings) < count:
        length = rng.choice([1, 2, 3, 5, 8, 20, 90])
        if rng.random() < 0.6:
            strings.append("".join(rng.choice(PIECES) for _ in range(length)))
        else:
            highest = rng.choice([0x7F, 0x24F, 0x3000, 0xFFFF, 0x10FFFF])
            points = (rng.randint(0, highest) for _ in range(length))
            strings.append("".join(chr(point) for point in points if not 0xD800 <= point <= 0xDFFF))
    return strings


def make_folder(folder: Path, shared_data: Path, vocabulary: str, **settings: Any) -> Path:
    """A tokenizer folder as it lies beside a model; `settings` are more JSON files in it."""
    folder.mkdir(exist_ok=True)
    if vocabulary == "clip":
        shutil.copyfile(shared_data / "clip-vocab.json", folder / "vocab.json")
        shutil.copyfile(shared_data / "clip-merges.txt", folder / "merges.txt")
    else:
        merges = [("r", "e"), ("re", "d</w>"), ("m", "o"), ("mo", "o"), ("moo", "n</w>"), ("o", "o")]
        letters = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"
        tokens = [
            *letters,
            *(f"{letter}</w>" for letter in letters),
            *dict.fromkeys(a + b for a, b in merges),
        ]
        marks = ["<|startoftext|>", "<|endoftext|>"]
        (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate([*tokens, *marks])}))
        (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    for name, content in settings.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("vocabulary", "settings"),
    [
        ("clip", {}),
        ("mini", {}),
        (
            "clip",
            {"special_tokens_map": {"pad_token": "!"}, "tokenizer_config": {"pad_token": "<|endoftext|>"}},
        ),
        (
            "clip",
            {
                "tokenizer_config": {
                    "pad_token": {"content": "!", "__type": "AddedToken", "normalized": False}
                }
            },
        ),
        ("mini", {"tokenizer_config": {"pad_token": "!"}}),
    ],
    ids=["clip", "mini", "clip-openclip-padding", "clip-padding-as-object", "mini-padding"],
)
def test_ids_are_those_of_transformers(
    vocabulary: str, settings: dict[str, Any], tmp_path: Path, shared_data: Path
) -> None:
    folder = make_folder(tmp_path / "tokenizer", shared_data, vocabulary, **settings)
    theirs = transformers.CLIPTokenizer.from_pretrained(folder)
    assert len(theirs) == len(json.loads((folder / "vocab.json").read_text(encoding="utf-8")))
    ours = ClipTokenizer.from_folder(folder)
    strings = odd_strings(1000)
    expected = theirs(strings, padding="max_length", max_length=77, truncation=True)["input_ids"]
    untruncated = theirs(strings)["input_ids"]
    for text, ids, everything in zip(strings, expected, untruncated, strict=True):
        tokens = ours.encode(text)
        assert tokens.ids.dtype == np.int32
        assert tokens.ids.tolist() == ids, repr(text)
        assert tokens.n_tokens == len(everything) - 2
        assert (tokens.dropped == "") == (tokens.n_tokens <= 75) or text[len(tokens.kept) :].isspace()


def test_what_is_kept_is_what_transformers_keeps(tmp_path: Path, shared_data: Path) -> None:
    folder = make_folder(tmp_path / "tokenizer", shared_data, "clip")
    theirs = transformers.CLIPTokenizer.from_pretrained(folder)
    ours = ClipTokenizer.from_folder(folder)
    for text in odd_strings(1000):
        assert len(theirs(ours.encode(text).kept)["input_ids"]) <= 77
