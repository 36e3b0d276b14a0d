"""The text half of the mini Stable Diffusion: a CLIP tokenizer of its own, and a CLIPTextModel.

The encoder first learns to tell what a sentence says (thing, colour, size, relation, setting), which takes
a minute; only then it learns on, together with the UNet.
"""

from __future__ import annotations

import collections
import itertools
import json
import random
import string
from pathlib import Path

import torch
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from audio2img.prompt.mini_world import (
    COLOURS,
    RELATIONS,
    SETTINGS,
    SIZES,
    THINGS,
    Scene,
    spoken_words,
    write_sentence,
)
from scripts.mini.pictures_common import (
    Budget,
    Clock,
    Optimizers,
    cosine,
    save_checkpoint,
    say,
    trained_scene,
)

MAX_TOKENS = 77
START, END = "<|startoftext|>", "<|endoftext|>"
WIDTH = 128
MORE_WORDS = ("grey", "drawing", "it", "is", "there", "with", "please", "my", "and")


def bytes_to_characters() -> dict[int, str]:
    """The printable stand-in of every byte in CLIP's (and GPT-2's) vocabulary files."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    table = {byte: chr(byte) for byte in printable}
    for byte in range(256):
        if byte not in table:
            table[byte] = chr(256 + len(table) - len(printable))
    return dict(sorted(table.items(), key=lambda pair: (pair[0] not in printable, pair[0])))


def learn_merges(words: list[str]) -> list[tuple[str, str]]:
    """Byte-pair merges, most frequent pair first, until every word is one token."""
    pieces = {word: [*word[:-1], word[-1] + "</w>"] for word in words}
    merges: list[tuple[str, str]] = []
    while True:
        pairs = collections.Counter(pair for split in pieces.values() for pair in itertools.pairwise(split))
        if not pairs:
            return merges
        left, right = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append((left, right))
        for word, split in pieces.items():
            pieces[word] = _merged(split, left, right)


def _merged(split: list[str], left: str, right: str) -> list[str]:
    merged: list[str] = []
    for piece in split:
        if piece == right and merged and merged[-1] == left:
            merged[-1] = left + right
        else:
            merged.append(piece)
    return merged


def write_tokenizer(folder: Path) -> None:
    """Writes CLIP's files; tokens: 256 bytes, 256 bytes that end a word, merges, start and end marks."""
    words = sorted({*spoken_words(), *MORE_WORDS})
    merges = learn_merges(words)
    characters = list(bytes_to_characters().values())
    pieces = [*characters, *(c + "</w>" for c in characters), *(a + b for a, b in merges), START, END]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False) + "\n", encoding="utf-8")
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    special = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    config = {
        **special, "add_prefix_space": False, "do_lower_case": True, "errors": "replace",
        "model_max_length": MAX_TOKENS, "tokenizer_class": "CLIPTokenizer",
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n", encoding="utf-8")


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """From the folder, not from the two files: transformers 5 reads only a folder right."""
    return CLIPTokenizer.from_pretrained(folder)


def encode_captions(tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    """Token ids (n, 77) int64: start, words, then end marks to the last position."""
    encoded = tokenizer(
        captions, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
    )
    ids: torch.Tensor = encoded.input_ids
    return ids


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A fresh CLIPTextModel of two layers."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=3 * WIDTH, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=MAX_TOKENS, projection_dim=WIDTH, hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, attn_implementation="eager",
    )  # fmt: skip
    return CLIPTextModel(config)


def write_caption(scene: Scene, rng: random.Random) -> str:
    """One of the ways to say a scene; now and then with an unknown word, to learn to overlook those."""
    caption = write_sentence(scene, rng if rng.random() < 0.6 else None)
    if rng.random() < 0.04:
        words = caption.split()
        unknown = "".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randint(2, 7)))
        words.insert(rng.randint(0, len(words)), unknown)
        caption = " ".join(words)
    return caption


def _choices() -> list[int]:
    item = [len(THINGS), len(COLOURS) + 1, len(SIZES) + 1]
    return [*item, len(THINGS) + 1, *item[1:], len(RELATIONS) + 1, len(SETTINGS) + 1]


def scene_slots(scene: Scene) -> list[int]:
    """The scene as numbers: thing, colour, size of the first and of the second item, relation, setting."""
    first, second = scene.items[0], scene.items[1] if len(scene.items) == 2 else None

    def place(value: str | None, known: tuple[str, ...]) -> int:
        return known.index(value) + 1 if value else 0

    slots = [THINGS.index(first.thing), place(first.colour, COLOURS), place(first.size, SIZES)]
    slots += [place(second.thing if second else None, THINGS)]
    slots += [
        place(second.colour if second else None, COLOURS),
        place(second.size if second else None, SIZES),
    ]
    return [*slots, place(scene.relation, RELATIONS), place(scene.setting, SETTINGS)]


def pretrain_text(
    tokenizer: CLIPTokenizer, work: Path, budget: Budget, device: torch.device, seed: int = 31
) -> None:
    """Writes `work/text.pt`: an encoder from whose padded positions the scene can be read off linearly."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    text = build_text_encoder(tokenizer).to(device)
    heads = nn.ModuleList(nn.Linear(WIDTH, n) for n in _choices()).to(device)
    both = nn.ModuleDict({"text": text, "heads": heads})
    optimizers = Optimizers(both, 2e-3, lambda name: "embedding" in name or "heads" in name)
    clock, step = Clock(budget), 0
    while clock.part < 1:
        optimizers.set_factor(min(1, (step + 1) / 20) * cosine(clock.part))
        scenes = [trained_scene(rng, 0.5) for _ in range(64)]
        ids = encode_captions(tokenizer, [write_caption(scene, rng) for scene in scenes]).to(device)
        states = text(ids)[0]
        slots = torch.tensor([scene_slots(scene) for scene in scenes], device=device)
        seen = states[:, [24, 48, 76]]  # sentences end before 24; all padded positions should know the scene
        loss = torch.stack([
            nn.functional.cross_entropy(head(seen).flatten(0, 1), slots[:, i].repeat_interleave(3))
            for i, head in enumerate(heads)
        ]).mean()  # fmt: skip
        optimizers.zero_grad()
        loss.backward()
        optimizers.step()
        step += 1
        if step % 50 == 0:
            right = torch.stack(
                [head(states[:, -1]).argmax(-1) == slots[:, i] for i, head in enumerate(heads)]
            )
            share = right.float().mean().item()
            say(f"text {clock.spent_s:4.0f} s step {step} loss {loss.item():.4f} right {share:.3f}")
    save_checkpoint(work / "text.pt", {"text": text.state_dict()})
