"""Who is let in: hostile names, origins, tokens, paths and sizes, against a real server."""

from __future__ import annotations

import gzip
import json
import re
import socket
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from audio2img.server.app import STATIC
from audio2img.server.guard import Door
from tests.server.clients import TOKEN, Server, wait_for, wait_for_end

pytestmark = pytest.mark.slow


def test_the_token_becomes_a_cookie(server: Server) -> None:
    status, page, headers = server.ask("GET", f"/?token={TOKEN}&lang=de", headers={"Cookie": ""})
    assert (status, TOKEN.encode() in page) == (200, False)
    assert headers["set-cookie"].startswith(f"{server.cookie}; HttpOnly; SameSite=Strict")
    assert server.ask("GET", "/gallery")[0] == 200


@pytest.mark.parametrize("cookie", ["", "audio2img=x", f"other={TOKEN}", "audio2img-%d=wrong", "=;=;\x7f"])
def test_without_the_token_nothing_is_told(server: Server, cookie: str) -> None:
    cookie = cookie.replace("%d", str(server.port))
    for path in ("/", "/gallery", "/static/page.js", "/?token=wrong"):
        status, body, _ = server.ask("GET", path, headers={"Cookie": cookie})
        assert (status, b"token" in body) == (403, True)


@pytest.mark.parametrize(
    "others", ['notes={"a": "b, c"}', "=;=", "a b c", 'x="\\"', "audio2img-%d=of-another-start"]
)
def test_strange_cookies_of_others_shut_nobody_out(server: Server, others: str) -> None:
    others = others.replace("%d", str(server.port))
    for cookie in (f"{others}; {server.cookie}", f"{server.cookie}; {others}"):
        assert server.ask("GET", "/gallery", headers={"Cookie": cookie})[0] == 200, cookie


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:%d", "127.0.0.1", "localhost:1", "127.0.0.1:%d.evil.example", "", "[::1",
     "localhost:%d@evil.example", "10.0.0.1:%d"],
)  # fmt: skip
def test_another_name_is_not_answered(server: Server, host: str) -> None:
    status, _, _ = server.ask("GET", "/gallery", headers={"Host": host.replace("%d", str(server.port))})
    assert status in (400, 403)


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1:%d", "http://127.0.0.1"]
)
def test_another_pages_orders_are_refused(server: Server, origin: str) -> None:
    origin = origin.replace("%d", str(server.port))
    status, _, _ = server.ask("POST", "/draw", {"prompt": "x"}, tab="tab-evil", headers={"Origin": origin})
    assert status == 403
    with pytest.raises(InvalidStatus) as refused:
        connect(
            f"ws://{server.host}/live?tab=tab-evil",
            origin=origin,  # type: ignore[arg-type]
            additional_headers={"Cookie": server.cookie},
        )
    assert refused.value.response.status_code == 403


def test_a_socket_without_the_cookie_or_a_tab_is_refused(server: Server) -> None:
    for address, headers in (
        (f"ws://{server.host}/live?tab=tab-good", {}),
        (f"ws://{server.host}/live?tab=../x", {"Cookie": server.cookie}),
    ):
        with pytest.raises(InvalidStatus):
            connect(address, origin=f"http://{server.host}", additional_headers=headers)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "path",
    ["/pictures/../../etc/passwd", "/pictures/..%2f..%2fetc%2fpasswd", "/pictures/%2e%2e%2fsecret.png",
     "/pictures/link.png", "/pictures/note.txt", "/thumbnails/link.png", "/records/note.txt",
     "/pictures/plain.png", "/static/../app.py", "/static/app.py", "/static/..%2fapp.py",
     "/texts/..%2findex.html",
     "/pictures/a%00b.png", "/pictures/C:%5cx.png"],
)  # fmt: skip
def test_what_is_no_picture_of_ours_is_not_there(server: Server, path: str) -> None:
    from PIL import Image

    outside = server.pictures.parent / "secret.png"
    if not outside.exists():
        Image.new("RGB", (8, 8)).save(outside)
        (server.pictures / "note.txt").write_text("not a picture")
        Image.new("RGB", (8, 8)).save(server.pictures / "plain.png")
        (server.pictures / "link.png").symlink_to(outside)
    assert server.ask("GET", path)[0] == 404


