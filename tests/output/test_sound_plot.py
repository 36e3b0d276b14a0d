from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from audio2img.errors import MachineError
from audio2img.output.sound_plot import make_grid, write_sound_plot
from audio2img.types import SoundCategory, SoundEvents, SoundSummary


def sounds_of(n_windows):
    """A dog in the first half, rain throughout, of the three classes that the model knows."""
    dog = (np.arange(n_windows) < n_windows // 2).astype(np.float32) * 0.9
    rain = np.full(n_windows, 0.5, np.float32)
    dog_leads = dog > rain
    classes = np.where(dog_leads[:, None], [[0, 2]], [[2, 0]]).astype(np.uint16)
    scores = np.where(dog_leads[:, None], np.stack([dog, rain], 1), np.stack([rain, dog], 1))
    categories = (SoundCategory("Rain", 0.5, 0.5, 0.5), SoundCategory("Dog $x$", 0.5, 0.45, 0.9))
    summary = SoundSummary("test", 0.4875 * (n_windows + 1), n_windows, categories, ())
    starts_s = np.arange(n_windows) * 0.4875
    return SoundEvents(("Dog $x$", "Cat", "Rain"), starts_s, 0.975, classes, scores, summary)


@pytest.mark.parametrize("n_windows", [1, 20, 5000])
def test_the_plot_is_a_png(tmp_path, n_windows):
    path = write_sound_plot(
        sounds_of(n_windows), np.zeros((257, 40), np.float32), 0.1, "a $b_$.wav", tmp_path / "p"
    )
    assert path == tmp_path / "p.png"
    with Image.open(path) as picture:
        assert picture.width == 1200
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 20


def test_an_earlier_plot_is_kept(tmp_path):
    paths = {
        write_sound_plot(sounds_of(3), np.zeros((257, 0), np.float32), 0.1, "x", tmp_path / "p.png")
        for _ in range(2)
    }
    assert len(paths) == 2


def test_the_rows_show_what_was_heard_when():
    grid = make_grid(sounds_of(5000), ["Rain", "Dog $x$"], 1000)
    assert (grid[0] == 0.5).all()
    assert grid[1, :500] == pytest.approx(0.9)
    assert (grid[1, 500:] == 0).all()


def test_without_matplotlib_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MachineError, match=r"matplotlib"):
        write_sound_plot(sounds_of(3), np.zeros((257, 4), np.float32), 0.1, "x", tmp_path / "p.png")
