"""One file over HTTP, from a real server that fails in every way it is told to."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audio2img.errors import MachineError
from audio2img.store import transfer
from audio2img.store.patience import MirrorError, Patience
from audio2img.store.report import Reporter
from audio2img.store.transfer import NOTE_SUFFIX, PART_SUFFIX, RemoteFile, fetch_file

pytestmark = pytest.mark.slow

QUICK = Patience(n_tries=3, first_wait_s=0.05, timeout_s=1.0)
DATA = os.urandom(16) + bytes(range(256)) * 4000  # about 1 MB, other every time
SHA256 = hashlib.sha256(DATA).hexdigest()


class Talk(Reporter):
    """Keeps what was said, and how far it was."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[tuple[int, int | None]] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def advance(self, path: str, done_bytes: int, total_bytes: int | None) -> None:
        self.steps.append((done_bytes, total_bytes))


class Desk:
    """A folder to download into, and what was said."""

    def __init__(self, folder: Path) -> None:
        self.part = folder / f"x{PART_SUFFIX}"
        self.note = folder / f"x{NOTE_SUFFIX}"
        self.final = folder / "x.bin"
        self.talk = Talk()

    def fetch(self, url: str, patience: Patience = QUICK, **known: Any) -> str:
        remote = RemoteFile("x.bin", url, **known)
        return fetch_file(remote, self.part, self.final, self.talk, patience)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "desk")


@pytest.fixture
def url(server: Any) -> str:
    server.files["/x.bin"] = DATA
    return f"{server.url}/x.bin"


def test_a_file_arrives_whole_with_its_hash_and_nothing_else(desk: Desk, url: str) -> None:
    assert desk.fetch(url) == SHA256
    assert desk.final.read_bytes() == DATA
    assert [path.name for path in desk.final.parent.iterdir()] == ["x.bin"]
    assert desk.talk.steps[-1] == (len(DATA), len(DATA))
    assert desk.talk.lines == []


@pytest.mark.parametrize("cut", [1, 40_000, 500_001, len(DATA) - 1])
@pytest.mark.parametrize("known", [{}, {"sha256": SHA256, "size_bytes": len(DATA)}])
def test_a_cut_connection_goes_on_where_it_was(
    server: Any, shelf: Any, desk: Desk, url: str, cut: int, known: dict[str, Any]
) -> None:
    server.faults["/x.bin"] = [shelf.fault(cut=cut), shelf.fault(cut=1001)]
    assert desk.fetch(url, **known) == SHA256
    assert desk.final.read_bytes() == DATA
    bodies = server.bodies("/x.bin")
    assert bodies[1].begin <= cut
    assert sum(body.sent for body in bodies) <= len(DATA) + 2 * 300_000  # what a reset loses on its way
    assert [body.begin for body in bodies] == sorted(body.begin for body in bodies)


def test_a_quiet_end_loses_no_byte(server: Any, shelf: Any, desk: Desk, url: str) -> None:
    server.faults["/x.bin"] = [shelf.fault(cut=600_000)]
    desk.fetch(url)
    assert [body.begin for body in server.bodies("/x.bin")] == [0, 600_000]
    assert sum(body.sent for body in server.bodies("/x.bin")) == len(DATA)
    assert "cut off at 600,000 of" in desk.talk.lines[0]


@pytest.mark.parametrize("status", [429, 500, 503, 408])
def test_a_busy_server_is_asked_again(server: Any, shelf: Any, desk: Desk, url: str, status: int) -> None:
    server.faults["/x.bin"] = [shelf.fault(status=status)] * 2
    assert desk.fetch(url) == SHA256
    assert f"the server answers {status}" in desk.talk.lines[0]


def test_retry_after_is_heeded(server: Any, shelf: Any, desk: Desk, url: str) -> None:
    import time

    server.faults["/x.bin"] = [shelf.fault(status=429, headers={"Retry-After": "1"})]
    started = time.monotonic()
    desk.fetch(url)
    assert time.monotonic() - started >= 1.0


