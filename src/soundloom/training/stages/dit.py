"""Flow-matching training of the diffusion transformer with its conditioner and text encoder.

x_t = (1 - t) data + t noise; the network predicts noise - data. Letters: b batch, c latent channels, t frames.
Source: stable-audio-3, training/diffusion.py and the order of steps it documents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from soundloom.config.stable_audio.model import ModelConfig, ShiftConfig
from soundloom.config.stable_audio.text_encoder import T5GemmaConfig
from soundloom.engines.torch.blocks import Padding
from soundloom.engines.torch.stable_audio.conditioner import Conditioner
from soundloom.engines.torch.stable_audio.dit import DiT, TransformerBlock
from soundloom.engines.torch.stable_audio.t5gemma import T5GemmaEncoder
from soundloom.errors import ConfigError, TrainingError
from soundloom.training.config import DiTTrainingConfig, FocusConfig
from soundloom.training.data.captions import CaptionTokens
from soundloom.training.data.inpaint_masks import sample_mask
from soundloom.training.data.latents import Latents
from soundloom.training.loop.loop import RngStream
from soundloom.training.objectives.timesteps import noisy, sample_timesteps, shifted, stratified

QUIETEST_POWER = 0.02  # of latents that leveling still lifts
PASSING_LEVEL = 0.2  # of latents in the stream of tokens at the start; what blocks write is about 1
LENGTH_GROUPS = 6  # clips of like length share a batch, so that little of it is padding


class Generator(nn.Module):
    """Everything that turns a prompt and a noisy latent into a velocity, under one roof for training."""

    def __init__(self, model: ModelConfig, text: T5GemmaConfig) -> None:
        super().__init__()
        self.text = T5GemmaEncoder(text)
        self.conditioner = Conditioner(model.model.conditioning)
        self.dit = DiT(model.dit)

    def embed(self, ids: Tensor, mask: Tensor, seconds: Tensor) -> tuple[Tensor, Tensor]:
        """Context (b, s + 1, d) and duration (b, d) of prompts."""
        return self.conditioner(self.text(ids, mask), mask, seconds)

    def forward(self, batch: TrainingBatch, x: Tensor, t: Tensor, embedded: tuple[Tensor, Tensor]) -> Tensor:
        """Velocity (b, c, t) at x."""
        context, duration = embedded
        return self.dit(x, t, self.dit.condition(context, duration, batch.local), Padding(batch.valid))


@dataclass(frozen=True)
class TrainingBatch:
    """Clips of one step. ids and mask (b, s), seconds (b,), data (b, c, t), kept and valid (b, t)."""

    ids: Tensor
    mask: Tensor
    seconds: Tensor
    data: Tensor
    kept: Tensor  # 1 where the clip is given, 0 where it is to be made
    valid: Tensor  # bool; the rest is padding

    @property
    def local(self) -> Tensor:
        """Mask and masked latents, (b, 1 + c, t)."""
        kept = self.kept[:, None]
        return torch.cat([kept, self.data * kept], dim=1)

    def mapped(self, change: Callable[[Tensor], Tensor]) -> TrainingBatch:
        """The batch with all its tensors changed."""
        return TrainingBatch(**{name: change(value) for name, value in vars(self).items()})


class Clips:
    """Draws batches of encoded, captioned clips."""

    def __init__(
        self, latents: Latents, captions: CaptionTokens, config: DiTTrainingConfig, frames_per_second: float
    ) -> None:
        self.latents, self.captions, self.config = latents, captions, config
        self.frames_per_second = frames_per_second
        if len(latents.lengths) != len(captions.ids):
            found = f"{len(latents.lengths)} clips are encoded, and there are captions of {len(captions.ids)}"
            raise TrainingError(found, "run soundloom train encode again")
        self.longest = int(latents.lengths.max() + config.silence_seconds * frames_per_second)
        self.groups = self._by_length(config.families)
        self.focused = {focus.families: self._by_length(focus.families) for focus in config.focus}

    def _by_length(self, families: tuple[str, ...]) -> list[NDArray[np.intp]]:
        """Clips of some families, or of all, in groups of like length. Raises ConfigError where there are none."""
        clips = np.argsort(self.latents.lengths, kind="stable")
        if families:
            clips = clips[np.isin(self.captions.families[clips], families)]
        if not len(clips):
            known = ", ".join(sorted(set(self.captions.families) - {""})) or "none"
            raise ConfigError(f"no encoded sound is of these families: {', '.join(families)}", f"found: {known}")
        return np.array_split(clips, min(LENGTH_GROUPS, len(clips)))

    def sample(
        self, size: int, stream: RngStream, most: int | None = None, focus: FocusConfig | None = None
    ) -> TrainingBatch:
        """Clips of like length, each with one of its captions, some silence behind it and an inpainting mask.

        All on the device of the draws. No more than the first `most` latents of each; a `focus` of the configuration
        takes its families alone.
        """
        rng = stream.rng
        groups = self.focused[focus.families] if focus else self.groups
        clips = rng.choice(groups[rng.integers(len(groups))], size)
        lengths = self.latents.lengths[clips]
        silence = self.config.silence_seconds * self.frames_per_second
        frames = min(int(lengths.max() + silence), most or self.longest)
        valid = np.minimum(lengths + rng.exponential(silence, size).astype(int), frames)
        kept = np.stack([sample_mask(rng, self.config.masks, int(n), frames) for n in valid])
        ids, mask = self.captions.sample(clips, rng)
        data = np.stack([self.latents.padded(clip, frames) for clip in clips])
        return TrainingBatch(
            ids=stream.tensor(ids),
            mask=stream.tensor(mask),
            seconds=stream.tensor(self.latents.seconds[clips]),
            data=stream.tensor(data),
            kept=stream.tensor(kept),
            valid=stream.tensor(np.arange(frames) < valid[:, None]),
        )


class DiTTask:
    """Flow matching with dropped conditions.

    `shift` moves the times of whole clips by their length; beginnings and what is in focus have times of their own.
    """

    def __init__(
        self, generator: Generator, clips: Clips, config: DiTTrainingConfig, shift: ShiftConfig | None = None
    ) -> None:
        self.module, self.clips, self.config, self.shift = generator, clips, config, shift

    def losses(self, step: int, stream: RngStream) -> dict[str, Tensor]:
        """Predict the velocity of one batch at random times."""
        generator: Generator = self.module
        batch, config = self._sample(step, stream)
        t = sample_timesteps(config, stratified(stream, len(batch.data)))
        if self.shift and config is self.config:
            t = shifted(t, batch.seconds * self.clips.frames_per_second, self.shift)
        noise = stream.normal(*batch.data.shape)
        x = noisy(batch.data, noise, t)
        embedded = generator.embed(batch.ids, batch.mask, batch.seconds)
        dropped = stream.uniform(len(t)) < self.config.condition_dropout
        embedded = (without(embedded[0], dropped), embedded[1])
        target = noise - batch.data
        error = (generator(batch, x, t, embedded) - target).square().mean(1)
        if self.config.leveling:
            error = error * leveled(batch, self.config.leveling)[:, None]
        made, kept = loss_by_frames(error, batch)
        return {"loss": made + self.config.kept_weight * kept, "made": made, "kept": kept}

    def _sample(self, step: int, stream: RngStream) -> tuple[TrainingBatch, DiTTrainingConfig]:
        """Whole clips, or at first mostly many beginnings, later those in focus; and how their times are drawn."""
        config, short, focus = self.config, self.config.short, self.config.focus_at(step)
        if focus and stream.rng.random() < focus.share:
            batch = self.clips.sample(config.batch, stream, focus=focus)
            return batch, replace(config, times="logsnr-uniform", logsnr=focus.logsnr)
        if step >= short.until or stream.rng.random() >= short.share:
            return self.clips.sample(config.batch, stream), config
        frames = int(stream.rng.choice(short.frames))
        size = max(1, short.tokens // (frames + self.module.dit.config.num_memory_tokens))
        return self.clips.sample(size, stream, frames), replace(config, times="logsnr-uniform", logsnr=short.logsnr)


def without(context: Tensor, dropped: Tensor) -> Tensor:
    """Zero the context (b, s, d) of the dropped items, as guidance does at inference."""
    return context * (~dropped)[:, None, None]


def leveled(batch: TrainingBatch, exponent: float) -> Tensor:
    """Weights (b,) that make quiet clips count as much as loud ones; 1 for a clip of the power of noise."""
    power = (batch.data.square().mean(1) * batch.valid).sum(1) / batch.valid.sum(1)
    return (power + QUIETEST_POWER) ** -exponent


def loss_by_frames(error: Tensor, batch: TrainingBatch) -> tuple[Tensor, Tensor]:
    """Mean error (b, t) over made frames and over kept ones; short clips count as much as long ones."""
    kept = batch.kept.bool() & batch.valid
    made = batch.valid & ~kept
    return _mean_of_items(error, made), _mean_of_items(error, kept)


def _mean_of_items(error: Tensor, chosen: Tensor) -> Tensor:
    return ((error * chosen).sum(1) / chosen.sum(1).clamp_min(1)).mean()


@torch.no_grad()
def initialize(generator: Generator) -> None:
    """Start as the published code does: every branch adds nothing yet.

    The two projections differ: they undo each other, and latents pass between them at a low level. The noise, which is
    most of the velocity where there is much of it, then reaches the output untouched, and does not cover what blocks
    write. Networks hardly wider than their latents learn far sooner so.
    """
    dit = generator.dit
    project_in, project_out = dit.transformer.project_in.weight, dit.transformer.project_out.weight
    nn.init.orthogonal_(project_in, PASSING_LEVEL)
    project_out.copy_(project_in.T / PASSING_LEVEL**2)
    silent: list[nn.Module] = [dit.preprocess_conv, dit.postprocess_conv]
    for layer in dit.transformer.layers:
        assert isinstance(layer, TransformerBlock)
        silent += [layer.self_attn.to_out, layer.cross_attn.to_out, layer.ff.ff[2], layer.to_local_embed[2]]
    for module in silent:
        for parameter in module.parameters():
            parameter.zero_()
    start_text(generator.text)


@torch.no_grad()
def start_text(encoder: T5GemmaEncoder) -> None:
    """Give token embeddings unit size, once scaled as the encoder does."""
    encoder.embed_tokens.weight.normal_(std=encoder.config.hidden_size**-0.5)


def frames_per_second(model: ModelConfig) -> float:
    """Latent frames in a second."""
    return model.sample_rate / model.same.downsampling_ratio
