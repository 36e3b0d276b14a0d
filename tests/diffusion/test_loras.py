"""LoRA files as a person names them, and as a picture remembers them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio2img.diffusion.loras import check_same, parse_lora
from audio2img.errors import InputError, ModelError, UsageError
from audio2img.types import LoraUse


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    path = tmp_path / "my style.safetensors"
    path.write_bytes(b"numbers")
    return path


@pytest.mark.parametrize(
    ("ending", "weight"),
    [("", 1.0), (":0.8", 0.8), (":-1", -1.0), (":.5", 0.5), (":2.", 2.0), (":+0", 0.0)],
)
def test_path_and_weight(lora: Path, ending: str, weight: float) -> None:
    parsed = parse_lora(f"{lora}{ending}")
    assert (parsed.path, parsed.weight) == (lora, weight)
    assert parsed.as_recorded() == LoraUse(lora.name, hashlib_of(lora), weight)


def hashlib_of(path: Path) -> str:
    from audio2img.diffusion.hashing import hash_files

    assert len(hash_files(path)) == len(hashlib.sha256().hexdigest())
    return hash_files(path)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (r"C:\styles\x.safetensors", r"C:\styles\x.safetensors"),
        (r"C:\styles\x.safetensors:0.8", r"C:\styles\x.safetensors"),
        ("a:b.safetensors", "a:b.safetensors"),
    ],
)
def test_a_drive_is_no_weight(text: str, name: str) -> None:
    with pytest.raises(ModelError) as caught:
        parse_lora(text)
    assert caught.value.message == f"there is no LoRA file {name}"


def test_what_is_refused(lora: Path) -> None:
    with pytest.raises(ModelError, match="can run any program"):
        parse_lora("style.pt")
    with pytest.raises(ModelError, match="no safetensors file"):
        parse_lora(f"{lora}:strong")
    with pytest.raises(UsageError, match="the weight 11"):
        parse_lora(f"{lora}:11")


@given(st.text(max_size=30))
def test_any_text_is_a_file_or_an_error_for_people(text: str) -> None:
    with pytest.raises((ModelError, UsageError)):
        parse_lora(f"/nowhere/{text}.safetensors")


def test_a_picture_is_drawn_again_with_the_same_files_only() -> None:
    one, two = LoraUse("a.safetensors", "1" * 64, 0.5), LoraUse("b.safetensors", "2" * 64)
    check_same((), ())
    check_same((one, two), (one, two))
    check_same((one,), (LoraUse("renamed.safetensors", "1" * 64, 0.5),))
    with pytest.raises(InputError, match="drawn with the LoRA b") as caught:
        check_same((one, two), (one,))
    assert caught.value.remedy == "give the same file: `loras=b.safetensors:1`"
    with pytest.raises(InputError, match="is not the LoRA that"):
        check_same((one,), (LoraUse("a.safetensors", "3" * 64, 0.5),))
    with pytest.raises(InputError, match="other LoRA files or weights"):
        check_same((one,), (LoraUse("a.safetensors", "1" * 64, 0.6),))
    with pytest.raises(InputError) as caught:
        check_same((), (one,))
    assert caught.value.remedy == "give exactly: none"
