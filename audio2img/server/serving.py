"""From a studio to a server: an address, a token, and uvicorn until somebody ends it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import secrets
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from audio2img.background import in_background
from audio2img.errors import MachineError, UsageError
from audio2img.files import clear_leftovers
from audio2img.server.app import make_app
from audio2img.server.guard import Door
from audio2img.server.studio import Limits, Studio
from audio2img.server.welcome import FIRST_PICTURES

if TYPE_CHECKING:
    from audio2img.pipeline.wishes import Wishes

MOST_CONNECTIONS = 512
MOST_FILES = 2 * MOST_CONNECTIONS  # open at once: each connection may bring one
MAX_BLOCK_BYTES = 1 << 20  # of one message over the socket
BACKLOG = 256
NO_TOKEN = "none"


def serve(
    wishes: Wishes,
    pictures: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    token: str | None = None,
    public: str = "",
    on_ready: Callable[[str], None] = lambda address: None,
    limits: Limits = Limits(),
) -> None:
    """Serve the page until the process is asked to end (Ctrl-C, SIGTERM).

    port: 0 takes a free one. token: what opens the page, "none" for no token, None for one made up now.
    public: the name under which others reach the server, through a proxy.
    on_ready: gets the address to open, once there is somebody to answer.

    Raises MachineError for an address that cannot be had, UsageError for what does not fit into one,
    ModelError when the usual models cannot be found.
    """
    listening = _listen(host, port)
    with listening:
        door = Door(host, listening.getsockname()[1], _check_token(token), _check_public(public))
        _make_folder(pictures)
        _allow_files(MOST_FILES)
        studio = Studio(wishes, pictures, limits)
        server = _make_server(studio, door)
        with _ended_by_signals(server):
            try:
                studio.hands.preload()
                in_background(lambda: studio.gallery.page(0, FIRST_PICTURES))  # of a large folder
                asyncio.run(_run(server, listening, lambda: on_ready(address_of(door))))
            finally:
                studio.close()


def _make_server(studio: Studio, door: Door) -> uvicorn.Server:
    config = uvicorn.Config(
        make_app(studio, door),
        log_level="warning",
        lifespan="off",
        limit_concurrency=MOST_CONNECTIONS,
        ws_max_size=MAX_BLOCK_BYTES,
        timeout_graceful_shutdown=2,
        server_header=False,
    )
    return _Server(config)


async def _run(server: uvicorn.Server, listening: socket.socket, on_ready: Callable[[], None]) -> None:
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if server.started:
        on_ready()
    await serving


@contextlib.contextmanager
def _ended_by_signals(server: uvicorn.Server) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the server, and do not cut off what the block does after it.

    A process that was asked once is not asked again: it lets nothing disturb its end.
    """

    def end(number: int, frame: FrameType | None) -> None:
        server.should_exit = True

    before = {one: signal.signal(one, end) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, signal.SIG_IGN if server.should_exit else handler)


class _Server(uvicorn.Server):
    """`_ended_by_signals` hears the signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def address_of(door: Door) -> str:
    """What to open in a browser."""
    token = f"?token={door.token}" if door.token else ""
    if door.public:
        return f"https://{door.public}/{token}"
    host = "127.0.0.1" if door.host in ("0.0.0.0", "::") else door.host
    return f"http://{f'[{host}]' if ':' in host else host}:{door.port}/{token}"


def _check_token(token: str | None) -> str:
    if token is None:
        return secrets.token_urlsafe(16)
    if token == NO_TOKEN:
        return ""
    if len(token) < 8 or not token.isascii() or not token.replace("-", "").replace("_", "").isalnum():
        raise UsageError(
            "that token cannot stand in an address",
            "take 8 or more letters, digits, - or _; leave --token out for one that is made up",
        )
    return token


def _check_public(public: str) -> str:
    """The name in small letters."""
    if not re.fullmatch(r"(?:[A-Za-z0-9.-]+(?::\d{1,5})?)?", public):
        raise UsageError(
            f"{public!r} is no name that a browser could ask for",
            "give the name alone, such as pictures.example.org, without https:// and /",
        )
    return public.lower()


def _listen(host: str, port: int) -> socket.socket:
    """Raises MachineError for a port that is taken, or an address that is none of this machine."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        both = host == "::" and socket.has_dualstack_ipv6()  # every address, as 0.0.0.0 is of the old kind
        return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise MachineError(
                f"something else is listening at {host}:{port} already, perhaps another audio2img serve",
                "open that one, or take another port: `port=0` finds a free one",
            ) from error
        raise MachineError(
            f"nobody can be listened to at {host}:{port}: {error.strerror or error}",
            "leave `host` out for this machine alone, or give another `port`",
        ) from error


def _allow_files(wanted: int) -> None:
    """So many may be open at once, as far as the system lets us: macOS gives a process 256 unless it asks."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _make_folder(pictures: Path) -> None:
    try:
        pictures.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(
            f"the folder for pictures {pictures} cannot be made: {error.strerror}",
            "choose another one: `output=FOLDER`",
        ) from error
    clear_leftovers(pictures)  # what visitors had brought to a server that was killed
