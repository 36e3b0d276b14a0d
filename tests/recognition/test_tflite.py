from __future__ import annotations

import io
import random
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio2img.errors import MachineError, ModelError
from audio2img.recognition.tflite import SoundModel, read_labels

NAMES = [f"class {number}" for number in range(521)]
LOAD = """
import sys
from pathlib import Path
from audio2img.errors import ModelError
from audio2img.recognition.tflite import SoundModel
for path in sys.argv[1:]:
    try:
        SoundModel(Path(path), range(521))
        print("loaded")
    except ModelError:
        print("refused")
"""


def load_in_another_process(*paths):
    done = subprocess.run([sys.executable, "-c", LOAD, *map(str, paths)], capture_output=True, text=True)
    return done.returncode, done.stdout.split(), done.stderr


def test_loading_says_nothing(yamnet_file):
    assert load_in_another_process(yamnet_file) == (0, ["loaded"], "")


def test_scores_are_found_by_their_shape(yamnet_file):
    model = SoundModel(yamnet_file, NAMES)  # its second output is a spectrogram
    assert model.score(np.zeros(15600, np.float32)).shape == (521,)
    assert model.names == tuple(NAMES)


def test_an_input_of_free_length_is_made_a_window(write_tflite, tmp_path):
    model = SoundModel(write_tflite(tmp_path / "free.tflite", is_free=True), NAMES)
    scores = model.score(np.ones(15600, np.float32))
    np.testing.assert_allclose(scores[[0, 520]], [0.5, 1 / (1 + np.exp(-10))], rtol=1e-5)


def test_a_file_may_bring_its_own_labels(write_tflite, tmp_path):
    path = write_tflite(tmp_path / "own.tflite", n_scores=3, labels=["Drip", "Drop", "Drum"])
    assert read_labels(path) == (("Drip", "Drop", "Drum"),)
    assert SoundModel(path, NAMES).names == ("Drip", "Drop", "Drum")


def test_labels_of_something_else_are_passed_over(write_tflite, tmp_path):
    path = write_tflite(tmp_path / "own.tflite", labels=["a note", "and no labels"])
    assert SoundModel(path, NAMES).names == tuple(NAMES)


@given(st.data())
def test_any_metadata_can_be_read_or_is_none(tmp_path_factory, data):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", data.draw(st.sampled_from([0, 8, 12, 14]))) as archive:
        archive.writestr("labels.txt", "Drip\nDrop\n")
    changed = bytearray(content.getvalue())
    for place in data.draw(st.lists(st.integers(0, len(changed) - 1), max_size=4)):
        changed[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("labels") / "x.tflite"
    path.write_bytes(b"\0\0\0\0TFL3" + changed[: data.draw(st.integers(0, len(changed)))])
    assert all(isinstance(label, str) for labels in read_labels(path) for label in labels)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"shape": (1, 100)}, "it takes float32 [1, 100], not [1, 15600]"),
        ({"shape": (1, 44100), "n_scores": 7}, "it takes float32 [1, 44100]"),
        ({"n_scores": 7}, "it gives [1, 7], not [1, 521]"),
        ({"n_scores": 7, "labels": ["a", "b"]}, "it gives [1, 7], not [1, 2] or [1, 521]"),
        ({"has_sigmoid": False}, "not between 0 and 1"),
    ],
)
def test_another_shape_is_refused_with_the_reason(write_tflite, tmp_path, options, reason):
    path = write_tflite(tmp_path / "other.tflite", **options)
    with pytest.raises(ModelError) as caught:
        SoundModel(path, NAMES)
    assert reason in caught.value.message
    assert caught.value.exit_code == 4


def test_damaged_files_are_refused_and_do_not_crash(yamnet_file, tmp_path):
    whole = yamnet_file.read_bytes()
    rng = random.Random(7)
    contents = [b"", b"junk" * 9, whole[:8], whole[:8] + rng.randbytes(50_000), whole[: len(whole) // 2]]
    contents += [whole[:-4], whole[: len(whole) // 2] + bytes(len(whole) // 2)]
    certain = len(contents)
    for _ in range(12):  # somewhere in the tables at both ends of the file; it may still be sound
        changed = bytearray(whole)
        for _ in range(5):
            changed[rng.choice([rng.randrange(8, 2000), -rng.randrange(1, 20_000)])] = rng.randrange(256)
        contents.append(bytes(changed))
    paths = []
    for number, content in enumerate(contents):
        paths.append(tmp_path / f"{number}.tflite")
        paths[-1].write_bytes(content)
    code, outcomes, errors = load_in_another_process(*paths)
    assert code == 0, errors
    assert len(outcomes) == len(contents)
    assert outcomes[:certain] == ["refused"] * certain
    assert "refused" in outcomes[certain:]


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(ModelError, match=r"No such file"):
        SoundModel(tmp_path / "none.tflite", NAMES)
    with pytest.raises(ModelError, match=r"folder"):
        SoundModel(tmp_path, NAMES)


def test_without_the_extra_the_error_names_it(monkeypatch, yamnet_file):
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MachineError) as caught:
        SoundModel(yamnet_file, NAMES)
    assert "ai-edge-litert" in caught.value.message
    assert "sounds]" in caught.value.remedy
