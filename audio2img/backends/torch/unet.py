"""The UNet as the denoising loop sees it: guided, for a batch of pictures, launched in the quickest way.

Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598) asks for the prompt and against the
negative prompt in one batch.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from audio2img.backends.torch.conditioning import Conditioning
from audio2img.backends.torch.plan import WORTH_RECORDING

logger = logging.getLogger(__name__)

N_WARM_UPS = 3  # calls before recording, in which libraries choose their algorithms
N_RECORDINGS = 2  # shapes for which a recording is kept; each holds its own memory
CLOSE = 1e-2  # of the largest number: what a recording may differ from the call that it records


class GuidedUNet:
    """A UNet with what it is told, for pictures of one prompt."""

    def __init__(
        self,
        ask: Any,
        config: Mapping[str, Any],
        texts: Conditioning,
        guidance_scale: float,
        size: tuple[int, int],
    ) -> None:
        """ask: takes keyword tensors, gives the answer; see `Direct`. config: of the UNet.

        Up to a scale of 1 nothing is guided; a model that is told the scale (LCM) is never guided.
        size: width and height in pixels.
        """
        import torch

        self._ask = ask
        self._guidance_scale = guidance_scale
        is_told = config.get("time_cond_proj_dim") is not None
        self._is_guided = guidance_scale > 1 and not is_told
        windows = (*(texts.negative if self._is_guided else ()), *texts.positive)
        self._weights = [window.weight for window in windows]
        self._n_negative = len(windows) - len(texts.positive)
        self._states = torch.cat([window.states for window in windows])
        like = {"device": self._states.device, "dtype": self._states.dtype}
        self._extra: dict[str, Any] = {}
        self._told: dict[int, dict[str, Any]] = {}
        if windows[0].pooled is not None:
            width, height = size
            times = torch.tensor([[height, width, 0, 0, height, width]], **like)
            self._extra["text_embeds"] = torch.cat([window.pooled for window in windows])
            self._extra["time_ids"] = times.repeat(len(windows), 1)
        if is_told:
            told = embed_guidance(guidance_scale, int(config["time_cond_proj_dim"]))
            self._extra["timestep_cond"] = told.to(**like).repeat(len(windows), 1)

    def expect(self, calls: int) -> None:
        """Told at the beginning of a walk: so many calls of `predict` are to come."""
        self._ask.expect(calls)

    def predict(self, shown: Any, timestep: Any) -> Any:
        """The guided answer for a batch of pictures; like `shown`. timestep: 0-dimensional, on its device."""
        import torch

        n_windows = len(self._weights)
        answers = self._ask(
            sample=shown if n_windows == 1 else torch.cat([shown] * n_windows),
            timestep=timestep,
            **self._tell(len(shown)),
        ).chunk(n_windows)
        positive = self._average(answers[self._n_negative :], self._weights[self._n_negative :])
        if not self._is_guided:
            return positive
        negative = self._average(answers[: self._n_negative], self._weights[: self._n_negative])
        return negative + self._guidance_scale * (positive - negative)

    def _tell(self, count: int) -> dict[str, Any]:
        """What the UNet is told, for each of so many pictures; made once for each number."""
        if count not in self._told:
            told = {"encoder_hidden_states": self._states, **self._extra}
            self._told[count] = {name: tensor.repeat_interleave(count, 0) for name, tensor in told.items()}
        return self._told[count]

    @staticmethod
    def _average(answers: Any, weights: list[float]) -> Any:
        if len(answers) == 1:
            return answers[0]
        return sum(answer * weight for answer, weight in zip(answers, weights, strict=True))


def embed_guidance(scale: float, width: int) -> Any:
    """The guidance scale as LCM's UNets are told it: (1, width) float32, sines and cosines.

    Luo et al. 2023 (arXiv 2310.04378), section 4.2: the transformer's embedding of 1000 (scale - 1).
    """
    import torch

    half = width // 2
    rates = torch.exp(torch.arange(half, dtype=torch.float32) * -(math.log(10000.0) / (half - 1)))
    angles = (torch.tensor([scale - 1]) * 1000.0)[:, None] * rates[None, :]
    return torch.nn.functional.pad(torch.cat([angles.sin(), angles.cos()], 1), (0, width % 2))


class Direct:
    """Asks a UNet by calling it."""

    def __init__(self, unet: Any) -> None:
        self._unet = unet

    def expect(self, calls: int) -> None:
        """See `Replayed`; nothing is prepared here."""

    def __call__(
        self, sample: Any, timestep: Any, encoder_hidden_states: Any, timestep_cond: Any = None, **added: Any
    ) -> Any:
        return self._unet(
            sample,
            timestep,
            encoder_hidden_states=encoder_hidden_states,
            timestep_cond=timestep_cond,
            added_cond_kwargs=added or None,
            return_dict=False,
        )[0]


class Replayed:
    """Asks a UNet on CUDA by replaying its kernels, recorded once for each shape of the inputs.

    One call launches some thousand kernels, and for one picture the launching takes longer than the
    kernels. Recording costs five calls, more than a whole picture of a Turbo model, so it waits until a
    shape is asked for often enough. What a recording answers is compared with the call that it records;
    where it differs, or where recording fails, the UNet is called directly from then on.
    """

    def __init__(self, unet: Any) -> None:
        self._direct = Direct(unet)
        self._recordings: dict[tuple[Any, ...], tuple[Any, dict[str, Any], Any]] = {}
        self._made: dict[tuple[Any, ...], int] = {}  # direct calls, by shape
        self._coming = 0
        self._works = True

    def expect(self, calls: int) -> None:
        """Told at the beginning of a walk: so many calls of one shape are to come."""
        self._coming = calls

    def __call__(self, **inputs: Any) -> Any:
        if not self._works:
            return self._direct(**inputs)
        key = tuple((name, tensor.shape, tensor.dtype) for name, tensor in sorted(inputs.items()))
        if key not in self._recordings:
            answer = self._direct(**inputs)
            if self._made.get(key, 0) + self._coming >= WORTH_RECORDING:
                self._works = self._record(key, inputs, answer)
            self._made[key] = self._made.get(key, 0) + 1
            self._coming = max(0, self._coming - 1)
            return answer
        graph, held, output = self._recordings[key]
        for name, tensor in inputs.items():
            held[name].copy_(tensor)
        graph.replay()
        return output.clone()

    def _record(self, key: tuple[Any, ...], inputs: dict[str, Any], expected: Any) -> bool:
        import torch

        held = {name: tensor.clone() for name, tensor in inputs.items()}
        try:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(N_WARM_UPS):
                    self._direct(**held)
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                output = self._direct(**held)
            graph.replay()
            largest = expected.abs().max()
            if not bool(((output - expected).abs().max() <= CLOSE * largest).item()):
                raise RuntimeError("its answer differs")
        except torch.cuda.OutOfMemoryError:
            raise
        except (RuntimeError, AssertionError) as error:  # the latter of a torch without CUDA
            logger.warning("CUDA graphs are not used: %s", str(error).splitlines()[0])
            self._recordings = {}
            return False
        while len(self._recordings) >= N_RECORDINGS:
            del self._recordings[next(iter(self._recordings))]
        self._recordings[key] = (graph, held, output)
        return True