def test_a_server_that_asks_for_too_long_a_wait_is_left(
    server: Any, shelf: Any, desk: Desk, url: str
) -> None:
    server.faults["/x.bin"] = [shelf.fault(status=429, headers={"Retry-After": "3600"})]
    with pytest.raises(MirrorError, match="3600 s"):
        desk.fetch(url)


def test_patience_ends(server: Any, shelf: Any, desk: Desk, url: str) -> None:
    server.always["/x.bin"] = shelf.fault(status=500)
    with pytest.raises(MirrorError, match=r"answers 500.*3 times"):
        desk.fetch(url)
    assert len(server.asked) == 3


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_not_argued_with(server: Any, shelf: Any, desk: Desk, url: str, status: int) -> None:
    server.faults["/x.bin"] = [shelf.fault(status=status)]
    with pytest.raises(MirrorError, match=str(status)):
        desk.fetch(url)
    assert len(server.asked) == 1


def test_wrong_bytes_are_refused_and_thrown_away(server: Any, shelf: Any, desk: Desk, url: str) -> None:
    server.faults["/x.bin"] = [shelf.fault(wrong=True)]
    with pytest.raises(MirrorError, match="wrong bytes"):
        desk.fetch(url, sha256=SHA256)
    assert list(desk.final.parent.iterdir()) == []


def test_a_wrong_git_hash_is_refused(desk: Desk, url: str) -> None:
    with pytest.raises(MirrorError, match="git hash"):
        desk.fetch(url, size_bytes=len(DATA), git_sha1="0" * 40)
    right = hashlib.sha1(b"blob %d\0" % len(DATA) + DATA).hexdigest()
    assert desk.fetch(url, size_bytes=len(DATA), git_sha1=right) == SHA256


@pytest.mark.parametrize("extra", [-1, 1, 100_000])
def test_a_wrong_length_is_refused_before_the_body(
    server: Any, shelf: Any, desk: Desk, url: str, extra: int
) -> None:
    server.faults["/x.bin"] = [shelf.fault(extra=extra)]
    with pytest.raises(MirrorError, match="wrong length"):
        desk.fetch(url, size_bytes=len(DATA))
    assert not desk.final.exists()
    assert not desk.part.exists()


def test_a_damaged_part_is_found_and_fetched_anew(server: Any, desk: Desk, url: str) -> None:
    desk.part.parent.mkdir()
    desk.part.write_bytes(bytes(200_000))
    assert desk.fetch(url, sha256=SHA256, size_bytes=len(DATA)) == SHA256
    assert desk.final.read_bytes() == DATA
    assert [body.begin for body in server.bodies()] == [200_000, 0]
    assert "damaged" in desk.talk.lines[0]


def test_a_part_longer_than_the_file_is_dropped(desk: Desk, url: str) -> None:
    desk.part.parent.mkdir()
    desk.part.write_bytes(bytes(len(DATA) + 5))
    assert desk.fetch(url, sha256=SHA256) == SHA256


def test_a_part_of_unknown_origin_is_not_continued(server: Any, desk: Desk, url: str) -> None:
    """Without a hash to check the whole, only the same version from the same address may go on."""
    desk.part.parent.mkdir()
    desk.part.write_bytes(DATA[:200_000])
    assert desk.fetch(url) == SHA256
    assert [body.begin for body in server.bodies()] == [0]


def test_a_part_that_is_whole_already_costs_nothing(server: Any, shelf: Any, desk: Desk, url: str) -> None:
    """As after a kill between the last byte and the renaming; of this file no size is known beforehand."""
    server.always["/x.bin"] = shelf.fault(cut=300_000)
    with pytest.raises(MirrorError):
        desk.fetch(url, Patience(n_tries=1))
    server.always.clear()
    desk.part.write_bytes(DATA)
    n_bodies = len(server.bodies())
    assert desk.fetch(url) == SHA256
    assert len(server.bodies()) == n_bodies


def test_a_file_that_changed_meanwhile_begins_again(server: Any, shelf: Any, desk: Desk, url: str) -> None:
    server.always["/x.bin"] = shelf.fault(cut=300_000)
    with pytest.raises(MirrorError):
        desk.fetch(url, Patience(n_tries=1))
    assert desk.part.stat().st_size == 300_000
    server.always.clear()
    server.files["/x.bin"] = DATA[::-1]
    desk.fetch(url)
    assert desk.final.read_bytes() == DATA[::-1]
    assert server.bodies()[-1].begin == 0


