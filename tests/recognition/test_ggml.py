from __future__ import annotations

import contextlib
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audio2img.errors import ModelError
from audio2img.recognition.ggml import GgmlInfo, check_vad_file, check_whisper_file

TYPE_NAMES = {
    1: "f16", 2: "q4_0", 3: "q4_1", 7: "q8_0", 8: "q5_0", 9: "q5_1", 10: "q2_k", 11: "q3_k", 12: "q4_k",
    13: "q5_k", 14: "q6_k",
}  # fmt: skip

LOAD = """
import sys
import numpy as np
from audio2img.recognition.native import DecodeSettings, NativeModel
for path in sys.argv[1:]:
    model = NativeModel(path, use_gpu=False)
    settings = DecodeSettings("en", False, "", 1, True, None)
    model.decode(np.full(32000, 0.1, np.float32), settings, lambda segment: None, lambda: False)
    model.close()
print("survived")
"""


def run_native(*paths):
    """whisper.cpp in a process of its own, which it may take down."""
    return subprocess.run([sys.executable, "-c", LOAD, *map(str, paths)], capture_output=True, check=False)


def assert_refused(path, *words, check=check_whisper_file):
    with pytest.raises(ModelError) as caught:
        check(path)
    assert "\n" not in caught.value.message
    assert caught.value.remedy
    for word in words:
        assert word in caught.value.message


def test_the_mini_model_is_what_it_says(mini_whisper):
    info = check_whisper_file(mini_whisper)
    assert not info.multilingual
    assert info.n_audio_ctx == 512
    assert info.window_s == pytest.approx(10.24)
    assert info.size_bytes == mini_whisper.stat().st_size


def test_what_the_header_says_is_told(tmp_path, write_whisper):
    path = write_whisper(tmp_path / "many.bin", n_vocab=51865, ftype=7, text_layers=3)
    info = check_whisper_file(str(path))
    assert info == GgmlInfo(
        51865, 1500, 32, 2, 1, 64, 32, 2, 3, 80, "q8_0", path.stat().st_size
    )  # fmt: skip
    assert info.multilingual
    assert info.n_languages == 99
    assert info.window_s == 30.0
    assert info.writes_timestamps
    assert not check_whisper_file(write_whisper(tmp_path / "two.bin", text_layers=2)).writes_timestamps


@pytest.mark.slow
def test_every_storage_that_passes_here_is_loaded_and_run_by_whisper_cpp(tmp_path, write_whisper):
    paths = []
    for ftype, name in TYPE_NAMES.items():
        width = 256 if name.endswith("_k") else 32
        paths.append(write_whisper(tmp_path / f"{name}.bin", ftype=ftype, width=width))
        assert check_whisper_file(paths[-1]).ftype == name
    done = run_native(*paths)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, b"survived", b"")


def test_a_quantization_version_in_the_header_is_no_part_of_the_type(tmp_path, write_whisper):
    path = write_whisper(tmp_path / "versioned.bin", ftype=7)
    data = bytearray(path.read_bytes())
    data[44:48] = (2007).to_bytes(4, "little")
    path.write_bytes(data)
    assert check_whisper_file(path).ftype == "q8_0"


def test_missing_and_no_file(tmp_path):
    assert_refused(tmp_path / "none.bin", "no model file")
    assert_refused(tmp_path, "not a file")
    assert_refused("a\0b")


VOCABULARY_AT = 4 + 11 * 4 + 2 * 4 + 80 * 201 * 4  # behind magic, header and mel filters


def test_empty_garbage_and_foreign_files(tmp_path):
    for name, data, word in (
        ("empty", b"", "empty"),
        ("short", b"lm", "not a ggml"),
        ("garbage", bytes(range(256)) * 100, "not a ggml"),
        ("text", b"<html>404 Not Found</html>", "not a ggml"),
        ("png", b"\x89PNG\r\n\x1a\n" + bytes(1000), "not a ggml"),
        ("magic", b"lmgg", "cut off"),
    ):
        (tmp_path / name).write_bytes(data)
        assert_refused(tmp_path / name, word)


def test_real_ggml_files_of_other_kinds(shared_data):
    assert_refused(shared_data / "silero-v6.2.0-ggml.bin", "vocabulary")
    assert_refused(shared_data / "for-tests-ggml-tiny.en.bin", "missing")  # real, but without its tensors


def test_a_file_stored_as_f32_is_refused(tmp_path, write_whisper):
    """whisper.cpp aborts on its first convolution."""
    assert_refused(write_whisper(tmp_path / "f32.bin", ftype=0), "f32")