def test_each_answer_says_what_a_page_may_do(server: Server) -> None:
    headers = server.ask("GET", "/gallery")[2]
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


def test_more_than_is_taken_is_refused_before_it_is_read(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 30) as raw:
        head = (
            f"POST /records HTTP/1.1\r\nHost: {server.host}\r\nCookie: {server.cookie}\r\n"
            f"Content-Length: {1 << 40}\r\n\r\n"
        )
        raw.sendall(head.encode())
        answer = raw.recv(4096).decode()
    assert answer.startswith("HTTP/1.1 413")


def test_a_body_of_unknown_length_is_cut_off(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 60) as raw:
        head = (
            f"POST /draw HTTP/1.1\r\nHost: {server.host}\r\nCookie: {server.cookie}\r\nX-Tab: tab-large\r\n"
            "Transfer-Encoding: chunked\r\n\r\n"
        )
        raw.sendall(head.encode())
        piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        try:
            for _ in range(64):
                raw.sendall(piece)
        except OSError:
            pass  # it was cut off while we were still sending
        answer = raw.recv(4096).decode()
    assert answer.startswith("HTTP/1.1 413")


def test_broken_frames_end_their_own_socket_only(server: Server) -> None:
    with server.live("tab-whole") as whole, server.live("tab-broken") as broken:
        wait_for(broken, "hello")
        for order in ("{", "[]", "null", '{"do": 5}', '{"do": "speak"}', '{"do": "speak", "rate": -5}',
                      '{"do": "speak", "rate": 48000, "order": {"hear": "x"}}',
                      '{"do": "model", "name": "/x"}', "[" * 100_000):  # fmt: skip
            broken.send(order)
        broken.send(b"odd")
        broken.socket.sendall(b"\xff\xff\xff\xff nonsense")
        wait_for(whole, "hello")
        assert server.ask("GET", "/gallery")[0] == 200


def test_two_hundred_connections_that_say_nothing_keep_nobody_out(server: Server) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.port), 30) for _ in range(200)]
    try:
        for one in silent[::2]:
            one.sendall(b"GET / HTTP/1.1\r\nHost: ")
        assert server.ask("GET", "/gallery")[0] == 200
        with server.live("tab-late") as late:
            assert wait_for(late, "hello")
    finally:
        for one in silent:
            one.close()


def test_orders_that_are_no_json_are_answered(server: Server) -> None:
    for body in (b"", b"\xff\xfe", b"[" * 50_000, b'{"prompt": NaN}', b'{"prompt": "\\ud800"}'):
        status, data, _ = server.ask("POST", "/draw", body, tab="tab-json")
        assert status == 422, body
        assert json.loads(data)["message"]


@pytest.mark.parametrize(
    ("door", "host", "is_known"),
    [
        (Door("127.0.0.1", 7860, ""), "localhost:7860", True),
        (Door("127.0.0.1", 7860, ""), "[::1]:7860", True),
        (Door("127.0.0.1", 7860, ""), "192.168.0.5:7860", False),
        (Door("0.0.0.0", 7860, ""), "192.168.0.5:7860", True),
        (Door("0.0.0.0", 7860, ""), "evil.example:7860", False),
        (Door("0.0.0.0", 7860, "", "me.hf.space"), "me.hf.space", True),
        (Door("0.0.0.0", 7860, "", "me.hf.space"), "you.hf.space", False),
        (Door("127.0.0.1", 80, ""), "localhost", True),
        (Door("My-Machine.lan", 7860, ""), "my-machine.lan:7860", True),
        (Door("my-machine.lan", 7860, ""), "evil.example:7860", False),
    ],
)
def test_the_names_by_which_it_is_known(door: Door, host: str, is_known: bool) -> None:
    assert door.knows_host(host) is is_known


