"""What a page orders, of a real server with the embedded models: speaking, drawing, stopping, coming back."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest
from websockets.sync.client import ClientConnection

from audio2img.output import read_record
from tests.server.clients import Server, run_server, wait_for, wait_for_end

pytestmark = pytest.mark.slow

DEMO = Path(__file__).parents[2] / "models" / "mini" / "demo.flac"
SAID = "please draw a big red house at night"


def speak(socket: ClientConnection, pcm: bytes, **order: object) -> str:
    """Speak into the socket as a browser does; the job's number."""
    socket.send(json.dumps({"do": "speak", "rate": 16_000, "order": order}))
    job: str = wait_for(socket, "job", lambda one: one["state"] == "running")["id"]
    for start in range(0, len(pcm), 1600):
        socket.send(pcm[start : start + 1600])
    return job


def test_a_page_that_opens_is_told_what_there_is(server: Server) -> None:
    with server.live("tab-hello") as socket:
        hello = wait_for(socket, "hello")
        assert [one["name"] for one in hello["models"] if one["default"]] == ["mini"]
        assert "watercolor" in [one["name"] for one in hello["styles"]]
        assert "house" in hello["words"]
        model = wait_for(socket, "model", lambda one: one["state"] != "loading")
    assert model["state"] == "ready"
    assert model["sizes"]["usual"] == [128, 128]
    assert model["init_image"] is True


def test_words_are_drawn_and_the_picture_remembers(server: Server) -> None:
    with server.live("tab-draw") as socket:
        job = server.order("/draw", {"prompt": "a blue boat", "options": {"seed": 7, "steps": 3}}, "tab-draw")
        previews: set[str] = set()

        def is_over(one: dict[str, object]) -> bool:
            previews.add(str(one["preview"]))
            return one["id"] == job["job"] and one["state"] != "running"

        ended = wait_for(socket, "job", is_over)
    assert ended["state"] == "done", ended
    (name,) = ended["pictures"]
    record = read_record(server.pictures / name)
    assert (record.request.prompt, record.request.seed, record.request.steps) == ("a blue boat", 7, 3)
    assert any(one.startswith("data:image/jpeg;base64,") for one in previews)
    status, data, headers = server.ask("GET", f"/pictures/{name}")
    assert (status, headers["content-type"]) == (200, "image/png")
    assert data == (server.pictures / name).read_bytes()
    listed = json.loads(server.ask("GET", "/gallery")[1])
    assert listed["pictures"][0]["name"] == name


def test_what_is_spoken_is_written_and_drawn(server: Server, demo_pcm: bytes) -> None:
    with server.live("tab-speak") as socket:
        job = speak(socket, demo_pcm, draw={"options": {"seed": 1, "steps": 2}})
        words = wait_for(socket, "job", lambda one: one["final"] or one["state"] == "failed")
        assert words["words"] == SAID
        ended = wait_for_end(socket, job)
    assert ended["state"] == "done", ended
    record = read_record(server.pictures / ended["pictures"][0])
    assert record.transcript is not None
    assert record.transcript.text == SAID
    assert list(server.pictures.glob("*.wav")) == []


def test_a_recording_is_heard_and_its_words_wait_to_be_changed(server: Server) -> None:
    with server.live("tab-hear") as socket:
        ended = wait_for_end(socket, server.hear(DEMO.read_bytes(), {}, "tab-hear"))
        assert (ended["state"], ended["words"], ended["final"]) == ("done", SAID, True)
        order = {"prompt": "a red house", "options": {"steps": 2}, "transcript_of": ended["id"]}
        drawn = wait_for_end(socket, server.order("/draw", order, "tab-hear")["job"])
    record = read_record(server.pictures / drawn["pictures"][0])
    assert record.transcript is not None
    assert (record.request.prompt, record.transcript.text) == ("a red house", SAID)
    assert record.audio_source == "memo.flac"


def test_what_is_no_recording_is_said_by_its_own_name(server: Server) -> None:
    with server.live("tab-broken") as socket:
        ended = wait_for_end(socket, server.hear(b"no sound at all", {}, "tab-broken", name="note.txt"))
    assert ended["state"] == "failed"
    assert "note.txt" in ended["error"]["message"]
    assert ended["error"]["remedy"]