def test_cut_files(tmp_path, random_whisper, mini_whisper):
    for source in (random_whisper, mini_whisper):
        data = source.read_bytes()
        for kept in (len(data) // 2, len(data) - 1, len(data) - 40, 48, 20):
            (tmp_path / "cut.bin").write_bytes(data[:kept])
            assert_refused(tmp_path / "cut.bin")


def test_bytes_after_the_end_are_refused(tmp_path, random_whisper):
    for tail in (b"\0", b"\0" * 100, b"lmgg"):
        (tmp_path / "long.bin").write_bytes(random_whisper.read_bytes() + tail)
        assert_refused(tmp_path / "long.bin")


@pytest.fixture(scope="module")
def tensors(random_whisper):
    """The bytes before the tensors, and each tensor's bytes."""
    data = random_whisper.read_bytes()
    starts = sorted(
        position - 12 - 4 * n_dims
        for name in (b"encoder.", b"decoder.")
        for n_dims, position in _headers(data, name)
    )
    edges = [*starts, len(data)]
    return data[: starts[0]], [data[a:b] for a, b in pairwise(edges)]


def _headers(data, name):
    """Where tensor names start, each with its number of dimensions, found by their headers."""
    position = data.find(name)
    while position >= 0:
        for n_dims in (1, 2, 3):
            start = position - 12 - 4 * n_dims
            length = int.from_bytes(data[start + 4 : start + 8], "little")
            if int.from_bytes(data[start : start + 4], "little") == n_dims and 10 < length < 60:
                yield n_dims, position
        position = data.find(name, position + 1)


def test_a_missing_a_second_and_a_strange_tensor(tmp_path, tensors):
    head, parts = tensors
    path = tmp_path / "model.bin"
    path.write_bytes(head + b"".join(parts))
    check_whisper_file(path)
    path.write_bytes(head + b"".join(parts[::-1]))  # the order is free
    check_whisper_file(path)
    path.write_bytes(head + b"".join(parts[:-1]))
    assert_refused(path, "1 of its", "missing")
    path.write_bytes(head + b"".join(parts) + parts[3])
    assert_refused(path, "second tensor")
    path.write_bytes(head + b"".join(parts).replace(b"encoder.ln_post", b"encoder.ln_past"))
    assert_refused(path, "unknown tensor")


def test_a_tensor_of_another_shape_or_type(tmp_path, tensors):
    head, parts = tensors
    number = next(n for n, part in enumerate(parts) if b"encoder.ln_post.weight" in part[:60])
    path = tmp_path / "model.bin"
    for place, value, word in ((12, 31, "shape"), (8, 1, "not stored as f32")):
        part = bytearray(parts[number])
        part[place : place + 4] = value.to_bytes(4, "little")
        path.write_bytes(head + b"".join([*parts[:number], bytes(part), *parts[number + 1 :]]))
        assert_refused(path, word)


def test_a_vocabulary_without_a_space_is_refused(tmp_path, random_whisper):
    """whisper.cpp looks it up without asking whether it is there."""
    data = random_whisper.read_bytes()
    place = VOCABULARY_AT + 4
    assert data[place : place + 5] == b"\x01\0\0\0 "
    (tmp_path / "model.bin").write_bytes(data[: place + 4] + b"_" + data[place + 5 :])
    assert_refused(tmp_path / "model.bin", "space")


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_truncation_is_refused(data, tmp_path, random_whisper):
    whole = random_whisper.read_bytes()
    path = tmp_path / "cut.bin"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert_refused(path)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bits_are_refused_or_harmless(data, tmp_path, tensors):
    """In the parts that are read, headers mostly. Nothing but a ModelError may come out."""
    head, parts = tensors
    broken = bytearray(head + b"".join(parts))
    sizes = [len(part) for part in parts]
    starts = [len(head) + sum(sizes[:n]) for n in range(len(parts))]
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.sampled_from([0, VOCABULARY_AT, *starts]))
        place = start + data.draw(st.integers(0, 60))
        broken[place] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "flipped.bin"
    path.write_bytes(broken)
    with contextlib.suppress(ModelError):
        assert isinstance(check_whisper_file(path), GgmlInfo)


def test_damage_that_passes_does_not_take_whisper_cpp_down(tmp_path, tensors):
    """Flip every bit of the header in turn, and load what still passes."""
    head, parts = tensors
    whole = head + b"".join(parts)
    passed = []
    for place in range(48):
        for bit in range(8):
            broken = bytearray(whole)
            broken[place] ^= 1 << bit
            path = tmp_path / f"{place}-{bit}.bin"
            path.write_bytes(broken)
            try:
                check_whisper_file(path)
                passed.append(path)
            except ModelError:
                path.unlink()
    assert len(passed) < 20
    done = run_native(*passed)
    assert done.returncode == 0, done.stderr


def test_a_real_vad_model_and_its_damages(tmp_path, shared_data, mini_whisper):
    path = shared_data / "silero-v6.2.0-ggml.bin"
    check_vad_file(path)
    data = path.read_bytes()
    for kept in (0, 3, 30, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.bin").write_bytes(data[:kept])
        assert_refused(tmp_path / "cut.bin", check=check_vad_file)
    assert_refused(mini_whisper, check=check_vad_file)
    assert_refused(tmp_path / "none.bin", "no model file", check=check_vad_file)