@pytest.mark.parametrize(
    ("public", "origin", "is_known"),
    [
        ("me.example", "https://me.example", True),
        ("me.example", "http://me.example", True),
        ("me.example", "https://Me.Example:443", True),
        ("me.example", "https://me.example:9000", False),  # somebody else's page on that machine
        ("me.example", "https://me.example.evil.example", False),
        ("me.example", "ftp://me.example", False),
        ("me.example:8443", "https://me.example:8443", True),
        ("me.example:8443", "https://me.example", False),
        ("", "https://", False),
    ],
)
def test_the_pages_that_may_order_through_a_proxy(public: str, origin: str, is_known: bool) -> None:
    assert Door("0.0.0.0", 7860, "", public).knows_origin(origin) is is_known


def test_a_folder_that_is_a_file_is_refused_at_the_start(tmp_path: Path) -> None:
    from audio2img.config import Settings
    from audio2img.errors import MachineError, UsageError
    from audio2img.pipeline.wishes import Wishes
    from audio2img.server.serving import serve

    (tmp_path / "taken").write_text("")
    with pytest.raises(MachineError, match="folder for pictures"):
        serve(Wishes.of({"model": "mini"}, Settings()), tmp_path / "taken" / "x", port=0)
    with pytest.raises(UsageError, match="token"):
        serve(Wishes.of({"model": "mini"}, Settings()), tmp_path, port=0, token="short")
    for public in ("https://me.example", "me.example/", "me example", "mé.example"):
        with pytest.raises(UsageError, match="name"):
            serve(Wishes.of({"model": "mini"}, Settings()), tmp_path, port=0, public=public)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(MachineError, match="listening"):
        serve(Wishes.of({"model": "mini"}, Settings()), tmp_path, port=taken.getsockname()[1])


def test_the_page_is_small_on_its_way_and_not_sent_twice(server: Server) -> None:
    total = 0
    _, page, _ = server.ask("GET", "/")
    for path in ("/", *sorted(set(re.findall(r'"(/static/[^"]+)"', page.decode())))):
        status, data, headers = server.ask("GET", path, headers={"Accept-Encoding": "gzip"})
        assert (status, headers["content-encoding"]) == (200, "gzip")
        total += len(data)
        again = server.ask("GET", path, headers={"If-None-Match": headers["etag"]})
        assert again[:2] == (304, b"")
        assert gzip.decompress(data) == server.ask("GET", path)[1]
    assert total < 60_000


@pytest.mark.parametrize(
    ("asked", "language"),
    [("de-AT,de;q=0.9,en;q=0.5", "de"), ("fr,es;q=0.8", "es"), ("ja", "en"), ("", "en")],
)
def test_the_page_comes_in_the_readers_language(server: Server, asked: str, language: str) -> None:
    page = server.ask("GET", "/", headers={"Accept-Language": asked})[1].decode()
    assert f'lang="{language}"' in page
    texts = json.loads(page.split('id="texts" type="application/json">')[1].split("</script>")[0])
    assert texts == json.loads((STATIC / "texts" / f"{language}.json").read_text(encoding="utf-8"))


def test_a_small_picture_is_kept_for_ever_only_under_its_own_time(server: Server) -> None:
    order = {"prompt": "a star", "options": {"steps": 1}}
    with server.live("tab-small") as live:
        job = server.order("/draw", order, "tab-small")["job"]
        (name,) = wait_for_end(live, job)["pictures"]
    listed = json.loads(server.ask("GET", "/gallery")[1])["pictures"]
    time = next(one["time"] for one in listed if one["name"] == name)
    for asked, kept in ((f"?t={time}", "immutable"), ("?t=5", "no-cache"), ("", "no-cache")):
        status, data, headers = server.ask("GET", f"/thumbnails/{name}{asked}")
        assert (status, data[:4]) == (200, b"RIFF")
        assert kept in headers["cache-control"]
