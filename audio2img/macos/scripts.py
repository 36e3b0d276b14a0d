"""The zsh text inside every action.

It is one text for all: a head with what differs, the functions, and what the source needs. It runs
where nobody sees a terminal: under Automator or Shortcuts, with PATH=/usr/bin:/bin:/usr/sbin:/sbin
and no locale. Every word that a person is shown travels to osascript as an argument (the first one
is the title, so that none that begins with a dash is taken for an option), never as AppleScript.
It exits with 0 once the person has seen what went wrong, so that Automator adds no second dialog.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from audio2img import __version__
from audio2img.macos.actions import Action

LOG = "Library/Logs/audio2img.log"  # in the home folder
MARK = "# audio2img action: "

_HEAD = r"""
# Written by audio2img @VERSION@; `audio2img actions install` writes it anew, `uninstall` removes it.
emulate -R zsh
setopt no_aliases
command=@COMMAND@
title=@TITLE@
set -- "${@:a}"
cd -- "$HOME" 2>/dev/null
path=("${command:h}" /usr/bin /bin /usr/sbin /sbin /opt/homebrew/bin /usr/local/bin)
export PATH LANG=en_US.UTF-8  # pbpaste and osascript go by LANG
log="$HOME/@LOG@"
{ mkdir -p -- "${log:h}" && : >>"$log" } 2>/dev/null || log=/dev/null
drawn=() problems=()
"""

_FUNCTIONS = r"""
note() { print -r -- "${(%):-%D{%Y-%m-%d %H:%M:%S}} $title: $1" >>"$log" }

notify() {
  note "$1"
  osascript -e 'on run argv' -e 'display notification (item 2 of argv) with title (item 1 of argv)' \
    -e 'end run' "$title" "$1" >>"$log" 2>&1 </dev/null
}

# Shows what went wrong; where that cannot be shown, whoever started the script gets it as an error.
complain() {
  note "$1"
  osascript -e 'on run argv' -e 'display dialog (item 2 of argv) with title (item 1 of argv) '\
'buttons {"OK"} default button 1 with icon caution giving up after 120' \
    -e 'end run' "$title" "$1" >>"$log" 2>&1 </dev/null && exit 0
  print -ru2 -- "$title: $1"
  exit 1
}

# draw NAME ARGUMENT...: calls audio2img; NAME is what a problem is reported under, if not empty.
draw() {
  local name="$1" pictures picture reason
  local -a said
  integer code
  shift
  note "audio2img ${(j: :)${(q-)@}}"
  pictures="$("$command" "$@" 2>"$errors")"
  code=$?
  cat -- "$errors" >>"$log"
  if (( code == 0 )); then
    for picture in "${(@f)pictures}"; do
      picture="${picture:a}"
      drawn+=("$picture")
      open "$picture" >>"$log" 2>&1 </dev/null || problems+=("Drawn, but it cannot be opened: $picture")
    done
    return
  fi
  said=(${(f)"$(<"$errors")"})
  reason="${said[-1]#audio2img: }"
  case $code in
    3) reason="Nothing to draw: $reason" ;;
    130) reason='Stopped.' ;;
  esac
  [[ -n "$reason" ]] || reason="audio2img ended with code $code and said nothing. The log is $log"
  problems+=("${name:+$name: }$reason")
}

finish() {
  (( $#drawn == 0 )) || print -rl -- "${(@)drawn}"
  if (( $#problems )); then
    (( $#drawn == 0 )) || problems=("$#drawn drawn, $#problems not." "${(@)problems}")
    complain "${(F)problems}"
  fi
  if (( $#drawn == 1 )); then notify "Done: ${drawn[1]:t}"; else notify "Done: $#drawn pictures"; fi
}

[[ -f "$command" && -x "$command" ]] || complain "audio2img is no longer at $command. \
Install it again, then run in Terminal: audio2img actions install"
errors="$(mktemp "${TMPDIR:-/tmp}/audio2img.XXXXXX")" || complain 'No temporary file can be written.'
trap 'rm -f -- "$errors"' EXIT
trap 'exit 130' INT TERM HUP
"""

_SOURCES = {
    "files": r"""
(( $# )) || complain 'No sound file was given. Choose one or more, then try again.'
if (( $# == 1 )); then what="${1:t}"; else what="$# files"; fi
notify "Drawing what is said in $what ..."
for file in "$@"; do
  draw "${file:t}" run -- "$file" </dev/null
done
finish
""",
    "clipboard": r"""
text="$(pbpaste 2>>"$log")" || complain 'The clipboard cannot be read.'
[[ -n "${text//[[:space:]]/}" ]] || complain 'The clipboard holds no text. Copy some words, then try again.'
notify 'Drawing the words on the clipboard ...'
print -rn -- "$text" | draw '' generate -
finish
""",
    "microphone": r"""
notify 'Listening: say what you want to see.'
draw '' run </dev/null
finish
""",
}


def build_script(action: Action, command: Path) -> str:
    """The zsh text of `action`, calling the program at the absolute path `command`."""
    values = {
        "VERSION": __version__,
        "COMMAND": shlex.quote(str(command)),
        "TITLE": shlex.quote(action.title),
        "LOG": LOG,
    }
    text = MARK + action.name + _HEAD + _FUNCTIONS + _SOURCES[action.source]
    return re.sub("@([A-Z]+)@", lambda match: values[match[1]], text)


def name_in_script(script: str) -> str:
    """The name of the action that a script of ours says it belongs to; "" for a text not of ours."""
    first = script.partition("\n")[0]
    return first.removeprefix(MARK) if first.startswith(MARK) else ""


def command_in_script(script: str) -> Path | None:
    """The program that a script of ours calls."""
    match = re.search(r"^command=(.*)$", script, re.MULTILINE)
    try:
        words = shlex.split(match[1]) if match else []
    except ValueError:
        return None
    return Path(words[0]) if len(words) == 1 else None