def test_a_server_without_ranges_sends_all_again(server: Any, shelf: Any, desk: Desk, url: str) -> None:
    server.faults["/x.bin"] = [shelf.fault(cut=300_000), shelf.fault(ignores_ranges=True)]
    assert desk.fetch(url, sha256=SHA256) == SHA256
    assert desk.final.read_bytes() == DATA


def test_a_redirect_is_followed_without_secrets_to_others(
    server: Any, shelf: Any, desk: Desk, url: str
) -> None:
    elsewhere = url.replace("127.0.0.1", "localhost")
    server.faults["/y.bin"] = [shelf.fault(redirect=elsewhere)]
    desk.fetch(f"{server.url}/y.bin", headers={"Authorization": "Bearer secret"})
    assert desk.final.read_bytes() == DATA
    assert [one.authorization for one in server.asked] == ["Bearer secret", None]
    desk.final.unlink()
    server.faults["/y.bin"] = [shelf.fault(redirect=url)]
    desk.fetch(f"{server.url}/y.bin", headers={"Authorization": "Bearer secret"})
    assert server.asked[-1].authorization == "Bearer secret"  # the same host


def test_a_server_that_falls_silent_is_asked_again(server: Any, shelf: Any, desk: Desk, url: str) -> None:
    server.faults["/x.bin"] = [shelf.fault(pause_s=3.0)]
    assert desk.fetch(url) == SHA256
    assert "timed out" in desk.talk.lines[0]


def test_a_slow_server_is_waited_for(server: Any, shelf: Any, desk: Desk, url: str) -> None:
    server.faults["/x.bin"] = [shelf.fault(pause_s=0.02)]
    assert desk.fetch(url) == SHA256
    assert desk.talk.lines == []


def test_nobody_there_is_said(desk: Desk) -> None:
    with pytest.raises(MirrorError, match="no answer"):
        desk.fetch("http://127.0.0.1:9/x.bin")


FULL_DISK = """
import resource, sys
sys.path.insert(0, sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.RLIM_INFINITY))
from pathlib import Path
from audio2img.errors import MachineError
from audio2img.store import transfer
from audio2img.store.report import Reporter
from audio2img.store.patience import Patience
from audio2img.store.transfer import RemoteFile, fetch_file
part = Path(sys.argv[3])
try:
    fetch_file(RemoteFile("x.bin", sys.argv[2]), part, part.with_name("x.bin"), Reporter(), Patience())
except MachineError as error:
    print(error.message, "|", error.remedy)
    sys.exit(error.exit_code)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX resource limits, not Windows")
def test_a_full_disk_keeps_what_has_arrived(server: Any, desk: Desk, url: str) -> None:
    """No file may grow beyond 400 kB in the first call, as if the disk were full."""
    root = Path(__file__).resolve().parents[2]
    arguments = [sys.executable, "-c", FULL_DISK, str(root), url, str(desk.part), "400000"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == MachineError.exit_code, done.stderr
    assert "the disk is full" in done.stdout
    assert desk.part.stat().st_size == 400_000
    assert not desk.final.exists()
    assert desk.fetch(url) == SHA256
    assert server.bodies()[-1].begin == 400_000


def is_root_with_tmpfs(folder: Path) -> bool:
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "none", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_disk_that_gets_full_meanwhile(server: Any, shelf: Any, tmp_path: Path) -> None:
    """A real small disk: room enough at the start, taken by somebody else on the way."""
    disk = tmp_path / "disk"
    if not is_root_with_tmpfs(disk):
        pytest.skip("needs Linux with the right to mount; the file-size limit above covers it, not Windows")
    try:
        data = bytes(8_000_000)
        server.files["/big.bin"] = data
        desk = Desk(disk)

        class Greedy(Talk):
            def advance(self, path: str, done_bytes: int, total_bytes: int | None) -> None:
                if not (disk / "other").exists():
                    (disk / "other").write_bytes(bytes(44 << 20))

        desk.talk = Greedy()
        with pytest.raises(MachineError, match="the disk is full"):
            desk.fetch(f"{server.url}/big.bin")
        arrived = desk.part.stat().st_size
        assert 0 < arrived < len(data)
        (disk / "other").unlink()
        desk.talk = Talk()
        desk.fetch(f"{server.url}/big.bin")
        assert desk.final.read_bytes() == data
        assert server.bodies("/big.bin")[-1].begin == arrived
        (disk / "other").write_bytes(bytes(10 << 20))
        with pytest.raises(MachineError, match="MB are free"):
            Desk(disk / "more").fetch(f"{server.url}/big.bin")
        assert not Desk(disk / "more").part.exists()  # refused before the first byte is written
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def head(status: str, **headers: object) -> bytes:
    """The head of an answer; `_` stands for `-`."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


