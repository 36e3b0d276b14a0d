"""Files from addresses: a real server on this machine, which only a policy of the tests lets us reach."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from audio2img import CancelledError, InputError, Options, Pipeline
from audio2img.errors import Audio2ImgError, MachineError
from audio2img.fetch import (
    Address,
    Expected,
    certificates,
    check_url,
    fetch,
    is_elsewhere,
    is_public,
    name_of_url,
)

AUTHORITY = trustme.CA()

SOUND = Expected("a recording", ("audio/", ""), max_bytes=100_000, silent_s=60, total_s=60)
SENTENCE = "please draw a big red house at night"

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Host"]))
        self.server.answers[self.path](self)
        self.close_connection = True

    def say(self, code: int, body: bytes = b"", /, **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, str]] = []
        self.over = threading.Event()

    def handle_error(self, *_: Any) -> None:
        """Clients hang up here; that is what is tested."""

    def url(self, path: str, answer: Answer | None = None, host: str = "127.0.0.1") -> str:
        if answer is not None:
            self.answers[path] = answer
        return f"http://{host}:{self.server_port}{path}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


def loopback(address: Address) -> bool:
    return address.is_loopback


def got(url: str, expected: Expected = SOUND, **more: Any) -> bytes:
    with fetch(url, expected, is_allowed=loopback, **more) as file:
        return file.read()


def names(monkeypatch: pytest.MonkeyPatch, answers: dict[str, list[list[str]]]) -> None:
    """What names resolve to, one list of addresses for each time that they are asked for."""
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        if host not in answers:
            return real(host, port, *args, **kwargs)
        return [row for one in answers[host].pop(0) for row in real(one, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def test_a_file_arrives_whole_and_tells_its_progress_and_name(server: Server) -> None:
    body = bytes(range(256)) * 300
    url = server.url(
        "/my%20memo.mp3?token=secret",
        lambda client: client.say(200, body, Content_Type="audio/mpeg", Content_Length=str(len(body))),
    )
    told: list[float | None] = []
    with fetch(url, SOUND, progress=told.append, is_allowed=loopback) as file:
        assert file.read() == body
        assert file.name == "my memo.mp3"
    assert told[-1] == 1.0
    assert told == sorted(told)  # type: ignore[type-var]
    assert file.closed


def test_a_body_of_unknown_length_arrives(server: Server) -> None:
    def chunked(client: Handler) -> None:
        client.say(200, b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", Transfer_Encoding="chunked")

    assert got(server.url("/chunked", chunked)) == b"abcde"
    assert got(server.url("/until-closed", lambda client: client.say(200, b"abc"))) == b"abc"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0.0.0.0", "127.8.8.8",
        "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::]",
    ],
)  # fmt: skip
def test_this_machine_is_not_asked_under_any_of_its_names(server: Server, host: str) -> None:
    with (
        pytest.raises(InputError, match=r"this machine or its networks|is not known"),
        fetch(server.url("/x", lambda client: client.say(200, b"secret"), host), SOUND),
    ):
        pytest.fail("it was fetched")
    assert server.asked == []


def test_a_name_that_resolves_to_this_machine_is_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(monkeypatch, {"inside.test": [["127.0.0.1"]]})
    with pytest.raises(InputError, match=r"inside\.test is an address of this machine"):
        fetch(server.url("/x", host="inside.test"), SOUND).__enter__()
    assert server.asked == []


def test_the_connection_goes_to_the_address_that_was_checked(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that means another address when it is asked for again changes nothing."""
    left = [["127.0.0.1"], ["192.0.2.1"], ["192.0.2.1"]]
    names(monkeypatch, {"moving.test": left})
    checked: list[str] = []

    def is_allowed(address: Address) -> bool:
        checked.append(str(address))
        return loopback(address)

    url = server.url("/x", lambda client: client.say(200, b"abc"), "moving.test")
    with fetch(url, SOUND, is_allowed=is_allowed) as file:
        assert file.read() == b"abc"
    assert checked == ["127.0.0.1"]
    assert len(left) == 2
    assert server.asked == [("/x", f"moving.test:{server.server_port}")]


