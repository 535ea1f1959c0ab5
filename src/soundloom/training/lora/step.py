"""What one training step computes before the network: noisy latents, targets, conditioning, and the weights of errors.

x_t = (1 - t) data + t noise; the network predicts noise - data. All random draws are inputs, so that engines agree.
Letters: b clips, c latent channels, t frames. Source: stable-audio-3, training/diffusion.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from soundloom.config.ranges import Ranged, Within
from soundloom.config.stable_audio.model import ShiftConfig
from soundloom.diffusion import timesteps
from soundloom.diffusion.schedules import warp
from soundloom.errors import ConfigError
from soundloom.training.lora.coupling import couple
from soundloom.training.lora.padding import extend_lengths, valid_mask
from soundloom.training.ranges import LogSNR, Share, Weight, require_pair

Array = NDArray[np.float32]
Normalization = Literal["none", "timestep", "sample", "sample-channel"]
Distribution = Literal["truncated-logit-normal", "logit-normal", "logsnr-normal", "logsnr-uniform", "uniform"]

COUNT_EPS = 1e-8  # added to counts before dividing by them
NORMALIZATION_EPS = 1e-6


@dataclass(frozen=True)
class StepConfig(Ranged):
    """How a step draws times, masks and dropped prompts, and how it weights errors. Defaults are the published ones.

    `normalization` divides the squared errors of generated frames by the variance of the target: over the channels of
    each frame, over the clip, or over each channel of the clip.
    """

    times: Distribution = "truncated-logit-normal"
    logsnr: tuple[LogSNR, ...] = (-6.0, 5.0)  # range of logsnr-uniform
    logsnr_mean: LogSNR = -1.2  # of logsnr-normal
    logsnr_deviation: Annotated[float, Within(0, 50)] = 2.0
    coupling: bool = True  # assign noise to the clips of a batch by optimal transport
    silence_seconds: Annotated[float, Within(0, 600)] = 4.0  # mean of the exponential silence after short clips
    mask_probabilities: tuple[Share, ...] = (0.1, 0.8, 0.1, 0.0)  # of segments, full, causal, spans
    cfg_dropout: Share = 0.1
    preserved_weight: Weight = 1.0  # of the loss on frames that inpainting preserves
    normalization: Normalization = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_pair("logsnr", self.logsnr, rising=True)
        if len(self.mask_probabilities) not in (3, 4) or abs(sum(self.mask_probabilities) - 1) > 1e-6:
            found = list(self.mask_probabilities)
            raise ConfigError(f"mask_probabilities must be three or four numbers that sum to 1, found {found}")

    @property
    def draws_normal_times(self) -> bool:
        """Whether times come from normal draws; otherwise from uniform ones."""
        return self.times in ("truncated-logit-normal", "logit-normal", "logsnr-normal")


@dataclass(frozen=True)
class StepDraws:
    """The random draws of a step: normal or uniform ones for the times (b,), noise (b, c, t), and the dropped clips.

    `extension` (b,) is the silence after each clip, in frames; `masks` (b, t) preserve where they are 1.
    """

    times: NDArray
    noise: Array
    extension: NDArray
    masks: NDArray
    dropped: NDArray[np.bool_]


@dataclass(frozen=True)
class StepInputs:
    """The inputs of the network and of the loss, float32 except masks.

    `x` and `target` are (b, c, t), `times` and `seconds` (b,), `valid` (b, t). `local` is the local conditioning
    (b, 1 + c, t). The loss is the sum of squared errors times `generated` plus times `preserved`; these weights
    are (b, 1 or c, t). Clips that are `dropped` (b,) lose prompt and duration, but keep the global duration.
    """

    x: Array
    target: Array
    times: Array
    seconds: Array
    valid: NDArray[np.bool_]
    local: Array
    generated: Array
    preserved: Array
    dropped: NDArray[np.bool_]

    @property
    def is_padded(self) -> bool:
        return not self.valid.all()


def times_from_draws(config: StepConfig, draws: NDArray) -> NDArray[np.floating]:
    """Map normal or uniform draws (b,) to times in [0, 1]."""
    if config.times == "truncated-logit-normal":
        return timesteps.truncated_logit_normal(timesteps.normal_cdf(draws))
    if config.times == "logit-normal":
        return timesteps.logit_normal(draws)
    if config.times == "logsnr-normal":
        return timesteps.logsnr_normal(draws, config.logsnr_mean, config.logsnr_deviation)
    if config.times == "logsnr-uniform":
        return timesteps.clipped(timesteps.logsnr_uniform(draws, *config.logsnr))
    return np.asarray(draws, np.float64)


def effective_lengths(seconds: NDArray, sample_rate: int, ratio: int) -> NDArray[np.int64]:
    """Return the lengths in latent frames (b,) of clips of some seconds; `ratio` is that of samples to frames."""
    return np.array([math.ceil(int(float(one) * sample_rate) / ratio) for one in seconds], np.int64)


def shifted(times: NDArray, lengths: NDArray[np.int64], shift: ShiftConfig | None) -> NDArray[np.float64]:
    """Return times (b,) moved towards noise by the lengths of the clips, in latent frames."""
    return np.asarray(times, np.float64) if shift is None else warp(times, lengths.astype(np.float64), shift)


def prepare(
    latents: Array,
    lengths: NDArray[np.int64],
    seconds: NDArray,
    times: NDArray,
    draws: StepDraws,
    config: StepConfig,
    mask_padding: bool = True,
) -> StepInputs:
    """Compute the inputs of a step from latents (b, c, t) whose first `lengths` (b,) frames are real.

    `times` (b,) are the final ones. Unless the model masks padding, all frames are valid and errors in padding and
    preserved frames count alike.
    """
    frames = latents.shape[2]
    noise = draws.noise[couple(latents, draws.noise)] if config.coupling and len(latents) > 1 else draws.noise
    t = np.asarray(times, np.float32)[:, None, None]
    ends = extend_lengths(lengths, draws.extension, frames) if mask_padding else np.asarray(lengths)
    real = valid_mask(ends, frames)
    masks = draws.masks.astype(np.float32) * (real | (not mask_padding))
    target = noise - latents
    generated = real & (masks == 0)
    scale = normalization(target, generated, config.normalization)
    if mask_padding:
        weights = item_weights(generated), item_weights(real & (masks == 1)) * config.preserved_weight
    else:
        weights = joint_weights(generated, config.preserved_weight)
    channels = latents.shape[1]
    return StepInputs(
        x=latents * (1 - t) + noise * t,
        target=target,
        times=t.reshape(-1),
        seconds=np.asarray(seconds, np.float32),
        valid=real if mask_padding else np.ones_like(real),
        local=np.concatenate([masks[:, None], latents * masks[:, None]], axis=1),
        generated=(weights[0][:, None] * scale / channels).astype(np.float32),
        preserved=(weights[1][:, None] / channels).astype(np.float32),
        dropped=np.asarray(draws.dropped, bool),
    )


def item_weights(chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return weights (b, t) that average chosen frames per clip, then over clips; a clip without any counts as 0."""
    return chosen / ((chosen.sum(axis=1, keepdims=True) + COUNT_EPS) * len(chosen))