def forever(first: bytes, then: bytes, pause_s: float = 0.0) -> Iterator[bytes]:
    yield first
    while True:
        time.sleep(pause_s)
        yield then


def n_asked(server: Any) -> int:
    return sum(one.path == "/x.bin" for one in server.asked)


def test_a_file_without_a_hash_that_the_server_cut_short_is_not_whole(
    server: Any, shelf: Any, desk: Desk, url: str
) -> None:
    """It gives 90,000 of its bytes, and then says that there are no more."""
    server.faults["/x.bin"] = [
        shelf.fault(cut=90_000),
        shelf.fault(status=416, headers={"Content-Range": "bytes */90000"}),
    ]
    assert desk.fetch(url) == SHA256
    assert [body.begin for body in server.bodies("/x.bin")] == [0, 0]


def test_so_it_is_in_the_next_call(server: Any, shelf: Any, desk: Desk, url: str) -> None:
    server.faults["/x.bin"] = [
        shelf.fault(cut=90_000),
        shelf.fault(status=404),
        shelf.fault(status=416, headers={"Content-Range": "bytes */90000"}),
    ]
    with pytest.raises(MirrorError, match="404"):
        desk.fetch(url)
    assert desk.fetch(url) == SHA256


def test_two_versions_of_a_file_are_not_mixed(server: Any, shelf: Any, desk: Desk, url: str) -> None:
    """A server that ignores If-Range and goes on with another file of the same length."""
    total = len(DATA)

    def go_on(begin: int) -> Iterator[bytes]:
        yield head(
            "206 Partial Content",
            ETag='"another"',
            Content_Range=f"bytes {begin}-{total - 1}/{total}",
            Content_Length=total - begin,
        )
        yield bytes(total - begin)

    server.faults["/x.bin"] = [shelf.fault(cut=90_000), shelf.fault(raw=go_on)]
    assert desk.fetch(url) == SHA256
    assert desk.final.read_bytes() == DATA
    assert "another one now" in " ".join(desk.talk.lines)


def test_a_file_that_got_longer_begins_again(server: Any, shelf: Any, desk: Desk, url: str) -> None:
    def go_on(begin: int) -> Iterator[bytes]:
        etag = f'"{hashlib.md5(DATA).hexdigest()}"'
        total = len(DATA) + 5
        span = f"bytes {begin}-{total - 1}/{total}"
        yield head("206 Partial Content", ETag=etag, Content_Range=span, Content_Length=total - begin)

    server.faults["/x.bin"] = [shelf.fault(cut=90_000), shelf.fault(raw=go_on)]
    assert desk.fetch(url) == SHA256
    assert f"{len(DATA) + 5:,} bytes now" in " ".join(desk.talk.lines)


ODD_NUMBERS = ["²", "٣", "9" * 5000, "-1", "1e3", "0x10", ""]


@pytest.mark.parametrize("number", ODD_NUMBERS)
def test_odd_numbers_in_headers_are_no_fault_of_ours(
    server: Any, shelf: Any, desk: Desk, url: str, number: str
) -> None:
    odd = number.encode().decode("latin-1")
    etag = f'"{hashlib.md5(DATA).hexdigest()}"'
    busy = shelf.fault(raw=lambda begin: [head("429 Busy", Retry_After=number, Content_Length=0)])
    cut = shelf.fault(cut=1000)
    part = shelf.fault(
        raw=lambda begin: [
            head(
                "206 Partial Content", ETag=etag, Content_Range=f"bytes {number}-5/{number}", Content_Length=0
            )
        ]
    )
    server.faults["/x.bin"] = [busy, cut, part, shelf.fault(headers={"Content-Length": odd})]
    with pytest.raises(MirrorError, match="another part"):
        desk.fetch(url)