def test_where_one_address_is_silent_the_next_is_tried(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with IPv6 that leads nowhere. Full of callers that nobody takes, a port drops the next one."""
    names(monkeypatch, {"both.test": [["127.0.0.2", "127.0.0.1"]]})
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # a Mac has no 127.0.0.2, which is as good here
            silent = stack.enter_context(socket.socket())
            silent.bind(("127.0.0.2", server.server_port))
            silent.listen(0)
            for _ in range(4):
                caller = stack.enter_context(socket.socket())
                caller.setblocking(False)
                caller.connect_ex(("127.0.0.2", server.server_port))
        url = server.url("/x", lambda client: client.say(200, b"abc"), "both.test")
        assert got(url, replace(SOUND, silent_connect_s=0.2)) == b"abc"


def test_only_allowed_addresses_of_a_name_are_connected_to(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(monkeypatch, {"both.test": [["127.0.0.1", "192.0.2.1"]] * 2})
    url = server.url("/x", lambda client: client.say(200, b"abc"), "both.test")
    assert got(url) == b"abc"
    with pytest.raises(InputError, match=r"both\.test is an address"):
        fetch(url, SOUND, is_allowed=lambda address: False).__enter__()


def to(where: str) -> Answer:
    return lambda client: client.say(302, Location=where)


def test_redirects_are_followed(server: Server) -> None:
    server.url("/b/end", lambda client: client.say(200, b"abc"))
    server.url("/a/middle", to("../b/end"))
    assert got(server.url("/a/start", to("middle"))) == b"abc"
    assert [path for path, _ in server.asked] == ["/a/start", "/a/middle", "/b/end"]


def test_a_redirect_is_checked_as_the_address_was(server: Server) -> None:
    """Only the first of this machine's addresses is allowed here: what it leads to must not be asked."""
    forbidden = server.url("/forbidden", lambda client: client.say(200, b"secret"), "localhost")
    checked: list[Address] = []

    def only_first(address: Address) -> bool:
        checked.append(address)
        return len(checked) == 1

    with pytest.raises(InputError, match="localhost is an address of this machine"):
        fetch(server.url("/start", to(forbidden)), SOUND, is_allowed=only_first).__enter__()
    assert [path for path, _ in server.asked] == ["/start"]


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("file:///etc/passwd", "file:// addresses are not read"),
        ("ftp://example.org/x", "ftp:// addresses are not read"),
        ("gopher://127.0.0.1:25/x", "gopher:// addresses are not read"),
        ("", "redirected to nowhere"),
        ("http://[", "redirected to what is no address"),
        ("http://user:word@127.0.0.1/", "name or password"),
        ("/start", "redirected more than 5 times"),
    ],
)
def test_bad_redirects_are_refused(server: Server, where: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        got(server.url("/start", to(where)))


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://example.org/a.mp3", "data://x", "javascript://x", "https://",
        "https:///a.mp3", "http://user@example.org/", "http://user:word@example.org/", "http://a b/",
        "http://example.org:99999/", "http://example.org\\@127.0.0.1/", "http://[::1", "http://a\x00b/",
        "http://exa\tmple.org\r\nX: y/", "http://" + "a" * 5000, "http://-\u2100-/", "http://..../",
    ],
)  # fmt: skip
def test_what_is_no_address_to_read_is_refused_before_the_network(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("it was looked for"))
    with pytest.raises(InputError) as refused:
        got(url)
    assert len(refused.value.message) < 200


@given(st.text(max_size=30), st.sampled_from(["http://", "https://example.org/", "http://[", "x://"]))
def test_any_text_is_an_address_or_an_error_for_people(text: str, start: str) -> None:
    assert name_of_url(start + text)
    try:
        check_url(start + text)
    except Audio2ImgError as error:
        assert error.remedy  # noqa: PT017, there need not be one


def test_odd_letters_in_an_address_reach_the_server_quoted(server: Server) -> None:
    server.answers["/%C3%A4%20%0D%0A?q=%C3%B6%22"] = lambda client: client.say(200, b"abc")
    assert got(server.url('/ä %0D%0A?q=ö"#part')) == b"abc"


