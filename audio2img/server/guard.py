"""Who is let in: by the name they call us, the page they come from, and the token of this start.

A page of another site can make a browser send requests here, and can give its own name our address (DNS
rebinding): so the name in `Host` is compared with a list, and so is `Origin` where a browser sends one.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

TOKEN = "token"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
SPACES = ".hf.space"  # Hugging Face shows a Space inside a page of its own
POLICY_VIOLATION = 1008

CONTENT_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; worker-src 'self'; base-uri 'none'; form-action 'none'; "
    "object-src 'none'; frame-ancestors {ancestors}"
)


@dataclass(frozen=True)
class Door:
    """Where the server is to be found, and what opens it.

    host, port: where it listens. public: the name under which others reach it, through a proxy, in small
    letters, with its port where that is not the usual one; "" for none.
    token: "" where everybody who gets here may come in.
    """

    host: str
    port: int
    token: str
    public: str = ""

    @property
    def cookie(self) -> str:
        """Its name: browsers share cookies among all ports of a machine."""
        return f"audio2img-{self.port}"

    def knows_host(self, host: str) -> bool:
        """Whether `host`, as a browser writes it, is a name of ours."""
        if self._is_public(host):
            return True
        name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
        if not name:
            name, port = host, ""
        if (port or "80") != str(self.port):
            return False
        if name.lower() in (*LOOPBACK, self.host.lower()):
            return True
        return not self._is_loopback and _is_address(name)

    def knows_origin(self, origin: str) -> bool:
        scheme, _, host = origin.partition("://")
        return (scheme == "http" and self.knows_host(host)) or (scheme == "https" and self._is_public(host))

    def _is_public(self, host: str) -> bool:
        return bool(self.public) and host.lower() in (self.public, f"{self.public}:443", f"{self.public}:80")

    @property
    def _is_loopback(self) -> bool:
        return self.host in ("127.0.0.1", "localhost", "::1")


class Guard:
    """Around the application. What it does not let in gets 403 and a sentence."""

    def __init__(self, app: App, door: Door) -> None:
        self._app, self._door = app, door
        ancestors = "https://huggingface.co" if door.public.endswith(SPACES) else "'none'"
        self._headers = [
            (b"content-security-policy", CONTENT_POLICY.format(ancestors=ancestors).encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-resource-policy", b"same-origin"),
            (b"permissions-policy", b"microphone=(self), camera=(), geolocation=()"),
        ]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        if not self._is_from_us(scope, headers):
            await self._refuse(scope, send, "this address is not one of ours; open the one that was printed")
        elif self._brings_token(scope):
            await self._app(scope, receive, self._with_headers(send, self._cookie))
        elif not self._has_cookie(headers):
            await self._refuse(scope, send, "open the address that audio2img serve printed: it has a token")
        else:
            await self._app(scope, receive, self._with_headers(send))

    def _is_from_us(self, scope: Message, headers: dict[str, str]) -> bool:
        if sum(name.lower() == b"host" for name, _ in scope["headers"]) != 1:
            return False
        if not self._door.knows_host(headers["host"]):
            return False
        origin = headers.get("origin")
        if origin is not None:
            return self._door.knows_origin(origin)
        needs_origin = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        return not needs_origin or "sec-fetch-site" not in headers

    def _brings_token(self, scope: Message) -> bool:
        if scope["type"] != "http" or scope["path"] != "/" or not self._door.token:
            return False
        given = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        return TOKEN in given and _is_same(given[TOKEN], self._door.token)

    def _has_cookie(self, headers: dict[str, str]) -> bool:
        if not self._door.token:
            return True
        # By hand: a cookie that another program of this machine set may be nothing that a parser takes.
        pairs = (one.strip().partition("=") for one in headers.get("cookie", "").split(";"))
        return any(
            name == self._door.cookie and _is_same(value, self._door.token) for name, _, value in pairs
        )

    @property
    def _cookie(self) -> tuple[bytes, bytes]:
        """What the token becomes; the page takes it out of the address, which people show to others."""
        secure = "; Secure" if self._door.public else ""
        cookie = f"{self._door.cookie}={self._door.token}; HttpOnly; SameSite=Strict; Path=/{secure}"
        return b"set-cookie", cookie.encode()

    async def _refuse(self, scope: Message, send: Send, why: str) -> None:
        if scope["type"] == "websocket":  # before it was accepted: the browser sees 403
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        headers = [*self._headers, (b"content-type", b"text/plain; charset=utf-8")]
        await _answer(send, 403, why.encode(), headers)

    def _with_headers(self, send: Send, *more: tuple[bytes, bytes]) -> Send:
        async def send_with(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *self._headers, *more]
            await send(message)

        return send_with


def _is_same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def _is_address(name: str) -> bool:
    """Whether `name` is a number, which no foreign name can be made to mean."""
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