@pytest.mark.parametrize(
    "location",
    ["http://[::1", "http://127.0.0.1:99999999/", "http:///x", "//", "http://127.0.0.1:x/"],
)
def test_a_redirect_to_nowhere_is_told(server: Any, shelf: Any, desk: Desk, url: str, location: str) -> None:
    server.always["/x.bin"] = shelf.fault(redirect=location)
    with pytest.raises(MirrorError):
        desk.fetch(url, Patience(n_tries=1, first_wait_s=0.05, timeout_s=1.0))


@pytest.mark.parametrize("location", ["ftp://127.0.0.1:9/x.bin", "file:///etc/hostname", "/x.bin"])
def test_a_redirect_ends_at_once_where_it_leads_astray(
    server: Any, shelf: Any, desk: Desk, url: str, location: str
) -> None:
    """To another protocol, which nobody is asked for a second time, or in a circle; in words of ours."""
    server.always["/x.bin"] = shelf.fault(redirect=location)
    with pytest.raises(MirrorError, match=r"refused|302, and leads nowhere") as caught:
        desk.fetch(url)
    assert not desk.talk.lines
    assert "urlopen" not in str(caught.value)
    assert "redirect error" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("206 Partial Content", {"Content_Range": "bytes 0-999/*"}),
        ("206 Partial Content", {"Content_Range": "bytes 0-999/1000"}),
        ("203 Non-Authoritative Information", {}),
    ],
)
def test_an_answer_that_is_not_the_whole_file_is_not_taken_for_it(
    server: Any, shelf: Any, desk: Desk, url: str, status: str, headers: dict[str, str]
) -> None:
    answer = head(status, Content_Length=1000, **headers) + DATA[:1000]
    server.always["/x.bin"] = shelf.fault(raw=lambda begin: [answer])
    with pytest.raises(MirrorError, match=r"another part|answers 203"):
        desk.fetch(url)
    assert not desk.final.exists()


def test_a_rest_of_unknown_length_is_not_taken_for_the_last(
    server: Any, shelf: Any, desk: Desk, url: str
) -> None:
    """The first part came in chunks that broke off, the second says nothing of the whole."""

    def answer(begin: int) -> Iterator[bytes]:
        if not begin:
            yield head("200 OK", Transfer_Encoding="chunked", ETag='"1"') + b"3e8\r\n" + DATA[:1000] + b"\r\n"
        else:
            part = f"bytes {begin}-{begin + 9}/*"
            yield head("206 Partial Content", ETag='"1"', Content_Length=10, Content_Range=part)
            yield DATA[begin : begin + 10]

    server.always["/x.bin"] = shelf.fault(raw=answer)
    with pytest.raises(MirrorError, match="does not say how long"):
        desk.fetch(url)
    assert not desk.final.exists()
    assert not desk.part.exists()


def test_a_file_in_many_pieces_arrives_without_many_words(
    server: Any, shelf: Any, desk: Desk, url: str
) -> None:
    server.always["/x.bin"] = shelf.fault(cut=70_000)
    assert desk.fetch(url, Patience(n_tries=3, first_wait_s=0.0, timeout_s=1.0)) == SHA256
    assert n_asked(server) > 12
    assert len(desk.talk.lines) == 10
    assert desk.talk.lines[-1].endswith("no more is said of it")


def test_the_same_bytes_again_are_no_progress(server: Any, shelf: Any, desk: Desk, url: str) -> None:
    """Cut, then told that the file is another one, and so on for ever."""
    cut = shelf.fault(cut=400_000)
    refusal = shelf.fault(status=416, headers={"Content-Range": "bytes */7"})
    server.faults["/x.bin"] = [cut, refusal] * 50
    with pytest.raises(MirrorError, match="3 times"):
        desk.fetch(url)
    assert n_asked(server) <= 5