def test_nothing_is_asked_while_the_network_is_off(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(MachineError, match="the network is off"):
        got(server.url("/x", lambda client: client.say(200, b"abc")))
    assert server.asked == []


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda client: client.say(404), "answers 404 Not Found"),
        (lambda client: client.say(403, b"x"), "answers 403 Forbidden"),
        (lambda client: client.say(206, b"x"), "answers 206"),
        (lambda client: client.say(200, b"x", Content_Type="text/html; charset=x"), "is a web page"),
        (lambda client: client.say(200, b"x", Content_Type="image/png"), "“image/png” and not a recording"),
        (lambda client: client.say(200, b"x", Content_Encoding="gzip"), "packs"),
        (lambda client: client.say(200, Content_Length="100001"), "larger than 0 MB"),
        (lambda client: client.say(200, b"x" * 100_001), "larger than 0 MB"),
        (lambda client: client.say(200, b"abc", Content_Length="9"), "broke after 3 of 9 bytes"),
        (lambda client: client.say(200, b"9\r\nabc", Transfer_Encoding="chunked"), "connection broke"),
        (lambda client: client.say(200, b"zz\r\nabc", Transfer_Encoding="chunked"), "connection broke"),
        (lambda client: client.say(200, Content_Length="0"), "is empty"),
        (lambda client: client.wfile.write(b"220 mail.test ESMTP \x1b[2J\r\n"), "does not speak HTTP"),
        (lambda client: client.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200), "not speak HTTP"),
        (lambda client: client.wfile.write(b"HTTP/1.1 200 OK\r\na: " + b"b" * 99_999), "not speak HTTP"),
    ],
)  # fmt: skip
def test_answers_that_are_not_expected_end_in_one_line(server: Server, answer: Answer, why: str) -> None:
    with pytest.raises(InputError, match=why) as refused:
        got(server.url("/x.mp3", answer))
    assert refused.value.message.isprintable()
    assert len(refused.value.message) < 200


def test_a_silent_server_is_given_up(server: Server) -> None:
    def answer(client: Handler) -> None:
        client.say(200, b"a")
        server.over.wait()

    with pytest.raises(InputError, match=r"cannot be fetched: .* for 0 s"):
        got(server.url("/x", answer), replace(SOUND, silent_s=0.2))


def test_a_server_that_trickles_is_given_up(server: Server) -> None:
    """Never silent for long, and never done: in the head as in the body."""

    def trickle(head: bytes) -> Answer:
        def answer(client: Handler) -> None:
            client.wfile.write(head)
            while not server.over.wait(0.01):
                client.wfile.write(b"a")

        return answer

    for path, head in (("/head", b"HTTP/1.1 200 OK\r\na: "), ("/body", b"HTTP/1.1 200 OK\r\n\r\n")):
        with pytest.raises(InputError, match="has not arrived within"):
            got(server.url(path, trickle(head)), replace(SOUND, total_s=0.6))


def test_a_server_that_never_ends_its_head_or_its_trailers_is_given_up(server: Server) -> None:
    """What arrives without any waiting is bounded in time, too."""

    def continue_for_ever(client: Handler) -> None:
        while not server.over.is_set():
            client.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)

    def trailers_for_ever(client: Handler) -> None:
        client.say(200, b"3\r\nabc\r\n0\r\n", Transfer_Encoding="chunked")
        while not server.over.is_set():
            client.wfile.write(b"a: b\r\n" * 1000)

    for path, answer in (("/head", continue_for_ever), ("/trailers", trailers_for_ever)):
        with pytest.raises(InputError, match="has not arrived within"):
            got(server.url(path, answer), replace(SOUND, total_s=0.6))


def test_a_server_that_does_not_answer_can_be_cancelled(server: Server) -> None:
    stopping = threading.Event()

    def answer(client: Handler) -> None:
        stopping.set()
        server.over.wait()

    def check() -> None:
        if stopping.is_set():
            raise CancelledError("stopped")

    with pytest.raises(CancelledError):
        got(server.url("/x", answer), check=check)


