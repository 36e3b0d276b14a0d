"""Say the change: a prompt after what a person said about its picture.

`changes` reads what was said. In the small world it is done exactly, by its grammar (`mini_revision`),
elsewhere by rules for what people say (`free_revision`). Words that were not meant stay as they are.
"""

from __future__ import annotations

from audio2img.prompt.changes import Revision, read_changes
from audio2img.prompt.free_revision import change_prompt
from audio2img.prompt.mini_revision import change_sentence
from audio2img.prompt.mini_world import read_sentence
from audio2img.prompt.prompts import join_negatives

__all__ = ["Revision", "revise"]


def revise(prompt: str, said: str, *, in_mini_world: bool) -> Revision:
    """`prompt` after the changes that `said` asks for; any texts are accepted, and none raises an error.

    in_mini_world: whether the model knows no words but the small world's. Its sentences then change by
    its grammar; a prompt that is none of them, like any other.
    What was said comes as one whole or not at all: a text that is no change, such as a new sentence,
    leaves the prompt as it is, and the note says so.
    """
    changes = read_changes(said)
    if not changes:
        return Revision(prompt, "", False, "nothing was said to change")
    done: list[Revision] = []
    words = prompt
    for change in changes:
        scene = read_sentence(words) if in_mini_world else None
        one = change_sentence(scene, words, change) if scene else change_prompt(words, change)
        if one is None:
            return Revision(
                prompt, "", False, "this was not understood as a change; it can be drawn as a new picture"
            )
        done.append(one)
        words = one.prompt
    negative = join_negatives(*(one.negative for one in done))
    note = "; ".join(dict.fromkeys(one.note for one in done if one.note)) or "nothing new was said of it"
    return Revision(words, negative, words != prompt or bool(negative), note)