def test_stop_stops_ones_own_job_and_no_other(server: Server) -> None:
    order = {"prompt": "a green tree", "options": {"steps": 500}}
    with server.live("tab-mine") as mine, server.live("tab-yours") as yours:
        first = server.order("/draw", order, "tab-mine")["job"]
        wait_for(mine, "job", lambda one: one["id"] == first and one["stage"] == "draw" and one["steps"])
        second = server.order("/draw", {**order, "options": {"steps": 2}}, "tab-yours")["job"]
        wait_for(yours, "job", lambda one: one["id"] == second and one["place"] == 1)
        assert server.order("/stop", {}, "tab-yours") == {"stopped": 1}
        assert wait_for_end(yours, second)["state"] == "stopped"
        third = server.order("/draw", {**order, "options": {"steps": 2}}, "tab-yours")["job"]
        assert server.order("/stop", {"job": first}, "tab-mine") == {"stopped": 1}
        assert wait_for_end(mine, first)["state"] == "stopped"
        assert wait_for_end(yours, third)["state"] == "done"


def test_a_job_outlives_its_tab(server: Server) -> None:
    with server.live("tab-away") as socket:
        wait_for(socket, "hello")
        job = server.order("/draw", {"prompt": "a star", "options": {"steps": 4}}, "tab-away")["job"]
    with server.live("tab-away") as socket:
        assert wait_for_end(socket, job)["state"] == "done"


def test_an_utterance_ends_when_its_tab_is_lost_and_its_words_stay(server: Server, demo_pcm: bytes) -> None:
    with server.live("tab-lost") as socket:
        wait_for(socket, "hello")
        job = speak(socket, demo_pcm[: -2 * 16_000 * 2])  # no silence after it
    with server.live("tab-lost") as socket:
        ended = wait_for_end(socket, job)
    assert (ended["state"], ended["words"]) == ("done", SAID), str(ended)


def test_a_change_that_is_spoken_gives_a_new_version(server: Server, demo_pcm: bytes) -> None:
    revise = {"prompt": "a blue boat", "options": {"seed": 5, "steps": 2}, "from": "a-blue-boat-5.png"}
    with server.live("tab-change") as socket:
        job = speak(socket, demo_pcm, revise=revise)
        ended = wait_for_end(socket, job)
        assert ended["state"] == "done", ended
        assert ended["revised"]["note"]
        assert (ended["pictures"], ended["from"]) == ([], "a-blue-boat-5.png")
    answer = server.order("/revise", {"prompt": "a blue boat", "said": "make the boat red"}, "tab-change")
    assert (answer["prompt"], answer["changed"]) == ("a red boat", True)


def test_too_many_at_once_are_refused_with_a_sentence(server: Server) -> None:
    order = {"prompt": "a tree", "options": {"steps": 800}}
    numbers = [server.order("/draw", order, "tab-many")["job"] for _ in range(4)]
    status, data, _ = server.ask("POST", "/draw", order, tab="tab-many")
    assert status == 429
    assert "still being done" in json.loads(data)["message"]
    assert server.order("/stop", {}, "tab-many") == {"stopped": len(numbers)}


def test_what_cannot_be_drawn_is_refused_at_the_door(server: Server) -> None:
    for order in (
        {"prompt": ""},
        {"prompt": "a tree", "options": {"steps": -1}},
        {"prompt": "a tree", "options": {"steps": "many"}},
        {"prompt": "a tree", "options": {"count": 101}},
        {"prompt": "a tree", "options": {"init_image": "../secret.png"}},
        {"prompt": "a tree", "options": {"init_image": "upload:nothing"}},
        {"prompt": "a tree", "options": {"width": 8, "height": None}},
        {"prompt": "a tree", "model": "/etc/passwd"},
        {"prompt": "a tree", "model": "no-such-model"},
        {"prompt": "a tree", "color": "red"},
        {"prompt": ["a tree"]},
        ["a tree"],
    ):
        status, data, _ = server.ask("POST", "/draw", order, tab="tab-odd")
        assert status in (404, 422), (order, data)
        if status == 422:
            assert json.loads(data)["message"], order
    assert server.ask("POST", "/draw", {"prompt": "a tree"})[0] == 422  # no tab


def test_a_picture_of_somebody_elses_can_be_started_from(server: Server, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (200, 100), "red").save(tmp_path / "x.png")
    data = (tmp_path / "x.png").read_bytes()
    start = server.order("/start-picture?name=../my%20picture.png", data, "tab-start")["start"]
    with server.live("tab-start") as socket:
        options = {"init_image": start, "steps": 4, "strength": 0.5}
        job = server.order("/draw", {"prompt": "a house", "options": options}, "tab-start")["job"]
        ended = wait_for_end(socket, job)
    record = read_record(server.pictures / ended["pictures"][0])
    assert record.request.init_image is not None
    assert record.request.init_image.name == "my picture.png"
    other = server.ask(
        "POST", "/draw", {"prompt": "a house", "options": {"init_image": start}}, tab="tab-else"
    )
    assert other[0] == 422  # it is nobody else's
    assert server.ask("POST", "/start-picture?name=x.png", b"no picture", tab="tab-start")[0] == 422