def test_a_name_that_takes_for_ever_to_resolve_can_be_cancelled(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = threading.Event()

    def resolve(*_: Any, **__: Any) -> Any:
        stopping.set()
        server.over.wait()
        return []

    def check() -> None:
        if stopping.is_set():
            raise CancelledError("stopped")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(CancelledError):
        got(server.url("/x", host="slow.test"), check=check)


def test_a_refused_connection_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(InputError, match=r"x\.mp3 cannot be fetched: "):
            got(f"http://127.0.0.1:{unused.getsockname()[1]}/x.mp3")


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of an authority, made for this run, that has signed the one of sound.test."""
    path = tmp_path_factory.mktemp("authority") / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def secure(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str | None]]:
    """The server behind TLS, as sound.test; gives the names that it was asked for (SNI)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("sound.test").configure_cert(context)
    asked: list[str | None] = []
    context.sni_callback = lambda _, name, __: asked.append(name)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    names(monkeypatch, {name: [["127.0.0.1"]] * 3 for name in ("sound.test", "other.test")})
    certificates.cache_clear()
    yield asked
    certificates.cache_clear()


def test_https_asks_by_name_and_checks_the_certificate(
    server: Server, secure: list[str | None], authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.url("/x", lambda client: client.say(200, b"abc" * 20_000))
    with pytest.raises(InputError, match="its certificate is not valid"):
        got(f"https://sound.test:{server.server_port}/x")
    assert server.asked == []
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    certificates.cache_clear()
    assert got(f"https://sound.test:{server.server_port}/x") == b"abc" * 20_000
    assert secure[-1] == "sound.test"
    assert server.asked == [("/x", f"sound.test:{server.server_port}")]
    with pytest.raises(InputError, match="its certificate is not valid"):
        got(f"https://other.test:{server.server_port}/x")


def test_https_does_not_become_http(
    server: Server, secure: list[str | None], authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    server.url("/x", to(f"http://sound.test:{server.server_port}/y"))
    with pytest.raises(InputError, match="from https to what is not"):
        got(f"https://sound.test:{server.server_port}/x")


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "100.100.100.200", "192.0.0.192", "168.63.129.16", "192.0.2.1", "198.18.0.1", "224.0.0.1",
        "239.255.255.250", "224.0.1.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::7f00:1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::808:808",
        "2002:7f00:1::", "2001:0:7f00:1::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1",
        "ff02::1", "ff0e::1", "2001:db8::1", "100::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_of_the_internet(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "text", ["8.8.8.8", "93.184.216.34", "::ffff:8.8.8.8", "64:ff9b::808:808", "2606:4700::1111"]
)
def test_addresses_of_the_internet(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))
    assert is_elsewhere(ipaddress.ip_address(text))


def test_a_public_address_beside_this_machines_own_is_not_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test machine has one for sure: what the routing table says is stood in for."""
    own = {4: "93.184.216.34", 6: "2606:4700::1111"}
    monkeypatch.setattr(
        "audio2img.fetch._own_address_towards", lambda address: ipaddress.ip_address(own[address.version])
    )
    for text in (*own.values(), "93.184.216.1", "::ffff:93.184.216.1", "2606:4700::5"):
        assert not is_elsewhere(ipaddress.ip_address(text))
    for text in ("93.184.217.34", "2606:4700:0:1::1111"):
        assert is_elsewhere(ipaddress.ip_address(text))


@pytest.fixture
def demo_url(server: Server, demo_audio: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("audio2img.fetch.is_elsewhere", loopback)
    body = demo_audio.read_bytes()
    return server.url("/demo.flac", lambda client: client.say(200, body, Content_Type="audio/flac"))


def test_a_pipeline_hears_what_an_address_names(demo_url: str) -> None:
    stages: list[str] = []
    with Pipeline("mini", "mini-whisper", on_event=lambda event: stages.append(event.stage)) as pipeline:
        drawing = pipeline.run(demo_url, Options(seed=7, steps=2))
    assert drawing.transcript is not None
    assert drawing.transcript.text == SENTENCE
    assert drawing.audio_source == "demo.flac"
    assert drawing.timings_s["fetch"] > 0
    assert stages.index("fetch") < stages.index("decode")


def test_sounds_are_named_in_what_an_address_names(demo_url: str, yamnet_file: Path) -> None:
    with Pipeline(sound_model=str(yamnet_file)) as pipeline:
        assert pipeline.classify(demo_url).summary.categories[0].name == "Speech"


def test_a_call_that_waits_for_a_server_can_be_cancelled(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audio2img.fetch.is_elsewhere", loopback)
    with Pipeline("mini", "mini-whisper") as pipeline:

        def answer(client: Handler) -> None:
            pipeline.cancel()
            server.over.wait()

        with pytest.raises(CancelledError):
            pipeline.transcribe(server.url("/x", answer))
