from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from audio2img.server.listing import FileVersion
from audio2img.server.remembered import Remembered

FILES = [FileVersion(f"{number}.png", 0, 0, 0) for number in range(6)]


def test_what_was_asked_for_longest_ago_goes_first() -> None:
    remembered: Remembered[str] = Remembered(2)
    remembered.put(FILES[0], "a", 1)
    remembered.put(FILES[1], "b", 1)
    assert remembered.get(FILES[0]) == "a"
    remembered.put(FILES[2], "c", 1)
    assert [remembered.get(file) for file in FILES[:3]] == ["a", None, "c"]


def test_a_file_of_another_time_is_another() -> None:
    remembered: Remembered[str] = Remembered(2)
    remembered.put(FILES[0], "a", 1)
    assert remembered.get(FILES[0]._replace(mtime_ns=1)) is None


@given(st.lists(st.tuples(st.sampled_from(FILES), st.integers(0, 12)), max_size=40))
def test_the_latest_stay_as_far_as_they_fit(puts: list[tuple[FileVersion, int]]) -> None:
    """Also where one is put again, and where one alone is too large: then it drives out all."""
    remembered: Remembered[int] = Remembered(10)
    expected: list[tuple[FileVersion, int]] = []
    for file, n_bytes in puts:
        remembered.put(file, n_bytes, n_bytes)
        expected = [one for one in expected if one[0] != file] + [(file, n_bytes)]
        while sum(size for _, size in expected) > 10:
            del expected[0]
    assert {file: size for file in FILES if (size := remembered.get(file)) is not None} == dict(expected)
