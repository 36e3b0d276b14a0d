"""What prune takes away of torch's."""

from __future__ import annotations

from pathlib import Path

from audio2img.backends.torch.caches import cached_bytes, compiled_dir, prune_caches, skeletons_dir


def test_both_folders_go_and_nothing_else(private_home: Path) -> None:
    assert (cached_bytes(), prune_caches()) == (0, 0)
    for folder in (compiled_dir() / "fx", skeletons_dir() / "abc"):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"12345")
    beside = compiled_dir().parent / "other"
    beside.write_text("stays")
    assert cached_bytes() == 10
    assert prune_caches() == 10
    assert not compiled_dir().exists()
    assert not skeletons_dir().exists()
    assert beside.exists()
