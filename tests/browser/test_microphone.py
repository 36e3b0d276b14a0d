"""What the other tests here stand on: a page in a real browser hears what is said into our microphone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Expect

pytestmark = pytest.mark.slow

PAGE = b"""<!doctype html>
<title>Loudest so far</title><link rel="icon" href="data:,">
<button>Listen</button> <output></output>
<script>
document.querySelector("button").onclick = async () => {
  const asIs = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: asIs });
  const context = new AudioContext(), meter = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(meter);
  const samples = new Float32Array(meter.fftSize);
  let heard = false, loudest = 0;
  setInterval(() => {
    meter.getFloatTimeDomainData(samples);
    for (const sample of samples) loudest = Math.max(loudest, Math.abs(sample));
    heard ||= loudest > 0;
    document.querySelector("output").value = !heard ? "nothing" : loudest > 0.1 ? "a voice" : "a quiet room";
  }, 10);
};
</script>"""


@pytest.fixture
def address() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(PAGE)

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_a_page_hears_what_is_said(
    browser: Browser,
    new_context: Callable[..., BrowserContext],
    expect: Expect,
    address: str,
    say: Callable[[str], None],
) -> None:
    page = new_context(browser).new_page()
    page.goto(address)
    page.get_by_role("button").click()
    expect(page.get_by_role("status")).to_have_text("a quiet room")
    say("draw a small blue boat by the sea")
    expect(page.get_by_role("status")).to_have_text("a voice")
