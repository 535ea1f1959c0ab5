"""Generate tokens one position at a time, with classifier-free guidance.

Letters for axes: b clips, q codebooks, t frames, s positions, v tokens of a codebook.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from soundloom.autoregressive import delay
from soundloom.autoregressive.sampling import guide_logits, sample
from soundloom.config.musicgen.model import LMConfig
from soundloom.config.musicgen.sampling import Sampling
from soundloom.errors import RequestError

# Takes the tokens (b, q, s) of the next positions; returns the logits (b, q, v) after the last one, with prompt and
# without. The latter is None without guidance.
Decoder = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]
NoiseFn = Callable[[int], np.ndarray]  # Exp(1) noise (b, q, v) of a step


@dataclass(frozen=True)
class TokenRequest:
    """A batch of `clips` clips of `frames` frames each; `prompt` (b, q, p) has the tokens of their first frames."""

    clips: int
    frames: int
    sampling: Sampling
    guidance: float = 3.0
    prompt: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.prompt_frames >= self.frames:
            raise RequestError(
                f"a prompt of {self.prompt_frames} frames leaves none of {self.frames} frames to generate",
                "request a longer clip or give a shorter prompt",
            )

    @property
    def prompt_frames(self) -> int:
        return 0 if self.prompt is None else self.prompt.shape[-1]


@dataclass(frozen=True)
class GenerationStep:
    """The state after a step."""

    tokens: np.ndarray  # (b, q, t); incomplete from frame `frames` on
    frames: int  # number of complete frames
    logits: np.ndarray  # (b, q, v), guided, that the step's tokens were sampled from


def count_steps(config: LMConfig, request: TokenRequest) -> int:
    """Return the number of forward passes of a request."""
    return delay.sequence_length(request.frames, config.delays) - 1 - request.prompt_frames


def generate(
    config: LMConfig, request: TokenRequest, decoder: Decoder, noise_fn: NoiseFn | None = None
) -> Iterator[GenerationStep]:
    """Yield the state after each step; the last one has all frames. Temperature 0 needs no `noise_fn`."""
    open_slots = _open_slots(config, request)
    sequence = _start(config, request)
    first = 1 + request.prompt_frames
    for step in range(count_steps(config, request)):
        position = first + step
        inputs = sequence[:, :, :first] if step == 0 else sequence[:, :, position - 1 : position]
        cond, uncond = decoder(inputs)
        logits = cond if uncond is None else guide_logits(cond, uncond, request.guidance)
        tokens = sample(logits, noise_fn(step) if noise_fn else None, request.sampling)
        sequence[:, :, position] = np.where(open_slots[:, position], tokens, sequence[:, :, position])
        complete = min(max(position - max(config.delays), request.prompt_frames), request.frames)
        yield GenerationStep(delay.revert(sequence, config.delays), complete, logits)


def _start(config: LMConfig, request: TokenRequest) -> np.ndarray:
    """Return the sequence (b, q, s) with the prompt in its slots and the special token elsewhere."""
    missing = request.frames - request.prompt_frames
    unknown = np.full((request.clips, config.num_codebooks, missing), config.special_token)
    tokens = unknown if request.prompt is None else np.concatenate([request.prompt, unknown], axis=-1)
    return delay.build(tokens, config.delays, config.special_token)


def _open_slots(config: LMConfig, request: TokenRequest) -> np.ndarray:
    """Return (q, s), bool: True at the slots to sample, those of frames after the prompt."""
    slots = delay.real_slots(request.frames, config.delays)
    for codebook, codebook_delay in enumerate(config.delays):
        slots[codebook, : 1 + codebook_delay + request.prompt_frames] = False
    return slots
