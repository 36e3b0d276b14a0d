"""Archives from somewhere else: nothing lands outside, links elsewhere, or fills the disk."""

from __future__ import annotations

import stat
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from audio2img.store.patience import MirrorError
from audio2img.store.unpack import unpack_zip

GOOD = "Unet.mlmodelc/weights/weight.bin"
Fill = Callable[[zipfile.ZipFile], None]


def archive(folder: Path, fill: Fill) -> Path:
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr(GOOD, b"0123456789")
        fill(zipped)
    return path


def named(name: str) -> Fill:
    return lambda zipped: zipped.writestr(name, b"{}")


def link(zipped: zipfile.ZipFile) -> None:
    info = zipfile.ZipInfo("vocab.json")
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    zipped.writestr(info, "/etc/passwd")


def device(zipped: zipfile.ZipFile) -> None:
    info = zipfile.ZipInfo("vocab.json")
    info.external_attr = (stat.S_IFCHR | 0o777) << 16
    zipped.writestr(info, "")


def twice(zipped: zipfile.ZipFile) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zipped.writestr(GOOD, b"another")


def bomb(zipped: zipfile.ZipFile) -> None:
    zipped.writestr("Unet.mlmodelc/big.bin", bytes(100 << 20))


@pytest.mark.parametrize(
    ("fill", "words"),
    [
        (named("../vocab.json"), "leads out"),
        (named("a/../../vocab.json"), "leads out"),
        (named("/etc/vocab.json"), "absolute"),
        (named("C:/vocab.json"), "absolute"),
        (named("a\\..\\vocab.json"), "absolute"),
        (named("a//vocab.json"), "leads out"),
        (named("weights.ckpt"), "pickle"),
        (named("Unet.mlmodelc/weights.pkl"), "pickle"),
        (named(GOOD.upper()), "twice"),
        (twice, "twice"),
        (link, "link"),
        (device, "special file"),
        (bomb, "would unpack to"),
    ],
)
def test_a_hostile_archive_is_refused_before_anything_is_written(
    tmp_path: Path, fill: Fill, words: str
) -> None:
    target = tmp_path / "inside" / "target"
    target.mkdir(parents=True)
    with pytest.raises(MirrorError, match=words):
        unpack_zip(archive(tmp_path, fill), target, "coreml")
    assert list(target.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir() if path.name != "inside"] == ["a.zip"]


def test_what_belongs_to_a_model_is_unpacked_and_the_rest_left(tmp_path: Path) -> None:
    def fill(zipped: zipfile.ZipFile) -> None:
        for name in ("vocab.json", "merges.txt", "README.md", "run.sh", ".DS_Store", "__MACOSX/vocab.json"):
            zipped.writestr(name, b"{}")

    target = tmp_path / "target"
    target.mkdir()
    files = unpack_zip(archive(tmp_path, fill), target, "coreml")
    assert [file.path for file in files] == [GOOD, "vocab.json", "merges.txt"]
    assert (target / GOOD).read_bytes() == b"0123456789"
    assert sum(path.is_file() for path in target.rglob("*")) == 3


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-30], lambda data: data.replace(b"0123", b"0124"), lambda data: bytes(len(data))],
)
def test_a_damaged_archive_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as zipped:
        zipped.writestr(GOOD, b"0123456789" * 100)
    path.write_bytes(damage(path.read_bytes()))
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(MirrorError, match="damaged"):
        unpack_zip(path, target, "coreml")


def test_a_member_that_does_not_inflate_or_lies_too_deep_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    name = "m.mlmodelc/coremldata.bin"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr(name, bytes(range(256)) * 100)
    data = bytearray(path.read_bytes())
    begin = 30 + len(name)
    data[begin : begin + 20] = b"\xff" * 20
    path.write_bytes(bytes(data))
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(MirrorError, match="it is damaged"):
        unpack_zip(path, target, "coreml")
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("m.mlmodelc/" + "x/" * 2000 + "weight.bin", b"1")
    with pytest.raises(MirrorError, match="too long or too deep"):
        unpack_zip(path, target, "coreml")
