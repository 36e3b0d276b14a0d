"""CLIP's tokenizer: from a prompt to the 77 numbers that the text encoder reads.

Byte-level byte-pair encoding as published with CLIP (github.com/openai/CLIP, simple_tokenizer.py),
run by the `tokenizers` library and built as transformers' CLIPTokenizer builds it, so that both
give the same ids. What does not fit into the window is never cut in silence: it is handed back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audio2img.errors import ModelError
from audio2img.files import read_bounded
from audio2img.foreign_json import parse_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CONTEXT_LENGTH = 77  # positions of CLIP's text encoder, the two marks included
START_MARK = "<|startoftext|>"
END_MARK = "<|endoftext|>"  # also stands for what the vocabulary cannot spell
END_OF_WORD = "</w>"

# Marks, English contractions, runs of letters, single digits, runs of anything else that is not space.
_PIECES = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
# Unicode's White_Space, which is what the pieces above leave out; Python's \s has four controls more.
_SPACE = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_WORD_UP_TO_HERE = re.compile(f"[^{_SPACE}]*\\Z")
_REST_OF_WORD = re.compile(f"[^{_SPACE}]*")
# Thai, Lao, Myanmar, Khmer, kana, Han: written without spaces, so a cut may fall between any two.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]"
)
_LONE_SURROGATES = re.compile("[\ud800-\udfff]")
_MAX_BYTES = 1 << 26  # of a vocabulary; CLIP's has less than 1 MB
_REMEDY = "get the model again; its files are damaged or incomplete"


@dataclass(frozen=True, eq=False)
class Tokens:
    """A prompt as the text encoder reads it.

    ids: (context length,) int32: start mark, text, end mark, padding.
    n_tokens: how many positions the whole text would need, without the two marks.
    kept, dropped: the prompt cut in two at the space before the first word that does not wholly
        fit ("" when all of it fits). Scripts without spaces, a single overlong word, and the
        punctuation after a word that fits are cut at the first character that does not fit.
    starts: the character of the text at which each token within the window begins.
    weights: (context length,) float32, of prompts with weights (see prompt_weights); None for others.
    """

    ids: NDArray[np.int32]
    n_tokens: int
    kept: str
    dropped: str
    starts: tuple[int, ...] = ()
    weights: NDArray[np.float32] | None = None


class ClipTokenizer:
    """A vocabulary with its merges, ready to encode prompts; safe to share between threads."""

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        merges: Sequence[tuple[str, str]],
        pad_token: str = END_MARK,
        context_length: int = CONTEXT_LENGTH,
    ) -> None:
        """vocabulary: token to id; merges: pairs, most important first.

        pad_token: END_MARK for CLIP ViT-L (Stable Diffusion 1.x), "!" for OpenCLIP (2.x).
        Raises ModelError when these do not make a tokenizer.
        """
        _check_vocabulary(vocabulary, merges, pad_token)
        self._tokenizer = _build_tokenizer(vocabulary, merges, pad_token)
        self._start, self._end = vocabulary[START_MARK], vocabulary[END_MARK]
        self._pad = vocabulary[pad_token]
        self.context_length = context_length

    @classmethod
    def from_folder(
        cls, path: str | Path, pad_token: str | None = None, context_length: int = CONTEXT_LENGTH
    ) -> ClipTokenizer:
        """The tokenizer in a folder with `vocab.json` and `merges.txt` (diffusers' and Apple's layouts),
        or with the `tokenizer.json` that transformers 5 writes instead.

        pad_token: None takes it from `special_tokens_map.json` or `tokenizer_config.json` beside
        them, as transformers does, and END_MARK where neither says.
        Raises ModelError when a file is missing or damaged.
        """
        folder = Path(path)
        if (folder / "tokenizer.json").is_file() and not (folder / "vocab.json").is_file():
            vocabulary, merges = _read_both(folder / "tokenizer.json")
        else:
            vocabulary = _read_json_object(folder / "vocab.json")
            merges = _read_merges(folder / "merges.txt")
        return cls(vocabulary, merges, pad_token or find_pad_token(folder), context_length)

    def encode(self, text: str) -> Tokens:
        """`text` as ids, with what did not fit. Any string is accepted."""
        room = self.context_length - 2
        ids, offsets = self._encode_all(text)
        row = np.full(self.context_length, self._pad, dtype=np.int32)
        used = ids[:room]
        row[: len(used) + 2] = [self._start, *used, self._end]
        if len(ids) <= room:
            return Tokens(row, len(ids), text, "", tuple(offsets))
        cut = _find_cut(text, offsets[room])
        while cut and len(self._encode_all(text[:cut])[0]) > room:
            cut -= 1  # a word cut short can spell differently, and longer
        return Tokens(row, len(ids), text[:cut].rstrip(), text[cut:].strip(), tuple(offsets[:room]))

    def _encode_all(self, text: str) -> tuple[list[int], list[int]]:
        """(ids, the character of `text` where each begins) of the whole text, without marks."""
        # Lone surrogates cannot be passed on as UTF-8; one for one, so that the offsets stay true.
        encoding = self._tokenizer.encode(_LONE_SURROGATES.sub("\ufffd", text), add_special_tokens=False)
        return encoding.ids, [start for start, _ in encoding.offsets]


def _find_cut(text: str, overflow: int) -> int:
    """Where to cut `text`, whose character `overflow` is the first not to fit: mostly before its word."""
    word_start = overflow - len(_last(_WORD_UP_TO_HERE, text[:overflow]))
    rest = _last(_REST_OF_WORD, text[overflow:])
    only_punctuation_left = not any(character.isalnum() for character in rest)
    if only_punctuation_left or _UNSPACED.match(text, overflow) or not text[:word_start].strip():
        return overflow
    return word_start


def _last(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found.group() if found else ""


def _build_tokenizer(
    vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]], pad_token: str
) -> Tokenizer:
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

    try:
        model = models.BPE(
            vocab=dict(vocabulary),
            merges=list(merges),
            continuing_subword_prefix="",
            end_of_word_suffix=END_OF_WORD,
            fuse_unk=False,
            unk_token=END_MARK,
        )
    except Exception as error:  # the library raises bare Exception
        raise ModelError(
            f"the tokenizer's vocab.json and merges.txt do not match: {error}", _REMEDY
        ) from error
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    # Inside a prompt these stand for themselves; so does the padding, "!" in OpenCLIP's case.
    marks = dict.fromkeys((START_MARK, END_MARK, pad_token))
    tokenizer.add_special_tokens([AddedToken(mark, normalized=False, special=True) for mark in marks])
    return tokenizer


def _check_vocabulary(
    vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]], pad_token: str
) -> None:
    """Find what a damaged or half-downloaded pair of files shows. Raises ModelError."""
    for mark in (START_MARK, END_MARK, pad_token):
        if mark not in vocabulary:
            raise ModelError(f"the tokenizer's vocab.json lacks {mark!r}", _REMEDY)
    ids = sorted(vocabulary.values())
    if ids != list(range(len(ids))):
        raise ModelError("the tokenizer's vocab.json does not number its tokens 0, 1, 2, ...", _REMEDY)
    made = {first + second for first, second in merges}
    letters = {token for token in vocabulary if len(token.removesuffix(END_OF_WORD)) <= 1}
    orphans = vocabulary.keys() - made - letters - {START_MARK, END_MARK, pad_token}
    if orphans:
        raise ModelError(
            "the tokenizer's merges.txt is cut short, or another vocabulary's:"
            f" it makes {len(orphans)} tokens less than it should, {min(orphans)!r} among them",
            _REMEDY,
        )


def _read_json_object(path: Path) -> dict[str, int]:
    """vocab.json: token to id."""
    try:
        values = parse_json(_read_text(path))
    except ValueError as error:
        raise ModelError(f"{path} is damaged: {error}", _REMEDY) from error
    if not isinstance(values, dict) or not all(type(number) is int for number in values.values()):
        raise ModelError(f"{path} is not a table of tokens and their numbers", _REMEDY)
    return values


def _read_merges(path: Path) -> list[tuple[str, str]]:
    """merges.txt: a comment line with the version, then one pair a line."""
    merges: list[tuple[str, str]] = []
    # Only \n ends a line: some of CLIP's letters are what str.splitlines takes for line ends.
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        line = line.removesuffix("\r")
        if not line or line.startswith("#version"):
            continue
        parts = line.split(" ")
        if len(parts) != 2 or not all(parts):
            raise ModelError(f"{path}, line {number}, is not a pair of tokens: {line[:40]!r}", _REMEDY)
        merges.append((parts[0], parts[1]))
    return merges


def _read_both(path: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """tokenizer.json: the vocabulary and the merges, which are pairs or texts with a space between."""
    try:
        model = parse_json(_read_text(path))["model"]
        merges = [tuple(pair.split(" ") if isinstance(pair, str) else pair) for pair in model["merges"]]
        vocabulary = {str(token): int(number) for token, number in model["vocab"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} is not a tokenizer that can be read: {error}", _REMEDY) from error
    if not all(len(pair) == 2 for pair in merges):
        raise ModelError(f"{path} has merges that are not pairs", _REMEDY)
    return vocabulary, [(str(one), str(other)) for one, other in merges]


def find_pad_token(folder: Path) -> str:
    """The token that fills the window, as the files beside a tokenizer say; END_MARK if they do not.

    Raises ModelError if they are damaged.
    """
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if not (folder / name).is_file():
            continue
        try:
            settings: Any = parse_json(_read_text(folder / name))
        except ValueError as error:
            raise ModelError(f"{folder / name} is damaged: {error}", _REMEDY) from error
        token = settings.get("pad_token") if isinstance(settings, dict) else None
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str) and token:
            return token
    return END_MARK


def _read_text(path: Path) -> str:
    try:
        return read_bounded(path, _MAX_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ModelError(f"cannot read {path}: {reason}", _REMEDY) from error
