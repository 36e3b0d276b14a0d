"""The scripts inside the actions, run by zsh as Automator runs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audio2img.audio.decode import decode_audio
from audio2img.macos.actions import ACTIONS
from audio2img.macos.scripts import build_script, command_in_script, name_in_script
from audio2img.output import read_record
from tests.live_microphone import LiveMicrophone, live_microphone
from tests.macos.conftest import AUTOMATOR_PATH, Desk

HARD_NAMES = (
    "two  spaces and a trailing one ",
    'it\'s "quoted" `id` $(id) $HOME ${x} %s %n \\n \\',
    "two\nlines\n",
    "-rf",
    "--help",
    "*?[a-z]{1,2}~;&|<>#!^",
    "Zoë’s mémo 録音 🎙️.m4a",
    "=(x) ~root @AUDIO @TITLE@ (#q)",
)


def put_drawing_command(desk: Desk) -> None:
    """A command that notes its arguments and standard input, and says it drew a picture."""
    desk.put("audio2img", f'cat >>"{desk.home}/stdin"; echo "/pictures/a picture.png"')


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
def test_what_a_script_says_of_itself(action, zsh):
    command = Path('/Users/zoë o\'hara/my "tools"/$x @TITLE@/audio2img')
    script = build_script(action, command)
    assert name_in_script(script) == action.name
    assert command_in_script(script) == command
    subprocess.run([zsh, "-f", "-n", "-c", script], check=True)


@pytest.mark.parametrize("text", ["", "#!/bin/zsh\necho", "# audio2img action", "command='x"])
def test_other_scripts_are_not_ours(text):
    assert name_in_script(text) == ""
    assert command_in_script(text) is None


@pytest.mark.parametrize("name", ["recording", "recording-shortcut", "speak-shortcut"])
def test_names_that_hurt_reach_the_command_whole(desk, name):
    put_drawing_command(desk)
    files = [f"/some folder/{hard}" for hard in HARD_NAMES]
    done = desk.press(name, *files)
    assert (done.returncode, done.stderr) == (0, b"")
    assert desk.calls("audio2img") == [["run", "--", file] for file in files]
    assert desk.calls("open") == [["/pictures/a picture.png"]] * len(files)
    assert done.stdout.decode() == "/pictures/a picture.png\n" * len(files)
    assert len(desk.notifications) == 2
    assert desk.dialogs == []


def test_what_a_person_is_shown(desk):
    put_drawing_command(desk)
    desk.press("recording", "/memos/Zoë’s \"memo\" 'one'.m4a")
    assert desk.notifications == [
        "Drawing what is said in Zoë’s \"memo\" 'one'.m4a ...",
        "Done: a picture.png",
    ]
    desk.press("recording", "/a", "/b", "/c")
    assert desk.notifications == ["Drawing what is said in 3 files ...", "Done: 3 pictures"]
    assert "Picture from this recording: Done: 3 pictures" in desk.log


def test_a_relative_name_is_made_absolute(desk):
    put_drawing_command(desk)
    desk.press("recording", "-memo", "sub/../x y")
    assert desk.calls("audio2img") == [["run", "--", "/-memo"], ["run", "--", "/x y"]]


# What a file may be called, on a Mac and on Linux, whose names need not be UTF-8.
FILE_NAMES = st.one_of(
    st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=60).map(
        str.encode
    ),
    st.binary(min_size=1, max_size=60).filter(lambda name: b"\0" not in name and b"/" not in name),
    st.text("'\"\\`$(){}[]*?~!#&;|<>%^= \n\t-@\r", min_size=1, max_size=20).map(str.encode),
).filter(lambda name: name not in (b".", b"..") and b"\x1e" not in name)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(names=st.lists(FILE_NAMES, min_size=1, max_size=4))
def test_any_file_name(desk, names):
    put_drawing_command(desk)
    files = [b"/f/" + name for name in names]
    done = desk.press("recording", *files)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [[os.fsencode(word) for word in words] for words in desk.calls("audio2img")] == [
        [b"run", b"--", file] for file in files
    ]
    assert desk.dialogs == []


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(
    text=st.one_of(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200),
        st.text("'\"\\`$(){}-\n \t%@#", max_size=30),
    )
)
def test_any_text_on_the_clipboard(desk, text):
    put_drawing_command(desk)
    (desk.home / "stdin").unlink(missing_ok=True)
    (desk.home / "clipboard").write_bytes(text.encode())
    desk.put("pbpaste", f'cat "{desk.home}/clipboard"')
    done = desk.press("clipboard")
    assert (done.returncode, done.stderr) == (0, b"")
    if not text.strip(" \t\n\r\v\f"):
        assert desk.dialogs == ["The clipboard holds no text. Copy some words, then try again."]
        assert desk.calls("audio2img") == []
    elif desk.dialogs == []:
        assert desk.calls("audio2img") == [["generate", "-"]]
        assert (desk.home / "stdin").read_bytes() == text.encode().rstrip(b"\n")
    else:
        assert text.isspace()  # in a way that only some locales know


@pytest.mark.parametrize("name", ["recording", "clipboard", "speak", "speak-shortcut", "recording-shortcut"])
def test_a_command_that_is_gone_is_said_in_a_dialog(desk, name):
    script = desk.script(name)
    done = desk.press(name, "/memo.m4a")
    assert (done.returncode, done.stdout) == (0, b"")
    (dialog,) = desk.dialogs
    assert f"audio2img is no longer at {desk.bin}/audio2img." in dialog
    assert "audio2img actions install" in dialog
    assert desk.notifications == []
    assert str(desk.bin) in script or "'\"'\"'" in script


def test_no_file_is_said_in_a_dialog(desk):
    put_drawing_command(desk)
    desk.press("recording-shortcut")
    assert desk.dialogs == ["No sound file was given. Choose one or more, then try again."]
    assert desk.calls("audio2img") == []


@pytest.mark.parametrize(
    ("code", "said", "shown"),
    [
        (
            3,
            "audio2img: no speech in memo — speak louder",
            "Nothing to draw: no speech in memo — speak louder",
        ),
        (4, "a warning\naudio2img: sd21 must be downloaded first", "sd21 must be downloaded first"),
        (5, "audio2img: nothing but digital silence — allow it\n", "nothing but digital silence — allow it"),
        (130, "audio2img: stopped", "Stopped."),
        (1, "x", "x"),
        (9, "", "audio2img ended with code 9 and said nothing."),
    ],
)
def test_the_last_line_of_a_failure_is_shown(desk, code, said, shown):
    desk.put("audio2img", f"printf '%s' '{said}' >&2; exit {code}")
    done = desk.press("speak")
    assert (done.returncode, done.stdout) == (0, b"")
    (dialog,) = desk.dialogs
    assert dialog.startswith(shown)
    assert desk.notifications == ["Listening: say what you want to see."]
    assert said.strip() in desk.log


def test_one_bad_file_does_not_stop_the_others(desk):
    desk.put("audio2img", 'case "$3" in *bad*) echo "audio2img: not a sound" >&2; exit 6;; esac; echo /p.png')
    done = desk.press("recording", "/good 1", "/bad 1", "/good 2", "/bad 2")
    assert done.stdout == b"/p.png\n/p.png\n"
    assert desk.calls("open") == [["/p.png"], ["/p.png"]]
    assert desk.dialogs == ["2 drawn, 2 not.\nbad 1: not a sound\nbad 2: not a sound"]


def test_a_picture_that_cannot_be_opened_is_named(desk):
    put_drawing_command(desk)
    desk.put("open", "exit 1")
    desk.press("recording", "/memo")
    assert "Drawn, but it cannot be opened: /pictures/a picture.png" in desk.dialogs[0]


def test_without_dialogs_whoever_runs_the_script_gets_the_words(desk):
    desk.put("osascript", "exit 1")
    done = desk.press("clipboard")
    assert done.returncode == 1
    assert b"audio2img is no longer at" in done.stderr


def test_a_home_without_a_place_for_the_log_still_draws(desk):
    put_drawing_command(desk)
    (desk.home / "Library").write_text("not a folder")
    done = desk.press("recording", "/memo")
    assert (done.returncode, done.stdout) == (0, b"/pictures/a picture.png\n")


def test_nothing_stays_in_the_folder_of_temporary_files(desk, tmp_path):
    put_drawing_command(desk)
    script = f"export TMPDIR={tmp_path / 'tmp'}\n" + desk.script("recording")
    (tmp_path / "tmp").mkdir()
    env = {"HOME": str(desk.home), "PATH": AUTOMATOR_PATH}
    subprocess.run(["zsh", "-f", "-c", script, "-", "/memo"], env=env, check=True, capture_output=True)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_the_log_grows_and_names_the_command_line(desk):
    put_drawing_command(desk)
    desk.press("recording", "/a 'b'\nc")
    desk.press("clipboard")
    assert "audio2img run -- '/a " in desk.log
    assert "Picture from the clipboard text: The clipboard holds no text." in desk.log


# From here on with the real command, the mini models and no environment: a picture at the end.


def drawn(desk: Desk, done: subprocess.CompletedProcess[bytes]) -> list[Path]:
    """The pictures that were drawn and opened."""
    assert (done.returncode, done.stderr) == (0, b""), desk.log
    assert desk.dialogs == []
    paths = [Path(line) for line in done.stdout.decode().splitlines()]
    assert desk.calls("open") == [[str(path)] for path in paths]
    return paths


def test_a_recording_becomes_a_picture(desk, demo_audio):
    desk.put_real_command()
    memo = desk.home / 'it\'s "my"\nmemo 録音.flac'
    memo.write_bytes(demo_audio.read_bytes())
    (picture,) = drawn(desk, desk.press("recording", memo))
    assert picture.is_relative_to(desk.home)
    record = read_record(picture)
    assert record.request.prompt == "a big red house at night"
    assert record.audio_source == memo.name
    assert desk.notifications[1] == f"Done: {picture.name}"


@pytest.mark.slow
def test_several_recordings_with_names_that_hurt(desk, demo_audio):
    desk.put_real_command()
    memos = [desk.home / name for name in HARD_NAMES]
    for memo in memos[:-1]:
        memo.write_bytes(demo_audio.read_bytes())
    memos[-1].write_bytes(b"this is no sound at all" * 100)
    done = desk.press("speak-shortcut", *memos)
    pictures = [Path(line) for line in done.stdout.decode().splitlines()]
    assert [read_record(picture).audio_source for picture in pictures] == [memo.name for memo in memos[:-1]]
    (dialog,) = desk.dialogs
    assert dialog.startswith(f"{len(memos) - 1} drawn, 1 not.\n{memos[-1].name}: ")


@pytest.mark.slow
@pytest.mark.parametrize("text", ["-- a big red house", 'a "small" blue tree\nby day\'s light\n', "--help"])
def test_the_clipboard_becomes_a_picture(desk, text):
    desk.put_real_command()
    (desk.home / "clipboard").write_text(text, encoding="utf-8")
    desk.put("pbpaste", f'cat "{desk.home}/clipboard"')
    (picture,) = drawn(desk, desk.press("clipboard"))
    words = read_record(picture).request.prompt
    assert words.split()[-1].strip("-'") in text


@pytest.mark.slow
def test_silence_is_answered_with_words(desk, tmp_path):
    import wave

    desk.put_real_command()
    with wave.open(str(tmp_path / "silent.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(bytes(2 * 32000))
    desk.press("recording", tmp_path / "silent.wav")
    (dialog,) = desk.dialogs
    assert dialog.startswith("silent.wav: Nothing to draw: ")


@pytest.mark.slow
def test_what_is_spoken_becomes_a_picture(desk, demo_audio):
    """Into a real stream, as soon as somebody listens; the end is when the speaker stops."""
    if shutil.which("pulseaudio") is None:
        pytest.skip("needs pulseaudio: apt install pulseaudio")
    desk.put_real_command()
    with live_microphone() as microphone, ThreadPoolExecutor() as pool:
        pressed = pool.submit(desk.press, "speak", env=microphone.environment)
        deadline = time.monotonic() + 60
        while not is_listened_to(microphone):
            assert time.monotonic() < deadline, desk.log
            time.sleep(0.1)
        microphone.say(decode_audio(demo_audio).samples)
        (picture,) = drawn(desk, pressed.result())
    assert read_record(picture).request.prompt == "a big red house at night"
    assert desk.notifications[0] == "Listening: say what you want to see."


def is_listened_to(microphone: LiveMicrophone) -> bool:
    command = ["pactl", "list", "short", "source-outputs"]
    env = {**os.environ, **microphone.environment}
    return bool(subprocess.run(command, env=env, capture_output=True, check=False).stdout)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux with PortAudio")
def test_a_microphone_that_may_not_be_heard_is_said(desk):
    """ALSA finds it through .asoundrc in the home folder: the environment is as empty as Automator's."""
    desk.put_real_command()
    zeros = desk.home.parent / "microphone.raw"
    zeros.write_bytes(bytes(2 * 16000 * 20))
    (desk.home / ".asoundrc").write_text(
        "pcm.!default { type plug slave { pcm { type file slave.pcm { type null } file /dev/null "
        f'infile "{zeros}" format raw }} rate 16000 channels 1 format S16_LE }} }}\n'
    )
    desk.press("speak")
    (dialog,) = desk.dialogs
    assert "digital silence" in dialog
