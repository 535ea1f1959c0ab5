"""The loop that makes codes: one position after the other, with guidance; it knows no engine.

Letters: b clips, q codebooks, t frames, s positions, v tokens of a codebook.
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

# Takes the tokens (b, q, s) of the next positions and returns the logits (b, q, v) of the last one, prompted and
# not; the latter is None where there is no guidance.
Decoder = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]
NoiseFn = Callable[[int], np.ndarray]  # of a step, (b, q, v)


@dataclass(frozen=True)
class TokenRequest:
    """What is made: `clips` of `frames` each, with what is drawn and how far it is guided.

    `prompt` (b, q, p) are codes that the clips begin with; they are part of the frames.
    """

    clips: int
    frames: int
    sampling: Sampling
    guidance: float = 3.0
    prompt: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.prompt_frames >= self.frames:
            raise RequestError(
                f"a prompt of {self.prompt_frames} frames leaves nothing of {self.frames} frames to be made",
                "ask for a longer clip, or give a shorter prompt",
            )

    @property
    def prompt_frames(self) -> int:
        return 0 if self.prompt is None else self.prompt.shape[-1]


@dataclass(frozen=True)
class GenerationStep:
    """The state after a step."""

    tokens: np.ndarray  # (b, q, t); frames from `frames` on are not all there yet
    frames: int  # that are complete
    logits: np.ndarray  # (b, q, v) that the step's tokens were drawn from, guided


def count_steps(config: LMConfig, request: TokenRequest) -> int:
    """Number of forward passes that a request takes."""
    return delay.sequence_length(request.frames, config.delays) - 1 - request.prompt_frames


def generate(
    config: LMConfig, request: TokenRequest, decoder: Decoder, noise: NoiseFn | None = None
) -> Iterator[GenerationStep]:
    """Yield after each step; the last one has all frames. `noise` is not needed at temperature 0."""
    open_slots = _open_slots(config, request)
    sequence = _start(config, request)
    first = 1 + request.prompt_frames
    for step in range(count_steps(config, request)):
        position = first + step
        fed = sequence[:, :, :first] if step == 0 else sequence[:, :, position - 1 : position]
        prompted, unprompted = decoder(fed)
        logits = prompted if unprompted is None else guide_logits(prompted, unprompted, request.guidance)
        tokens = sample(logits, noise(step) if noise else None, request.sampling)
        sequence[:, :, position] = np.where(open_slots[:, position], tokens, sequence[:, :, position])
        complete = min(max(position - max(config.delays), request.prompt_frames), request.frames)
        yield GenerationStep(delay.revert(sequence, config.delays), complete, logits)


def _start(config: LMConfig, request: TokenRequest) -> np.ndarray:
    """Lay out the sequence (b, q, s) with the prompt in its slots and the special token elsewhere."""
    missing = request.frames - request.prompt_frames
    unknown = np.full((request.clips, config.num_codebooks, missing), config.special_token)
    codes = unknown if request.prompt is None else np.concatenate([request.prompt, unknown], axis=-1)
    return delay.build(codes, config.delays, config.special_token)


def _open_slots(config: LMConfig, request: TokenRequest) -> np.ndarray:
    """Mark the slots (q, s) that are to be drawn: those of frames behind the prompt."""
    slots = delay.real_slots(request.frames, config.delays)
    for codebook, late in enumerate(config.delays):
        slots[codebook, : 1 + late + request.prompt_frames] = False
    return slots
