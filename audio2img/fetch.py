"""One file from an address that a person gave: http or https, into a bounded temporary file.

Such an address may be made to reach what only this machine can reach. So it is taken apart once, its
name is resolved once, and the connection goes to the very address that was checked, under the name that
was asked for (Host, SNI, certificate); so do redirects, each anew. Proxies of the environment are not
used: they would resolve the name a second time, out of sight. Everything waits in short steps, so that
whoever cancels is heard while a server is silent. Special addresses: RFC 6890, RFC 4291, RFC 6052.
"""

from __future__ import annotations

import contextlib
import errno
import http
import http.client
import io
import ipaddress
import os
import queue
import re
import selectors
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import IO, TYPE_CHECKING, Any, BinaryIO, TypeVar, cast
from urllib.parse import quote, unquote, urljoin, urlsplit

from audio2img.config import is_offline
from audio2img.errors import InputError, MachineError

if TYPE_CHECKING:
    import ssl

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Result = TypeVar("Result")

POLL_S = 0.1  # how soon somebody who cancels is heard
BLOCK_BYTES = 256 << 10
LONGEST_ADDRESS = 4096
REDIRECTS = (301, 302, 303, 307, 308)
WANT_SIGN_IN = (401, 402, 403, 407)

_HOST = re.compile(r"[A-Za-z0-9._:-]+(%[A-Za-z0-9]+)?")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_EMBEDDING = (ipaddress.IPv6Network("2001::/23"), ipaddress.IPv6Network("2002::/16"))  # Teredo, 6to4
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_INSIDE = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # taken for global by older Pythons
    ipaddress.IPv4Network("168.63.129.16"),  # serves each virtual machine on Azure its own secrets
)


@dataclass(frozen=True)
class Expected:
    """What to fetch, and how much of it at most.

    what: in messages, "a recording". types: how its Content-Type may begin; "" allows none to be given.
    silent_s: how long a server may say nothing; silent_connect_s: and an address not answer, before
    the next one is tried; total_s: how long all of it may take.
    """

    what: str
    types: tuple[str, ...]
    max_bytes: int
    silent_s: float = 20.0
    silent_connect_s: float = 6.0
    total_s: float = 900.0
    max_redirects: int = 5


def name_of_url(url: str) -> str:
    """What a file from there is called: the last part of the path, without a query, which may be secret."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        name = unquote(parts.path).replace("\\", "/").rstrip("/").rpartition("/")[2]
        return "".join(one for one in name if one.isprintable())[:100] or (parts.hostname or "the address")
    return "the address"


def check_url(url: str) -> None:
    """Raises what `fetch` would, as far as it shows without the network. InputError, MachineError."""
    target = _parse(url)
    if (address := _written_address(target.host)) is not None and not is_public(address):
        raise _inside(target)
    _check_network()


def _check_network() -> None:
    if is_offline():
        raise MachineError(
            "an address cannot be read: the network is off (--offline or HF_HUB_OFFLINE)",
            "download the file, and give its name; or leave --offline out",
        )


def is_public(address: Address) -> bool:
    """True for an address of the internet: not of this machine, a network around it, or a special use."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:  # how IPv4 is reached from a network that has none
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address not in _GLOBAL_UNICAST or any(address in network for network in _EMBEDDING):
            return False
    elif any(address in network for network in _INSIDE):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def is_elsewhere(address: Address) -> bool:
    """True for a public address that is neither this machine's own nor of the network that it is in.

    Networks are taken for as wide as they usually are: /24 for IPv4, /64 for IPv6.
    """
    if not is_public(address):
        return False
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    own = _own_address_towards(address)
    if own is None or own.version != address.version:
        return True
    host_bits = 8 if address.version == 4 else 64
    return int(own) >> host_bits != int(address) >> host_bits


