"""The socket of a tab: its sound comes in, the news of its jobs go out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from audio2img.background import in_background
from audio2img.errors import Audio2ImgError, CancelledError
from audio2img.faults import as_told
from audio2img.server.incoming import IncomingSound
from audio2img.server.jobs import JobView, Visitor, as_table
from audio2img.server.orders import parse_hear, read_json
from audio2img.server.studio import Studio
from audio2img.server.welcome import describe_model, welcome

NEWS_S = 0.04  # between two messages of news: what a person can follow
BACK_OFF_S = 0.02
GALLERY_S = 1.0
MOST_MODEL_TASKS = 4  # of one tab
TRY_AGAIN_LATER = 1013


class Tab:
    """One open page. `serve` runs until it is closed."""

    def __init__(self, socket: WebSocket, studio: Studio, visitor: Visitor) -> None:
        self._socket, self._studio, self._visitor = socket, studio, visitor
        self._loop = asyncio.get_running_loop()
        self._has_news = asyncio.Event()
        self._sending = asyncio.Lock()
        self._sound: IncomingSound | None = None
        self._model_tasks: set[asyncio.Task[None]] = set()
        self._is_over = False

    async def serve(self) -> None:
        """Until the page is closed, or lost."""
        with self._visitor.listener(self._wake):
            hello = await asyncio.to_thread(welcome, self._studio)
            await self._send({"hello": hello})
            parts = (self._receive(), self._post_jobs(), self._post_gallery(hello["gallery"]["version"]))
            tasks = [asyncio.create_task(part) for part in parts]
            self._tell_model(None)
            try:
                ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    task.result()  # raises what ended it
            finally:
                self._is_over = True
                self._end_sound()  # with what was heard
                for task in (tasks := [*tasks, *self._model_tasks]):
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(self._has_news.set)

    async def _send(self, table: dict[str, Any]) -> None:
        async with self._sending:
            await self._socket.send_text(json.dumps(table, ensure_ascii=False, allow_nan=False))

    # News

    async def _post_jobs(self) -> None:
        """The newest state of each job, and none of those in between: a slow line holds nobody up."""
        told: dict[str, JobView] = {}
        while True:
            self._has_news.clear()
            views = {job.view.id: job.view for job in self._visitor.jobs}
            for number, view in views.items():
                before = told.get(number)
                if before is not view:
                    table = view.as_table()
                    if before is not None and before.sounds is view.sounds:
                        table["sounds"] = None  # told before, and large
                    await self._send({"job": table})
            told = views
            await asyncio.sleep(NEWS_S)
            await self._has_news.wait()

    async def _post_gallery(self, told: str) -> None:
        """told: the version that the page knows."""
        while True:
            await asyncio.sleep(GALLERY_S)
            try:
                version = await asyncio.to_thread(self._studio.gallery.version)
            except Audio2ImgError:  # told to whoever asks for its pictures; it may be read again soon
                continue
            if version != told:
                told = version
                await self._send({"gallery": {"version": version}})

    def _check(self) -> None:
        """Raises CancelledError when the page is closed."""
        if self._is_over:
            raise CancelledError("the page is closed")

    def _tell_model(self, name: str | None) -> None:
        async def tell() -> None:
            with suppress(WebSocketDisconnect, RuntimeError):  # the page was closed meanwhile
                usual = self._studio.hands.usual_name
                await self._send({"model": {"name": name or usual, "state": "loading"}})
                # In a thread of its own: it may load for minutes, and those that are lent are few.
                described = in_background(partial(describe_model, self._studio, name, self._check))
                await self._send({"model": await asyncio.wrap_future(described)})

        if len(self._model_tasks) >= MOST_MODEL_TASKS:
            return
        task = asyncio.create_task(tell())
        self._model_tasks.add(task)
        task.add_done_callback(self._model_tasks.discard)

    # Orders

    async def _receive(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            try:
                if (block := message.get("bytes")) is not None:
                    await self._hear(block)
                else:
                    await self._obey(read_json(message.get("text") or ""))
            except Audio2ImgError as error:
                await self._send({"error": as_table(error)})

    async def _hear(self, block: bytes) -> None:
        sound = self._sound
        if sound is None:
            return
        while sound.is_full and not sound.is_over:
            await asyncio.sleep(BACK_OFF_S)
        sound.put(block)

    async def _obey(self, order: dict[str, Any]) -> None:
        does: dict[Any, Callable[[dict[str, Any]], None]] = {
            "speak": self._speak,
            "spoken": lambda _: self._end_sound(),
            "model": self._ask_for_model,
        }
        what = order.get("do")
        if isinstance(what, str) and what in does:
            does[what](order)

    def _speak(self, order: dict[str, Any]) -> None:
        rate = order.get("rate")
        rate_hz = int(rate) if isinstance(rate, (int, float)) and 0 < rate < 1e7 else 0
        asked = order.get("order") or {}
        heard = parse_hear(asked if isinstance(asked, dict) else {}, self._studio.wishes)
        self._end_sound()
        _, self._sound = self._studio.speak(self._visitor, rate_hz, heard)

    def _end_sound(self) -> None:
        if self._sound is not None:
            self._sound.end()

    def _ask_for_model(self, order: dict[str, Any]) -> None:
        name = order.get("name")
        if isinstance(name, str):
            self._studio.hands.check(name)
            self._tell_model(name)


async def serve_tab(socket: WebSocket, studio: Studio, name: str) -> None:
    """Until the page is closed. What ends it otherwise is told to the page, which may come again."""
    await socket.accept()
    with suppress(WebSocketDisconnect, RuntimeError):
        try:
            await Tab(socket, studio, studio.visitor(name)).serve()
        except (WebSocketDisconnect, RuntimeError):
            raise
        except Exception as error:
            await socket.send_text(json.dumps({"error": as_table(as_told(error))}))
            await socket.close(TRY_AGAIN_LATER)
