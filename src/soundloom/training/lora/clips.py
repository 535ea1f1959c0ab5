"""The clips of a training set in memory, and the batches that a step draws from them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soundloom.config.stable_audio.model import ModelConfig
from soundloom.datasets.examples import Example
from soundloom.diffusion.noise import keyed_generator
from soundloom.errors import TrainingError, printable
from soundloom.training.data.inpaint_masks import sample_mask
from soundloom.training.lora.config import DataConfig
from soundloom.training.lora.padding import extend_lengths
from soundloom.training.lora.prompts import PromptBank, Prompts
from soundloom.training.lora.step import (
    StepConfig,
    StepDraws,
    StepInputs,
    effective_lengths,
    prepare,
    shifted,
    times_from_draws,
)

Array = NDArray[np.float32]
SMALL_EPOCH = 100  # batches; sets that fill fewer are drawn from with replacement
ORDER_STEP = 2**33  # steps of the random numbers that order epochs, which no training step uses
HELD_OUT_STEP = 2**32 - 4
HELD_OUT_TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)
MAX_HELD_OUT = 16  # clips that are measured


@dataclass(frozen=True)
class TrainingClip:
    """Latents (c, n) with the seconds of the whole sound and its captions."""

    latents: NDArray[np.floating]
    seconds: float
    captions: tuple[str, ...]

    @property
    def digest(self) -> str:
        """A hash of the latents."""
        return hashlib.sha256(np.ascontiguousarray(self.latents, np.float32).data).hexdigest()


@dataclass(frozen=True)
class Batch:
    """What the network gets in one step."""

    inputs: StepInputs
    prompts: Prompts


def training_clips(examples: Iterable[Example], latent_rms: float = 0.0) -> list[TrainingClip]:
    """Return examples with latents as clips; above 0, `latent_rms` sets the RMS of each clip's latents."""
    clips = []
    for example in examples:
        if example.latents is None:
            raise TrainingError(f"{printable(example.origin)} is not encoded", "run soundloom lora encode")
        latents = example.latents
        if latent_rms:
            latents = latents * np.float32(latent_rms / max(float(np.sqrt(np.square(latents).mean())), 1e-6))
        clips.append(TrainingClip(latents.astype(np.float16), example.seconds, example.captions))
    return clips


def data_digest(clips: Iterable[TrainingClip]) -> str:
    """Return a hash of all latents, durations and captions, in any order."""
    entries = sorted(json.dumps([clip.digest, clip.seconds, sorted(clip.captions)]) for clip in clips)
    return hashlib.sha256("\n".join(entries).encode()).hexdigest()[:32]


def triggered(caption: str, trigger: str) -> str:
    """Return a caption behind a trigger word."""
    return f"{trigger}, {caption}" if trigger else caption


def all_texts(clips: Iterable[TrainingClip], config: DataConfig) -> list[str]:
    """Return every text that steps may draw."""
    captions = [caption for clip in clips for caption in clip.captions]
    texts = [triggered(caption, config.trigger) for caption in captions]
    return list(dict.fromkeys(texts + (captions if config.trigger and config.trigger_share < 1 else [])))