def test_nothing_is_written_but_pictures(tmp_path: Path) -> None:
    running = run_server(tmp_path)
    server = next(running)
    with server.live("tab-clean") as socket:
        drawn = server.order("/draw", {"prompt": "a star", "options": {"steps": 1}}, "tab-clean")["job"]
        wait_for_end(socket, drawn)
        picture = next(server.pictures.iterdir()).read_bytes()
        server.order("/start-picture?name=x.png", picture, "tab-clean")
        wait_for_end(socket, server.hear(DEMO.read_bytes(), {}, "tab-clean"))
    with pytest.raises(StopIteration):
        next(running)
    assert {one.name for one in tmp_path.iterdir()} == {"pictures", "stderr"}  # its home
    assert [one.suffix for one in server.pictures.iterdir()] == [".png"]


def count_of(server: Server) -> dict[str, int]:
    """Threads and open files of the server's process."""
    folder = Path(f"/proc/{server.process.pid}")
    return {what: len(list((folder / what).iterdir())) for what in ("task", "fd")}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc, which only Linux has")
def test_jobs_leave_no_thread_and_no_file_behind(server: Server) -> None:
    def work(tab: str) -> None:
        with server.live(tab) as socket:
            for number in range(12):
                order = {"prompt": "a star", "options": {"steps": 1, "seed": number}}
                drawn = server.order("/draw", order, tab)["job"]
                assert wait_for_end(socket, drawn)["state"] == "done"
                failed = server.hear(b"nothing", {}, tab)
                assert wait_for_end(socket, failed)["state"] == "failed"

    work("tab-warming-up")
    before = count_of(server)
    for number in range(3):
        work(f"tab-number-{number}")
    # A thread that has told its news may not have ended yet; what leaks is more than a few.
    after = count_of(server)
    assert all(after[what] <= before[what] + 2 for what in before), (before, after)


def test_closing_the_server_ends_jobs_and_says_so(tmp_path: Path) -> None:
    running = run_server(tmp_path)
    server = next(running)
    with server.live("tab-closing") as socket:
        order = {"prompt": "a star", "options": {"steps": 900}}
        job = server.order("/draw", order, "tab-closing")["job"]
        wait_for(socket, "job", lambda one: one["id"] == job and one["stage"] == "draw")
        with pytest.raises(StopIteration):  # which checks how it ended
            next(running)
    assert [one.name for one in server.pictures.iterdir()] == []


def test_sounds_are_named_and_shown(tmp_path: Path, shared_data: Path, yamnet_file: Path) -> None:
    running = run_server(tmp_path, "--sound-model", str(yamnet_file))
    server = next(running)
    recording = sorted((shared_data / "recordings").iterdir())[0]
    with server.live("tab-sounds") as socket:
        assert wait_for(socket, "hello")["sounds"] is True
        order = {"hear": "sounds", "draw": {"options": {"steps": 1}}}
        job = server.hear(recording.read_bytes(), order, "tab-sounds", recording.name)
        told = wait_for(socket, "job", lambda one: one["id"] == job and one["sounds"])
        sounds = told["sounds"]
        ended = told if told["state"] != "running" else wait_for_end(socket, job)
        assert ended["state"] == "done", ended
        assert sounds["spectrogram"].startswith("data:image/webp;base64,")
        assert sounds["timeline"][0]["start_s"] == 0
        assert sounds["timeline"][-1]["end_s"] == pytest.approx(sounds["duration_s"], abs=0.02)
        assert sounds["things"]
        noise = (np.random.default_rng(3).standard_normal(16_000 * 3) * 2000).astype("<i2")
        job = speak(socket, noise.tobytes(), **order, keep_sound=True)
        socket.send(json.dumps({"do": "spoken"}))
        ended = wait_for_end(socket, job)
        assert ended["state"] == "done", ended
    with wave.open(str((server.pictures / ended["pictures"][0]).with_suffix(".wav"))) as kept:
        heard = np.frombuffer(kept.readframes(kept.getnframes()), "<i2")
    np.testing.assert_allclose(heard, noise, atol=1)  # every block, in order
    with server.live(
        "tab-both"
    ) as socket:  # no words for the mini model, whose sounds are shown all the same
        job = server.hear((shared_data / "jfk.wav").read_bytes(), {"hear": "both"}, "tab-both", "jfk.wav")
        ended = wait_for(socket, "job", lambda one: one["id"] == job and one["sounds"])
        assert any("speech" in one["name"].lower() for one in ended["sounds"]["timeline"])
    with pytest.raises(StopIteration):
        next(running)
