"""What a recognizer hears, without what it makes up: a wrapper around any of them."""

from __future__ import annotations

from dataclasses import replace

from audio2img.errors import NothingToDrawError
from audio2img.recognition.annotations import is_known_hallucination, strip_annotations
from audio2img.recognition.blocks import CheckedBlocks, Sound
from audio2img.recognition.speech import Cancelled, OnSegment, SpeechAbilities, SpeechRecognizer, SpeechWishes
from audio2img.types import Segment, Transcript

MIN_PROBABILITY = 0.3  # Whisper is surer than this of words that were said
SURE_PROBABILITY = 0.8  # from here on even "thank you" was said, and not invented
ANY_SPEECH_MODEL = "whisper-base"


class CleaningRecognizer:
    """`inner` without annotations, without guesses, and without the phrases that it writes about silence.

    min_probability: segments in whose words the model believes less than this, in [0, 1], are dropped.
    knows_one_world: the model knows the sentences of one small world and no others.
    """

    def __init__(
        self,
        inner: SpeechRecognizer,
        *,
        min_probability: float | None = None,
        knows_one_world: bool = False,
    ) -> None:
        self.name = inner.name
        self._inner = inner
        self._min_probability = MIN_PROBABILITY if min_probability is None else min_probability
        self._knows_one_world = knows_one_world

    def load(self) -> SpeechAbilities:
        abilities = self._inner.load()
        # Whoever has learned sentences only has never seen a prompt before them.
        takes_prompt = abilities.takes_initial_prompt and not self._knows_one_world
        return replace(abilities, takes_initial_prompt=takes_prompt)

    def close(self) -> None:
        self._inner.close()

    def transcribe(
        self,
        sound: Sound,
        wishes: SpeechWishes = SpeechWishes(),
        *,
        source: str = "",
        progress: OnSegment | None = None,
        cancelled: Cancelled | None = None,
    ) -> Transcript:
        """As `SpeechRecognizer.transcribe`; raises NothingToDrawError also where no words are left."""
        blocks = CheckedBlocks.of(sound, source)

        def pass_on(segment: Segment) -> None:
            kept = self._clean(segment)
            if progress is not None and kept is not None:
                progress(kept)

        raw = self._inner.transcribe(blocks, wishes, progress=pass_on, cancelled=cancelled)
        cleaned = (self._clean(segment) for segment in raw.segments)
        segments = tuple(segment for segment in cleaned if segment is not None)
        if not segments or _is_hallucinated(segments):
            raise self._no_words(blocks)
        return replace(raw, segments=segments)

    def _clean(self, segment: Segment) -> Segment | None:
        """The segment without annotations; None where nothing is left that is more than a guess."""
        is_guess = segment.probability is not None and segment.probability < self._min_probability
        text = strip_annotations(segment.text)
        if is_guess or not any(letter.isalnum() for letter in text):
            return None
        return replace(segment, text=text)

    def _no_words(self, blocks: CheckedBlocks) -> NothingToDrawError:
        where = f"could be made out in {blocks.source} (its level is {blocks.level.rms_dbfs:.0f} dBFS)"
        if self._knows_one_world:
            return NothingToDrawError(
                f"no words that {self.name} knows {where}: it knows one small world, "
                "and of that sentences like 'a big red house at night'",
                f"say it in such words, or get a model for all speech with: audio2img models get "
                f"{ANY_SPEECH_MODEL}, and choose it with: `speech_model={ANY_SPEECH_MODEL}`",
            )
        return NothingToDrawError(
            f"no words {where}", "say it again, closer to the microphone, or try a larger `speech_model`"
        )


def _is_hallucinated(heard: tuple[Segment, ...]) -> bool:
    """Whether all of it is one of the phrases that are written about silence, and not surely said."""
    sure = max(segment.probability or 0.0 for segment in heard) >= SURE_PROBABILITY
    return not sure and is_known_hallucination(" ".join(segment.text for segment in heard))