def test_a_byte_an_answer_is_no_progress(server: Any, shelf: Any, desk: Desk, url: str) -> None:
    server.always["/x.bin"] = shelf.fault(cut=2)
    with pytest.raises(MirrorError, match="3 times"):
        desk.fetch(url)
    assert n_asked(server) == 3


IMPATIENT = Patience(n_tries=2, first_wait_s=0.05, timeout_s=0.2)


def test_a_trickling_body_ends(server: Any, shelf: Any, desk: Desk, url: str) -> None:
    full = head("200 OK", Content_Length=10**6, ETag='"1"')
    server.always["/x.bin"] = shelf.fault(raw=lambda begin: forever(full, b"x", 0.02))
    with pytest.raises(MirrorError, match="bytes a second came, 2 times"):
        desk.fetch(url, IMPATIENT)


def test_a_trickling_head_ends(server: Any, shelf: Any, desk: Desk, url: str) -> None:
    server.always["/x.bin"] = shelf.fault(raw=lambda begin: forever(b"HTTP/1.1 200 OK\r\nX: ", b"x", 0.02))
    with pytest.raises(MirrorError, match="no whole answer"):
        desk.fetch(url, IMPATIENT)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("wait_s", [0.0, 0.02], ids=["fast", "slow"])
@pytest.mark.parametrize("end", [b"0\r\n", b"5;x="], ids=["trailers", "extension"])
def test_chunks_that_never_end_end(
    server: Any, shelf: Any, desk: Desk, url: str, end: bytes, wait_s: float
) -> None:
    """Lines after the last chunk, and what may stand behind a chunk's length: all of it is thrown away."""
    begin = head("200 OK", Transfer_Encoding="chunked", ETag='"1"') + b"3\r\nabc\r\n" + end
    more = b"x: y\r\n" if end == b"0\r\n" else b"x"
    server.always["/x.bin"] = shelf.fault(
        raw=lambda _: forever(begin, more * (1 if wait_s else 1000), wait_s)
    )
    with pytest.raises(MirrorError, match="2 times"):
        desk.fetch(url, IMPATIENT)


@pytest.mark.timeout(60)
def test_a_file_that_is_here_needs_no_end_of_its_trailers(
    server: Any, shelf: Any, desk: Desk, url: str
) -> None:
    begin = head("200 OK", Transfer_Encoding="chunked", ETag='"1"') + b"3\r\nabc\r\n0\r\n"
    server.always["/x.bin"] = shelf.fault(raw=lambda _: forever(begin, b"x: y\r\n", 0.02))
    digest = hashlib.sha256(b"abc").hexdigest()
    assert desk.fetch(url, IMPATIENT, size_bytes=3, sha256=digest) == digest
    assert desk.final.read_bytes() == b"abc"


@pytest.mark.timeout(60)
def test_the_body_of_a_redirect_is_not_read(server: Any, shelf: Any, desk: Desk, url: str) -> None:
    server.files["/y.bin"] = DATA
    begin = head("302 Found", Location=f"{server.url}/y.bin")
    server.always["/x.bin"] = shelf.fault(raw=lambda _: forever(begin, bytes(1 << 16)))
    assert desk.fetch(url, sha256=SHA256) == SHA256


def test_an_endless_body_ends(
    server: Any, shelf: Any, desk: Desk, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "MAX_UNSAID_BYTES", 1 << 20)
    chunked = head("200 OK", Transfer_Encoding="chunked", ETag='"1"')
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    server.always["/x.bin"] = shelf.fault(raw=lambda begin: forever(chunked, chunk))
    with pytest.raises(MirrorError, match=r"longer than the 1,048,576 bytes"):
        desk.fetch(url)
    assert not desk.part.exists()


def test_what_a_server_says_is_told_in_short(server: Any, shelf: Any, desk: Desk, url: str) -> None:
    words = "\x1b[31mno\x9b " + "sorry " * 8000
    server.always["/x.bin"] = shelf.fault(raw=lambda begin: [head(f"404 {words}", Content_Length=0)])
    with pytest.raises(MirrorError) as caught:
        desk.fetch(url)
    assert len(str(caught.value)) <= 300
    assert str(caught.value).isprintable()