@contextmanager
def fetch(
    url: str,
    expected: Expected,
    *,
    progress: Callable[[float | None], None] = lambda done: None,
    check: Callable[[], None] = lambda: None,
    is_allowed: Callable[[Address], bool] | None = None,
) -> Iterator[BinaryIO]:
    """What is at `url`, as an open binary file at its beginning, called as the address is (`name_of_url`).

    It is gone when the block ends. progress: told the share that has arrived, None where the length is
    not known. check: called several times a second; what it raises ends the fetch.
    is_allowed: which addresses may be connected to; `is_elsewhere` unless given.
    Raises InputError: no http address, an address of this machine or its networks, no answer, not what is
    expected, too large, too slow, cut off. MachineError: the network is off, the disk is full.
    """
    _parse(url)
    _check_network()
    deadline = _Deadline(expected, name_of_url(url), check)
    with tempfile.TemporaryFile(buffering=0) as file:
        _fetch_into(file, url, expected, deadline, progress, is_allowed or is_elsewhere)
        file.seek(0)
        file.name = name_of_url(url)
        yield cast(BinaryIO, file)


# Where it is


@dataclass(frozen=True)
class _Target:
    """An address, taken apart once, so that what is checked is what is asked."""

    scheme: str
    host: str  # in ASCII; an IPv6 address without brackets
    port: int
    path: str  # with the query

    @property
    def is_secure(self) -> bool:
        return self.scheme == "https"


def _parse(url: str) -> _Target:
    scheme = url.partition("://")[0].lower()
    if scheme not in ("http", "https"):
        raise InputError(
            f"{scheme[:20]}:// addresses are not read", "give an http or https address, or a file's name"
        )
    bad = InputError("this is no address that can be read", "check it: https://example.org/memo.mp3")
    if len(url) > LONGEST_ADDRESS:
        raise bad
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if scheme == "https" else 80)
        host = (parts.hostname or "").rstrip(".")
        host = host if host.isascii() else host.encode("idna").decode("ascii")
    except ValueError:  # UnicodeError, too
        raise bad from None
    if parts.username is not None or parts.password is not None:
        raise InputError(
            "an address with a user's name or password in it is not read",
            "download the file yourself, and give its name",
        )
    if not _HOST.fullmatch(host):
        raise bad
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return _Target(scheme, host, port, f"{path}?{query}" if query else path)


def _written_address(host: str) -> Address | None:
    """The address that a host is, in any way to write one ("127.1", "0x7f000001"); None for a name."""
    try:
        rows = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
        return ipaddress.ip_address(rows[0][4][0])
    except (OSError, ValueError):
        return None


def _inside(target: _Target) -> InputError:
    return InputError(
        f"{target.host} is an address of this machine or its networks, which is not read for safety",
        "download the file yourself, and give its name",
    )


