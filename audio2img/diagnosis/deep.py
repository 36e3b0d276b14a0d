"""Everything that a machine can be asked about its drawing, in order: `audio2img doctor --deep`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from audio2img.backends.coreml import apple
from audio2img.backends.coreml.units import choose_compute
from audio2img.config import Settings, embedded_models_dir
from audio2img.diagnosis import machine
from audio2img.diagnosis.against_apple import check_against_apple
from audio2img.diagnosis.checks import Check
from audio2img.diagnosis.child import Measurement, Workshop
from audio2img.diagnosis.draws import (
    LARGE_MODEL_STEPS,
    UNITS,
    Subject,
    compare_memory,
    draw_on,
    draw_reference,
    skipped_units,
)
from audio2img.diagnosis.parts import check_parts
from audio2img.diagnosis.sound import check_microphone
from audio2img.errors import Audio2ImgError

Say = Callable[[str], None]
MINI = "mini"
MINI_STEPS = 10  # enough for a picture, and for a median of their times
NOT_DONE = Measurement(error="it was not drawn")


@dataclass
class Examination:
    """One deep look at this machine.

    folder: where compiled models and pictures go; the caller's to remove.
    name, path: of the installed model whose parts are checked. say: told before each step what is being done.
    with_apple: also compare with Apple's own pipeline. limit_s: of each child process.
    """

    name: str
    path: Path
    folder: Path
    say: Say
    settings: Settings
    with_apple: bool = False
    limit_s: float | None = None
    _reference: Measurement = NOT_DONE
    _drawn: dict[str, Measurement] = field(default_factory=dict)

    def run(self) -> Iterator[Check]:
        """Every check, as soon as it is made. A check that raises is a failed one."""
        self.units = choose_compute(self.settings.compute_units).units
        self.workshop = Workshop(self.folder) if self.limit_s is None else Workshop(self.folder, self.limit_s)
        mini = embedded_models_dir() / "coreml"
        self.mini = Subject(MINI, mini, MINI_STEPS, is_mini=True)
        is_mini = self.path.resolve() == mini.resolve()
        chosen = Subject(self.name, self.path, LARGE_MODEL_STEPS, is_mini=False)
        self.subject = self.mini if is_mini else chosen
        steps = [
            ("asking the system", self._machine),
            ("drawing with the reference runtime", self._draw_reference),
            ("drawing on each compute unit", self._draw_on_units),
            ("measuring memory", self._memory),
            (f"running the parts of {self.subject.name}", self._parts),
            ("listening for half a second", self._sound),
        ]
        if not is_mini:
            steps.insert(4, (f"drawing with {self.subject.name}", self._draw_model))
        if self.with_apple:
            steps.append(("drawing with Apple's pipeline", self._apple))
        for number, (label, step) in enumerate(steps, 1):
            self.say(f"[{number}/{len(steps)}] {label}")
            try:
                yield from step()
            except Audio2ImgError as error:
                yield Check(label, "fail", error.message, error.remedy)
            except Exception as error:
                yield Check(label, "fail", f"{type(error).__name__}: {error}", "please report it")

    def _machine(self) -> Iterator[Check]:
        yield machine.check_chip()
        yield machine.check_core_ml()
        yield machine.check_compute(self.settings)
        yield machine.check_memory(self.settings)
        yield machine.check_gpu()
        yield machine.check_compiled_cache()

    def _draw_reference(self) -> Iterator[Check]:
        check, self._reference = draw_reference(self.workshop, self.mini)
        yield check

    def _draw_on_units(self) -> Iterator[Check]:
        if not apple.is_here():
            yield from skipped_units()
            return
        for units in UNITS:
            check, self._drawn[units] = draw_on(
                self.workshop, self.mini, units, self._reference, units == self.units
            )
            yield check

    def _memory(self) -> Iterator[Check]:
        yield compare_memory(self.workshop, self.mini, self.units, self._ours())

    def _draw_model(self) -> Iterator[Check]:
        check, reference = draw_reference(self.workshop, self.subject)
        yield check
        if not apple.is_here():
            yield Check(f"draw {self.subject.name}, {self.units}", "skip", "needs macOS")
            return
        check, normal = draw_on(self.workshop, self.subject, self.units, reference, is_needed=True)
        yield check
        yield compare_memory(self.workshop, self.subject, self.units, normal)

    def _parts(self) -> Iterator[Check]:
        yield from check_parts(self.workshop, self.subject, self.units)

    def _sound(self) -> Iterator[Check]:
        try:
            yield check_microphone()
        except Audio2ImgError as error:
            yield Check("microphone", "note", error.message, error.remedy)

    def _apple(self) -> Iterator[Check]:
        yield check_against_apple(self.mini, self.units, self._ours())

    def _ours(self) -> Measurement:
        """The mini model's picture by what draws on this machine."""
        return self._drawn.get(self.units, NOT_DONE) if apple.is_here() else self._reference
