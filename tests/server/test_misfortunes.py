"""What goes wrong around a real server: its folder, its disk, those who ask it to end, and ask again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from audio2img.server.serving import _listen
from tests.server.clients import Server, run_server, wait_for, wait_for_end

pytestmark = pytest.mark.slow

DEMO = Path(__file__).parents[2] / "models" / "mini" / "demo.flac"
STAR = {"prompt": "a star", "options": {"steps": 1}}


def test_a_folder_that_somebody_removes_is_made_again(tmp_path: Path) -> None:
    running = run_server(tmp_path)
    server = next(running)
    with server.live("tab-removed") as socket:
        wait_for(socket, "hello")
        server.pictures.rmdir()
        heard = server.hear(DEMO.read_bytes(), {}, "tab-removed")
        assert wait_for_end(socket, heard)["state"] == "done"
        server.pictures.rmdir()
        drawn = server.order("/draw", STAR, "tab-removed")["job"]
        picture = server.pictures / wait_for_end(socket, drawn)["pictures"][0]
        data = picture.read_bytes()
        shutil.rmtree(server.pictures)
        start = server.order("/start-picture?name=x.png", data, "tab-removed")["start"]
        shutil.rmtree(server.pictures)
        order = {**STAR, "options": {"init_image": start}}
        status, said, _ = server.ask("POST", "/draw", order, tab="tab-removed")
        assert (status, b"not here any more" in said) == (422, True)
    with pytest.raises(StopIteration):  # which checks how it ended
        next(running)


def test_a_folder_that_cannot_be_read_is_told_and_its_news_go_on_after_it(tmp_path: Path) -> None:
    running = run_server(tmp_path)
    server = next(running)
    with server.live("tab-before") as before:
        wait_for(before, "hello")
        server.pictures.rmdir()
        server.pictures.write_text("no folder")
        with server.live("tab-while") as meanwhile:
            assert "cannot read the pictures" in wait_for(meanwhile, "error")["message"]
        drawn = server.order("/draw", STAR, "tab-before")["job"]
        assert wait_for_end(before, drawn)["state"] == "failed"
        server.pictures.unlink()
        drawn = server.order("/draw", STAR, "tab-before")["job"]
        assert wait_for_end(before, drawn)["state"] == "done"
        assert wait_for(before, "gallery")["version"]
    with pytest.raises(StopIteration):
        next(running)


@pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit, which only Linux has")
def test_what_a_killed_server_was_given_is_gone_with_the_next(tmp_path: Path) -> None:
    running = run_server(tmp_path)
    server = next(running)
    with server.live("tab-killed") as socket:
        drawn = server.order("/draw", STAR, "tab-killed")["job"]
        picture = server.pictures / wait_for_end(socket, drawn)["pictures"][0]
        server.order("/start-picture?name=x.png", picture.read_bytes(), "tab-killed")
    server.process.kill()
    server.process.wait()
    running.close()
    (left,) = set(server.pictures.iterdir()) - {picture}
    os.utime(left, (0, 0))  # long ago: before that it may be somebody's on another machine
    running = run_server(tmp_path)
    next(running)
    assert list(server.pictures.iterdir()) == [picture]
    with pytest.raises(StopIteration):
        next(running)


def test_a_disk_that_is_full_is_said_in_words(tmp_path: Path) -> None:
    import resource

    running = run_server(tmp_path)
    server = next(running)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (20_000, 20_000))
    for path in ("/hear?name=memo.wav", "/start-picture?name=x.png"):
        status, data, _ = server.ask("POST", path, bytes(100_000), tab="tab-full")
        assert (status, b"what was sent cannot be kept" in data) == (422, True), data
    assert list(server.pictures.iterdir()) == []
    with pytest.raises(StopIteration):
        next(running)


def test_pages_that_close_as_soon_as_they_open_are_no_fault(tmp_path: Path) -> None:
    running = run_server(tmp_path)
    server = next(running)
    for number in range(30):
        with server.live(f"tab-fast-{number}") as live:
            if number % 2:
                wait_for(live, "hello")
    for _ in range(30):
        with server.live("tab-lost") as live:
            live.send(json.dumps({"do": "model", "name": "mini"}))
            live.socket.shutdown(socket.SHUT_RDWR)  # without a word
    assert server.ask("GET", "/gallery")[0] == 200
    with pytest.raises(StopIteration):  # no traceback
        next(running)


def test_closing_ends_what_is_still_being_sent(tmp_path: Path) -> None:
    running = run_server(tmp_path)
    server = next(running)
    head = (
        f"POST /hear?name=x.wav HTTP/1.1\r\nHost: {server.host}\r\nCookie: {server.cookie}\r\n"
        "X-Tab: tab-half\r\nContent-Length: 5000000\r\n\r\nRIFF"
    )
    with socket.create_connection(("127.0.0.1", server.port), 30) as raw:
        raw.sendall(head.encode())
        assert server.ask("GET", "/gallery")[0] == 200  # by now it has been read
        with pytest.raises(StopIteration):  # no traceback
            next(running)


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_asking_twice_to_close_is_asking_once(tmp_path: Path, asked: signal.Signals) -> None:
    running = run_server(tmp_path)
    server = next(running)
    with server.live("tab-twice") as live:
        drawn = server.order("/draw", STAR, "tab-twice")["job"]
        picture = server.pictures / wait_for_end(live, drawn)["pictures"][0]
        server.order("/start-picture?name=x.png", picture.read_bytes(), "tab-twice")
        while server.process.poll() is None:  # again and again, until it has ended
            server.process.send_signal(asked)
            try:
                server.process.wait(0.01)
            except subprocess.TimeoutExpired:
                continue
    assert server.process.returncode == 0
    assert list(server.pictures.iterdir()) == [picture]
    with pytest.raises(StopIteration):
        next(running)


def test_a_recording_that_nobody_can_hear_now_is_refused_before_it_is_sent(server: Server) -> None:
    order = {**STAR, "options": {"steps": 900}}
    for _ in range(4):
        server.order("/draw", order, "tab-busy")
    head = (
        f"POST /hear?name=x.wav HTTP/1.1\r\nHost: {server.host}\r\nCookie: {server.cookie}\r\n"
        "X-Tab: tab-busy\r\nContent-Length: 5000000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), 30) as raw:
        raw.sendall(head.encode())
        assert raw.recv(4096).startswith(b"HTTP/1.1 429")
    assert server.order("/stop", {}, "tab-busy") == {"stopped": 4}


def test_orders_of_an_odd_kind_stop_and_change_nothing(server: Server) -> None:
    with server.live("tab-kinds") as live:
        order = {**STAR, "options": {"steps": 900}}
        job = server.order("/draw", order, "tab-kinds")["job"]
        for path, body in (
            ("/stop", {"job": int(job)}),
            ("/revise", {"prompt": 5, "said": "make it red"}),
            ("/revise", {"prompt": "a tree", "said": "\ud800"}),
            ("/revise", {"prompt": "a tree", "said": "make it red", "model": 5}),
        ):
            status, data, _ = server.ask("POST", path, body, tab="tab-kinds")
            assert (status, "message" in json.loads(data)) == (422, True), (path, body, data)
        assert server.order("/stop", {"job": job}, "tab-kinds") == {"stopped": 1}
        wait_for_end(live, job)


def test_every_address_means_the_old_kind_too() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("needs both kinds of addresses")
    with _listen("::", 0) as listening:
        port = listening.getsockname()[1]
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port), 30).close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_few_files_to_open_leave_room_for_all_connections(tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1024:
        pytest.skip("this machine gives no process enough")
    running = run_server(tmp_path)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))  # as on macOS
    try:
        server = next(running)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    silent = [socket.create_connection(("127.0.0.1", server.port), 30) for _ in range(300)]
    assert server.ask("GET", "/gallery")[0] == 200
    for one in silent:
        one.close()
    with pytest.raises(StopIteration):
        next(running)