def joint_weights(generated: NDArray[np.bool_], rest: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights (b, t) of generated frames and of all others, which count `rest` times as much."""
    others = ~generated
    count = generated.sum(1, keepdims=True) + rest * others.sum(1, keepdims=True) + COUNT_EPS
    return generated / (count * len(generated)), rest * others / (count * len(generated))


def normalization(target: Array, chosen: NDArray[np.bool_], kind: Normalization) -> NDArray[np.float64]:
    """Return the factor (b, 1 or c, 1 or t) of squared errors in chosen frames (b, t); 1 for "none"."""
    if kind == "none":
        return np.ones((len(target), 1, 1))
    wide, inside = target.astype(np.float64), chosen[:, None]
    if kind == "timestep":
        return 1 / (wide.var(axis=1, keepdims=True) + NORMALIZATION_EPS)
    axes = (1, 2) if kind == "sample" else (2,)
    count = (inside & np.ones_like(wide, bool)).sum(axis=axes, keepdims=True)
    mean = (wide * inside).sum(axis=axes, keepdims=True) / np.maximum(count, 1)
    variance = (np.square(wide - mean) * inside).sum(axis=axes, keepdims=True) / np.maximum(count, 1)
    return np.where(count > 0, 1 / (variance + NORMALIZATION_EPS), 1.0)