def _own_address_towards(address: Address) -> Address | None:
    """This machine's address on the way to `address`, by the routing table alone; nothing is sent."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return ipaddress.ip_address(probe.getsockname()[0])
    except (OSError, ValueError):
        return None


# Waiting


class _Deadline:
    """How long may still be waited, and who may end it before that."""

    def __init__(self, expected: Expected, name: str, check: Callable[[], None]) -> None:
        self.name = name
        self.silent_s = expected.silent_s
        self.silent_connect_s = expected.silent_connect_s
        self._end_s = time.monotonic() + expected.total_s
        self._total_s = expected.total_s
        self._check = check

    def wait(self, is_ready: Callable[[float], object], limit_s: float, what: str) -> None:
        """Until `is_ready`, which waits for the seconds that it is given, says so.

        Raises TimeoutError after `limit_s`: `what` says what there was none of.
        """
        since_s = time.monotonic()
        while not is_ready(POLL_S):
            self.check()
            if time.monotonic() - since_s >= limit_s:
                raise TimeoutError(f"{what} for {limit_s:.0f} s")

    def check(self) -> None:
        """Also where there is no waiting: a fast server may send for ever."""
        self._check()
        if time.monotonic() >= self._end_s:
            raise InputError(
                f"{self.name} has not arrived within {self._total_s:.0f} s",
                "download it yourself, and give the file's name",
            )


def _unreachable(name: str, reason: str) -> InputError:
    return InputError(f"{name} cannot be fetched: {reason}", "check the address and the network, try again")


def _resolve(target: _Target, deadline: _Deadline) -> list[Address]:
    """All addresses of the host, best first. In a thread: nobody can interrupt a resolver."""
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    answer: Any = None

    def is_ready(timeout_s: float) -> bool:
        nonlocal answer
        with contextlib.suppress(queue.Empty):
            answer = answers.get(timeout=timeout_s)
        return answer is not None

    deadline.wait(is_ready, deadline.silent_s, f"no answer about the name {target.host}")
    if isinstance(answer, Exception):
        raise _unreachable(deadline.name, f"the name {target.host} is not known")
    return list(dict.fromkeys(ipaddress.ip_address(row[4][0]) for row in answer))


class _Wire(io.RawIOBase):
    """A connection to one address, TLS in it for https, as a file that is read and `sendall`.

    What http.client takes for a socket; its own `close` is deaf to it, so that `hang_up` decides.
    """

    def __init__(self, target: _Target, address: Address, deadline: _Deadline) -> None:
        self._deadline = deadline
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        self._socket: socket.socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setblocking(False)
            self._connect(str(address), target.port)
            if target.is_secure:
                self._socket = certificates().wrap_socket(
                    self._socket, server_hostname=target.host, do_handshake_on_connect=False
                )
                self._insist(self._socket.do_handshake, selectors.EVENT_READ)
        except BaseException:
            self._socket.close()
            raise

    def _connect(self, address: str, port: int) -> None:
        code = self._socket.connect_ex((address, port))
        if code not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", 0)):
            raise OSError(code, os.strerror(code))
        self._wait(selectors.EVENT_WRITE, self._deadline.silent_connect_s, "the server does not answer")
        if code := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, os.strerror(code))

    def _wait(self, event: int, limit_s: float, what: str) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, event)
            self._deadline.wait(selector.select, limit_s, what)

    def _insist(self, step: Callable[[], Result], event: int) -> Result:
        """What `step` gives, as soon as it need not wait; `event` is what it waits for without TLS."""
        import ssl

        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                awaited = selectors.EVENT_READ
            except ssl.SSLWantWriteError:
                awaited = selectors.EVENT_WRITE
            except BlockingIOError:
                awaited = event
            self._wait(awaited, self._deadline.silent_s, "the server sends nothing")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._deadline.check()
        return self._insist(lambda: self._socket.recv_into(buffer), selectors.EVENT_READ)

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._insist(lambda: self._socket.send(rest), selectors.EVENT_WRITE) :]  # noqa: B023

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self, BLOCK_BYTES)

    def close(self) -> None:
        pass

    def hang_up(self) -> None:
        self._socket.close()


@cache
def certificates() -> ssl.SSLContext:
    """The certificates of the system (or SSL_CERT_FILE) and certifi."""
    import ssl

    import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())  # python.org's macOS Python comes with none
    return context


# Asking


def _fetch_into(
    file: IO[bytes],
    url: str,
    expected: Expected,
    deadline: _Deadline,
    progress: Callable[[float | None], None],
    is_allowed: Callable[[Address], bool],
) -> None:
    """Follow `url` through its redirects, and write down what is in the end there."""
    for _ in range(expected.max_redirects + 1):
        target = _parse(url)
        try:
            with _ask(target, deadline, is_allowed) as response:
                if response.status not in REDIRECTS:
                    _receive(file, response, expected, deadline, progress)
                    return
                location = _location(response, deadline.name)
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(deadline.name, _reason(error)) from None
        try:
            url = urljoin(url, location)
        except ValueError:
            raise _unreachable(deadline.name, "it is redirected to what is no address") from None
        if target.is_secure and not url.lower().startswith("https://"):
            raise _unreachable(deadline.name, "it is redirected from https to what is not")
    raise _unreachable(deadline.name, f"it is redirected more than {expected.max_redirects} times")


def _location(response: http.client.HTTPResponse, name: str) -> str:
    """Header lines are read as Latin-1 (RFC 9110, 5.5), where servers write UTF-8."""
    location = (response.headers.get("Location") or "").strip()
    with contextlib.suppress(UnicodeError):
        location = location.encode("latin-1").decode("utf-8")
    if not location:
        raise _unreachable(name, "it is redirected to nowhere")
    return location


@contextmanager
def _ask(
    target: _Target, deadline: _Deadline, is_allowed: Callable[[Address], bool]
) -> Iterator[http.client.HTTPResponse]:
    """The answer to GET, from the first allowed address of the host that takes the connection."""
    wire = _connect(target, deadline, is_allowed)
    try:
        connection = http.client.HTTPConnection(target.host, target.port)
        connection.default_port = 443 if target.is_secure else 80  # what Host need not say
        connection.sock = wire
        headers = {"User-Agent": "audio2img", "Accept-Encoding": "identity", "Connection": "close"}
        connection.request("GET", target.path, headers=headers)
        with contextlib.closing(connection.getresponse()) as response:
            yield response
    finally:
        wire.hang_up()


def _connect(target: _Target, deadline: _Deadline, is_allowed: Callable[[Address], bool]) -> _Wire:
    allowed = [address for address in _resolve(target, deadline) if is_allowed(address)]
    if not allowed:
        raise _inside(target)
    failure: OSError = OSError("no address")
    for address in allowed:
        try:
            return _Wire(target, address, deadline)
        except OSError as error:
            failure = error
    raise failure


def _receive(
    file: IO[bytes],
    response: http.client.HTTPResponse,
    expected: Expected,
    deadline: _Deadline,
    progress: Callable[[float | None], None],
) -> None:
    total = _check_answer(response, expected, deadline.name)
    have = 0
    while block := response.read1(BLOCK_BYTES):
        have += len(block)
        if have > expected.max_bytes:
            raise _too_large(expected, deadline.name)
        _write(file, block)
        progress(have / total if total else None)
    if total is not None and have < total:
        raise _unreachable(deadline.name, f"the connection broke after {have:,} of {total:,} bytes")
    if not have:
        raise InputError(f"{deadline.name} is empty", "check the address")


def _check_answer(response: http.client.HTTPResponse, expected: Expected, name: str) -> int | None:
    """How many bytes are to come, where the server says so. Raises InputError for what is not expected."""
    if response.status != http.HTTPStatus.OK:
        phrases = {status.value: status.phrase for status in http.HTTPStatus}  # ours, not the server's
        phrase = phrases.get(response.status, "")
        raise InputError(
            f"{name} cannot be fetched: the server answers {response.status} {phrase}".rstrip(),
            "download it where you are signed in, and give the file's name"
            if response.status in WANT_SIGN_IN
            else "check the address",
        )
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if not any(kind.startswith(one) if one else not kind for one in expected.types):
        told = "a web page" if kind in ("text/html", "application/xhtml+xml") else f"“{kind[:40] or '?'}”"
        raise InputError(
            f"{name} is {told} and not {expected.what}", f"give the address of {expected.what} itself"
        )
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise _unreachable(name, "the server packs what should come as it is")
    if response.length is not None and response.length > expected.max_bytes:
        raise _too_large(expected, name)
    return response.length


def _too_large(expected: Expected, name: str) -> InputError:
    return InputError(
        f"{name} is larger than {expected.max_bytes / 1e6:,.0f} MB, the most that is fetched",
        "download it yourself, and give the file's name",
    )


def _write(file: IO[bytes], block: bytes) -> None:
    """All of it: an unbuffered file may take a part."""
    rest = memoryview(block)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise MachineError(
            f"the temporary folder {tempfile.gettempdir()} cannot be written: {error.strerror}",
            "make room on its disk, or set TMPDIR to another folder",
        ) from error


def _reason(error: Exception) -> str:
    """In our words where those of the library say little; never longer than a line."""
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid ({error.verify_message})"
    if isinstance(error, http.client.IncompleteRead):
        return "the connection broke"
    if isinstance(error, http.client.HTTPException):
        return "the server does not speak HTTP as it should"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:200]
