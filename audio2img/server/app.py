"""The routes of the page: what it is made of, the gallery, and what it orders."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from audio2img.errors import Audio2ImgError, InputError, UsageError
from audio2img.faults import as_told
from audio2img.output.pictures import read_own_record
from audio2img.server.gallery import NotInGalleryError, settings_of
from audio2img.server.guard import App, Door, Guard
from audio2img.server.jobs import Visitor, as_table
from audio2img.server.live import serve_tab
from audio2img.server.orders import MAX_ORDER_BYTES, MAX_PROMPT, parse_draw, parse_hear, read_json, text_of
from audio2img.server.studio import Studio, TooManyJobsError
from audio2img.server.uploads import clean_name

STATIC = Path(__file__).parent / "static"
SERVED = {".js": "text/javascript", ".css": "text/css"}
LANGUAGES = ("en", "de", "es")
TEXTS_MARK = "<!--texts-->"
TAB = re.compile(r"[A-Za-z0-9_-]{8,64}")
MAX_PICTURE_BYTES = 64 << 20
SLOW_S = 30.0  # without another piece of what is being sent
FOR_EVER = {"cache-control": "private, max-age=31536000, immutable"}
ASK_AGAIN = {"cache-control": "no-cache"}


class TooLargeError(UsageError):
    """More is sent than is taken."""


Handler = Callable[[Request], Awaitable[Response]]


def _told(handler: Handler) -> Handler:
    """Around an order: what is wrong with it, in the words of the terminal."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except ClientDisconnect:
            return Response(status_code=400)
        except asyncio.CancelledError:  # the server is being closed: nobody waits for what comes slowly
            return PlainTextResponse("the server is being closed", 503)
        except NotInGalleryError:
            return PlainTextResponse("there is no such picture", 404)
        except Exception as error:
            return JSONResponse(as_table(as_told(error)), _status_of(error))

    return answer


def _status_of(error: Exception) -> int:
    if isinstance(error, TooLargeError):
        return 413
    if isinstance(error, TooManyJobsError):
        return 429
    return 422 if isinstance(error, Audio2ImgError) else 500


