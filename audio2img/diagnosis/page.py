"""Whether the page can be served here: a real server is started, asked for its page, and ended."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import tempfile
import time
from urllib.parse import urlsplit

from audio2img.config import Settings
from audio2img.diagnosis.checks import Check
from audio2img.errors import MachineError
from audio2img.installation import EXTRAS, how_to_add
from audio2img.machine import missing_packages

NAME = "page"
ANSWER_S = 60.0


def check_page(_: Settings) -> Check:
    """With the embedded models, on a free port of this machine."""
    if missing_packages(EXTRAS["web"]):
        return Check(NAME, "note", "the extra web is not installed", how_to_add("web"))
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "audio2img", "serve", "--no-open", "--port", "0", "--quiet",
            "--model", "mini", "--speech-model", "mini-whisper", "--output", folder,
        ]  # fmt: skip
        with subprocess.Popen(
            command, env=_without_settings(folder), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            try:
                assert process.stdout is not None
                address = process.stdout.readline().strip()
                if not address:
                    return Check(NAME, "fail", process.communicate()[1].strip()[-300:])
                n_bytes = _ask_for_page(address)
            finally:
                process.terminate()
                process.communicate()
    return Check(NAME, "ok", f"served in {time.perf_counter() - started:.1f} s, {n_bytes:,} bytes")


def _without_settings(home: str) -> dict[str, str]:
    """The environment with another home: what is wrong with the settings is said by their own check."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "AUDIO2IMG_"))}
    return {**kept, "HOME": home, "USERPROFILE": home}


def _ask_for_page(address: str) -> int:
    """How long the page is. Raises MachineError for any other answer."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWER_S)
    try:
        connection.request("GET", f"/?{parts.query}")
        welcome = connection.getresponse()
        welcome.read()
        cookie = (welcome.getheader("set-cookie") or "").split(";")[0]
        connection.request("GET", welcome.getheader("location") or "/", headers={"Cookie": cookie})
        answer = connection.getresponse()
        page = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise MachineError(
            f"the page could not be had: {error}", "run: audio2img serve, and look at what it says"
        ) from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise MachineError(
            f"the page was answered with {answer.status}", "run: audio2img serve, and look at what it says"
        )
    return len(page)
