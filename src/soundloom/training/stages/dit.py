"""Train the diffusion transformer, its conditioner and its text encoder by flow matching.

x_t = (1 - t) data + t noise; the network predicts noise - data. Letters: b batch, c latent channels, t frames.
Source: stable-audio-3, training/diffusion.py and the order of steps it documents.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor

from soundloom.config.stable_audio.model import ShiftConfig
from soundloom.training.config import DiTTrainingConfig
from soundloom.training.data.batches import EncodedClips, TrainingBatch
from soundloom.training.init.generator import Generator, initialize
from soundloom.training.loop.checkpoint import load_weights
from soundloom.training.loop.logging import Preview
from soundloom.training.loop.rng import RngStream
from soundloom.training.loop.task import TrainingTask
from soundloom.training.objectives.timesteps import add_noise, sample_timesteps, shift_timesteps, stratified
from soundloom.training.stages.context import StableAudioContext
from soundloom.training.stages.export import save_clip_lengths
from soundloom.training.stages.previews import samples
from soundloom.training.stages.run import run_stage

POWER_FLOOR = 0.02  # of latents; the loss of quieter clips is weighted as at this power


def run(context: StableAudioContext, config: DiTTrainingConfig) -> bool:
    """Train the generator, from the text encoder of the stage `text` if the recipe has it."""
    run_dir, seconds = context.run_dir, np.empty(0, np.float32)

    def build(fresh: bool) -> tuple[TrainingTask, Preview]:
        nonlocal seconds
        generator = Generator(context.model, context.text_config)
        if context.pretrained:
            context.pretrained.fill(generator)
        elif fresh:
            initialize(generator)
            if context.recipe.has("text"):
                load_weights(generator.text, run_dir.read_weights("text"), run_dir.weights("text"))
        clips = context.clips()
        shift = context.model.model.diffusion.distribution_shift_options
        task = DiTTask(generator.to(context.distributed.device), clips, config, shift)
        seconds = clips.latents.seconds
        return task, samples(generator, context.autoencoder, clips, context.model, few=False)

    def finish(weights: dict[str, Tensor]) -> None:
        save_clip_lengths(context, seconds)
        run_dir.save_weights("dit", weights)

    return run_stage(context, "dit", config, build, finish)


class DiTTask:
    """Flow matching with CFG dropout.

    `shift` moves the timesteps of full clips by their length. Crops and phases of the curriculum are not shifted.
    """

    def __init__(
        self, generator: Generator, clips: EncodedClips, config: DiTTrainingConfig, shift: ShiftConfig | None = None
    ) -> None:
        self.module, self.clips, self.config, self.shift = generator, clips, config, shift

    def losses(self, step: int, stream: RngStream) -> dict[str, Tensor]:
        """Predict the velocity of one batch at random timesteps."""
        generator: Generator = self.module
        batch, config = self._sample(step, stream)
        t = sample_timesteps(config, stratified(stream, len(batch.data)))
        if self.shift and config is self.config:
            t = shift_timesteps(t, batch.seconds * self.clips.frames_per_second, self.shift)
        noise = stream.normal(*batch.data.shape)
        x = add_noise(batch.data, noise, t)
        context, duration = generator.embed(batch.ids, batch.mask, batch.seconds)
        context = drop_context(context, stream.uniform(len(t)) < self.config.cfg_dropout)
        target = noise - batch.data
        error = (generator(batch, x, t, (context, duration)) - target).square().mean(1)
        if self.config.loss_weighting:
            error = error * loss_weights(batch, self.config.loss_weighting)[:, None]
        generated, preserved = masked_losses(error, batch)
        total = generated + self.config.preserved_weight * preserved
        return {"loss": total, "generated": generated, "preserved": preserved}

    def _sample(self, step: int, stream: RngStream) -> tuple[TrainingBatch, DiTTrainingConfig]:
        """Sample full clips, crops or a phase of the curriculum, and return the config of their timesteps."""
        config, crops, phase = self.config, self.config.crop_first, self.config.curriculum_at(step)
        if phase and stream.rng.random() < phase.share:
            batch = self.clips.sample(config.batch_size, stream, phase=phase)
            return batch, replace(config, timesteps="logsnr-uniform", logsnr=phase.logsnr)
        if step >= crops.until or stream.rng.random() >= crops.share:
            return self.clips.sample(config.batch_size, stream), config
        frames = int(stream.rng.choice(crops.frames))
        size = max(1, crops.tokens // (frames + self.module.dit.config.num_memory_tokens))
        batch = self.clips.sample(size, stream, frames)
        return batch, replace(config, timesteps="logsnr-uniform", logsnr=crops.logsnr)


def drop_context(context: Tensor, dropped: Tensor) -> Tensor:
    """Zero the context (b, s, d) of the dropped items, as guidance does at inference."""
    return context * (~dropped)[:, None, None]


def loss_weights(batch: TrainingBatch, exponent: float) -> Tensor:
    """Return weights (b,) that make quiet clips count as much as loud ones; 1 for a clip of unit power."""
    power = (batch.data.square().mean(1) * batch.valid).sum(1) / batch.valid.sum(1)
    return (power + POWER_FLOOR) ** -exponent


def masked_losses(error: Tensor, batch: TrainingBatch) -> tuple[Tensor, Tensor]:
    """Return the mean error (b, t) over generated and over preserved frames; every clip counts the same."""
    preserved = batch.inpaint_mask.bool() & batch.valid
    generated = batch.valid & ~preserved
    return item_means(error, generated).mean(), item_means(error, preserved).mean()


def item_means(values: Tensor, chosen: Tensor) -> Tensor:
    """Return the mean (b,) of values (b, t) over each item's chosen positions; 0 for an item without any."""
    return (values * chosen).sum(1) / chosen.sum(1).clamp_min(1)