class Routes:
    """What each address does. Files are read in threads: a slow disk holds nobody else up."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def all(self) -> list[Route | WebSocketRoute]:
        gets = {
            "/": self.page,
            "/static/{name}": self.static,
            "/gallery": self.gallery,
            "/pictures/{name}": self.picture,
            "/thumbnails/{name}": self.thumbnail,
            "/records/{name}": self.record,
        }
        posts = {
            "/records": self.read_record,
            "/draw": self.draw,
            "/hear": self.hear,
            "/stop": self.stop,
            "/revise": self.revise,
            "/start-picture": self.take_start,
        }
        return [
            *(Route(path, _told(handler), methods=["GET"]) for path, handler in gets.items()),
            *(Route(path, _told(handler), methods=["POST"]) for path, handler in posts.items()),
            WebSocketRoute("/live", self.live),
        ]

    # What the page is made of

    async def page(self, request: Request) -> Response:
        language = _language_of(request)
        page, texts = await asyncio.to_thread(_read_page, language)
        # No text may end the element that it stands in.
        block = f'<script id="texts" type="application/json">{texts.replace("<", chr(92) + "u003c")}</script>'
        html = page.replace(TEXTS_MARK, block).replace('lang="en"', f'lang="{language}"', 1)
        return _packed(request, html.encode(), "text/html; charset=utf-8")

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        suffix = Path(name).suffix
        if suffix not in SERVED or name not in {one.name for one in STATIC.iterdir()}:
            return PlainTextResponse("there is no such file", 404)
        return _packed(request, (STATIC / name).read_bytes(), SERVED[suffix])

    # The gallery

    async def gallery(self, request: Request) -> Response:
        start, count = _number(request, "from", 0), _number(request, "count", 60)
        page = await asyncio.to_thread(self.studio.gallery.page, start, count)
        return JSONResponse(page.to_json(), headers=ASK_AGAIN)

    async def picture(self, request: Request) -> Response:
        def read() -> tuple[bytes, str]:
            with self.studio.gallery.open(request.path_params["name"]) as opened:
                opened.file.seek(0)
                return opened.file.read(), opened.media_type

        data, media_type = await asyncio.to_thread(read)
        return Response(data, media_type=media_type, headers=ASK_AGAIN)

    async def thumbnail(self, request: Request) -> Response:
        small = await asyncio.to_thread(self.studio.gallery.thumbnail, request.path_params["name"])
        is_asked_for = request.query_params.get("t") == str(small.time_ns)  # and not what took its place
        return Response(small.data, media_type="image/webp", headers=FOR_EVER if is_asked_for else ASK_AGAIN)

    async def record(self, request: Request) -> Response:
        record = await asyncio.to_thread(self.studio.gallery.record, request.path_params["name"])
        return JSONResponse(settings_of(record))

    async def read_record(self, request: Request) -> Response:
        data = await _body(request, MAX_PICTURE_BYTES)
        record = await asyncio.to_thread(read_own_record, io.BytesIO(data), "this picture")
        return JSONResponse(settings_of(record))

    # Orders

    async def draw(self, request: Request) -> Response:
        visitor = self._visitor(request)
        order = parse_draw(read_json(await _body(request, MAX_ORDER_BYTES)), self.studio.wishes)
        job = await asyncio.to_thread(self.studio.draw, visitor, order)
        return JSONResponse({"job": job.view.id}, 202)

    async def hear(self, request: Request) -> Response:
        visitor = self._visitor(request)
        order = parse_hear(read_json(request.query_params.get("order", "{}")), self.studio.wishes)
        name = clean_name(request.query_params.get("name", "")) or "recording"
        self.studio.check_room(visitor)  # before it is sent
        recording = await asyncio.to_thread(self.studio.uploads.new_recording, name)
        try:
            with self.studio.uploads.filling():
                await _receive(request, recording, self.studio.limits.upload_bytes)
                await asyncio.to_thread(recording.seek, 0)
            job = await asyncio.to_thread(self.studio.hear, visitor, recording, name, order)
        except BaseException:
            with suppress(OSError):  # of a disk that is full
                recording.close()
            raise
        return JSONResponse({"job": job.view.id}, 202)

    async def stop(self, request: Request) -> Response:
        table = read_json(await _body(request, MAX_ORDER_BYTES))
        stopped = self.studio.stop(self._visitor(request), text_of(table, "job") or None)
        return JSONResponse({"stopped": stopped})

    async def revise(self, request: Request) -> Response:
        from audio2img.prompt import revise

        table = read_json(await _body(request, MAX_ORDER_BYTES))
        prompt, said = (text_of(table, name, MAX_PROMPT) for name in ("prompt", "said"))
        in_mini_world = self._in_mini_world(text_of(table, "model") or None)
        revision = await asyncio.to_thread(revise, prompt, said, in_mini_world=in_mini_world)
        return JSONResponse(asdict(revision))

    async def take_start(self, request: Request) -> Response:
        visitor = self._visitor(request)
        data = await _body(request, MAX_PICTURE_BYTES)
        name = clean_name(request.query_params.get("name", "")) or "picture.png"
        token = await asyncio.to_thread(self.studio.uploads.keep_picture, visitor, name, data)
        return JSONResponse({"start": token})

    async def live(self, socket: WebSocket) -> None:
        tab = socket.query_params.get("tab", "")
        if TAB.fullmatch(tab):
            await serve_tab(socket, self.studio, tab)
        else:
            await socket.close(1008)

    def _visitor(self, request: Request) -> Visitor:
        tab = request.headers.get("x-tab", "")
        if not TAB.fullmatch(tab):
            raise UsageError("the order names no tab", "load the page again")
        return self.studio.visitor(tab)

    def _in_mini_world(self, model: str | None) -> bool:
        self.studio.hands.check(model)
        return self.studio.hands.vocabulary(model) == "mini_world"


def make_app(studio: Studio, door: Door) -> App:
    """The whole application, as any ASGI server runs it."""
    return Guard(Starlette(routes=Routes(studio).all()), door)


def _language_of(request: Request) -> str:
    """The first of ours that the reader prefers."""
    asked = [request.query_params.get("lang", ""), *request.headers.get("accept-language", "").split(",")]
    for one in asked:
        language = one.split(";")[0].strip()[:2].lower()
        if language in LANGUAGES:
            return language
    return LANGUAGES[0]


def _read_page(language: str) -> tuple[str, str]:
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    texts = json.loads((STATIC / "texts" / f"{language}.json").read_text(encoding="utf-8"))
    return page, json.dumps(texts, ensure_ascii=False, separators=(",", ":"))


def _packed(request: Request, data: bytes, media_type: str) -> Response:
    """A text of ours, gzipped for whoever reads that; not sent again to whoever has it."""
    tag = f'"{hashlib.sha256(data).hexdigest()[:24]}"'
    headers = {**ASK_AGAIN, "etag": tag, "vary": "accept-encoding, accept-language"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        data = _gzipped(data)
        headers["content-encoding"] = "gzip"
    return Response(data, media_type=media_type, headers=headers)


@lru_cache(maxsize=64)
def _gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def _number(request: Request, name: str, usual: int) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return usual
    if not re.fullmatch(r"\d{1,9}", text):
        raise UsageError(f"`{name}` is no number", "load the page again")
    return int(text)


async def _body(request: Request, most: int) -> bytes:
    """Raises TooLargeError, InputError for what comes too slowly."""
    buffer = io.BytesIO()
    await _receive(request, buffer, most)
    return buffer.getvalue()


async def _receive(request: Request, file: BinaryIO | io.BytesIO, most: int) -> None:
    """The body of the request into `file`, piece by piece. Raises TooLargeError, InputError."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared[:20]) > most:
        raise _too_large(most)
    pieces = request.stream()
    n_bytes = 0
    while True:
        try:
            piece = await asyncio.wait_for(anext(pieces), SLOW_S)
        except StopAsyncIteration:
            return
        except asyncio.TimeoutError:  # of its own before Python 3.11
            raise InputError("what was sent stopped coming", "send it again") from None
        n_bytes += len(piece)
        if n_bytes > most:
            raise _too_large(most)
        await asyncio.to_thread(file.write, piece)


def _too_large(most: int) -> TooLargeError:
    return TooLargeError(
        f"more than the {most >> 20} MB that are taken here",
        "send a smaller file, or run: audio2img run FILE",
    )