class ClipSampler:
    """Draws batches. Those of a step depend on the seed and the step's number alone."""

    def __init__(
        self,
        clips: Sequence[TrainingClip],
        bank: PromptBank,
        silence: Array,
        model: ModelConfig,
        data: DataConfig,
        step: StepConfig,
        seed: int,
    ) -> None:
        """`silence` (c, n) are the latents of silence, which follow short clips."""
        self.clips, self.bank, self.silence = clips, bank, silence
        self.model, self.data, self.step, self.seed = model, data, step, seed
        self.ratio, self.rate = model.same.downsampling_ratio, model.sample_rate
        self.crop = min(data.crop, model.sample_size // self.ratio)

    @property
    def epoch_batches(self) -> int:
        """The number of batches of an epoch."""
        return max(SMALL_EPOCH, math.ceil(len(self.clips) / self.data.batch_size))

    def draw(self, rng: np.random.Generator, batch: int) -> Batch:
        """Return the batch of this number; a step has one for each of its micro-batches."""
        chosen = [self.clips[index] for index in self._choose(rng, batch)]
        starts = [self._start(rng, clip) for clip in chosen]
        texts = [self._text(rng, clip) for clip in chosen]
        size, extends = len(chosen), self.model.model.diffusion.mask_padding_attention
        lengths = np.array([min(clip.latents.shape[1], self.crop) for clip in chosen], np.int64)
        silence = self.step.silence_seconds * self.rate / self.ratio
        extension = rng.exponential(silence, size) if extends and silence else np.zeros(size)
        ends = extend_lengths(lengths, extension, self.crop)
        frames = int(ends.max())
        probabilities = (*self.step.mask_probabilities, 0.0)[:4]
        draws = StepDraws(
            times=rng.standard_normal(size) if self.step.draws_normal_times else rng.random(size),
            noise=rng.standard_normal((size, self.model.model.io_channels, frames), np.float32),
            extension=extension,
            masks=np.stack([sample_mask(rng, probabilities, int(end), frames) for end in ends]),
            dropped=rng.random(size) < self.step.cfg_dropout,
        )
        latents = np.stack([self._padded(*item, frames) for item in zip(chosen, starts, lengths, strict=True)])
        seconds = self._seconds(chosen, lengths)
        times = self._shifted(times_from_draws(self.step, draws.times), seconds, frames)
        inputs = prepare(latents, lengths, seconds, times, draws, self.step, extends)
        return Batch(inputs, self.bank.batch(texts))

    def _choose(self, rng: np.random.Generator, batch: int) -> NDArray[np.int64]:
        size, count = self.data.batch_size, len(self.clips)
        if count < SMALL_EPOCH * size:
            return rng.integers(count, size=size)
        positions = np.arange(batch * size, (batch + 1) * size)
        orders = {int(epoch): self._order(int(epoch)) for epoch in np.unique(positions // count)}
        return np.array([orders[int(position // count)][position % count] for position in positions])

    def _order(self, epoch: int) -> NDArray[np.int64]:
        return keyed_generator(self.seed, ORDER_STEP + epoch).permutation(len(self.clips))

    def _start(self, rng: np.random.Generator, clip: TrainingClip) -> int:
        spare = clip.latents.shape[1] - self.crop
        return int(rng.integers(spare + 1)) if spare > 0 and self.data.random_crop else 0

    def _text(self, rng: np.random.Generator, clip: TrainingClip) -> str:
        caption = clip.captions[int(rng.integers(len(clip.captions)))]
        return triggered(caption, self.data.trigger) if rng.random() < self.data.trigger_share else caption

    def _padded(self, clip: TrainingClip, start: int, length: int, frames: int) -> Array:
        """Return latents (c, frames): a crop, followed by silence."""
        crop = clip.latents[:, start : start + length].astype(np.float32)
        padding = self.silence[:, np.arange(frames - length) % self.silence.shape[1]]
        return np.concatenate([crop, padding], axis=1)

    def _seconds(self, clips: Sequence[TrainingClip], lengths: NDArray[np.int64]) -> Array:
        if self.data.seconds == "full":
            return np.array([clip.seconds for clip in clips], np.float32)
        cut = lengths * self.ratio / self.rate
        return np.minimum(cut, [clip.seconds for clip in clips]).astype(np.float32)

    def _shifted(self, times: NDArray, seconds: Array, frames: int) -> NDArray[np.float64]:
        diffusion = self.model.model.diffusion
        lengths = effective_lengths(seconds, self.rate, self.ratio)
        if not diffusion.use_effective_length_for_schedule:
            lengths = np.full_like(lengths, frames)
        return shifted(times, lengths, diffusion.distribution_shift_options)

    def held_out(self, clips: Sequence[TrainingClip]) -> list[Batch]:
        """Return a batch for each clip with fixed times and noise, its middle, and its first caption."""
        return [self._fixed(clip, number) for number, clip in enumerate(clips[:MAX_HELD_OUT])]

    def _fixed(self, clip: TrainingClip, number: int) -> Batch:
        count, length = len(HELD_OUT_TIMES), min(clip.latents.shape[1], self.crop)
        latents = self._padded(clip, (clip.latents.shape[1] - length) // 2, length, length)
        rng = keyed_generator(self.seed, HELD_OUT_STEP, number)
        nothing = np.zeros((count, length), np.float32)
        noise = rng.standard_normal((count, *latents.shape), np.float32)
        draws = StepDraws(np.zeros(count), noise, np.zeros(count), nothing, np.zeros(count, bool))
        lengths, times = np.full(count, length, np.int64), np.array(HELD_OUT_TIMES)
        seconds = self._seconds([clip] * count, lengths)
        uncoupled = StepConfig(coupling=False)
        inputs = prepare(np.stack([latents] * count), lengths, seconds, times, draws, uncoupled)
        return Batch(inputs, self.bank.batch([triggered(clip.captions[0], self.data.trigger)] * count))
