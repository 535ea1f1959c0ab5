"""Adversarial post-training: a few-step generator learns to make latents that a discriminator takes for real ones.

The generator denoises a noisy real clip in one step. The discriminator, initialized as a copy of the generator,
compares the result with that very clip under the same noise and caption. It also learns to reject mismatched captions.
Letters: b batch, c latent channels, t frames.
Source: adversarial relativistic-contrastive post-training of Stable Audio, as described for its training code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundloom.folders import expanded
from soundloom.text.tokenizer import Tokenizer
from soundloom.training.config import PostConfig
from soundloom.training.data.batches import EncodedClips, TrainingBatch
from soundloom.training.init.generator import Generator
from soundloom.training.loop.logging import Preview
from soundloom.training.loop.rng import RngStream
from soundloom.training.loop.task import OptimizerPhase, Term, TrainingTask, sum_terms
from soundloom.training.objectives.clap import ClapScorer
from soundloom.training.objectives.feature_matching import feature_distance
from soundloom.training.objectives.gan.latent_discriminator import Embedded, LatentDiscriminator
from soundloom.training.objectives.scorers import LatentCritic, Scorer, equal_captions
from soundloom.training.objectives.timesteps import add_noise, stratified
from soundloom.training.stages.context import StableAudioContext
from soundloom.training.stages.dit import drop_context, item_means
from soundloom.training.stages.previews import samples
from soundloom.training.stages.run import run_stage


def run(context: StableAudioContext, config: PostConfig) -> bool:
    """Train the generator against a discriminator."""

    def build(fresh: bool) -> tuple[TrainingTask, Preview]:
        generator, clips = context.starting_generator("post"), context.clips()
        task = PostTask(generator, clips, config, _clap(context, config))
        return task, samples(generator, context.autoencoder, clips, context.model, few=True)

    return run_stage(context, "post", config, build)


def _clap(context: StableAudioContext, config: PostConfig) -> ClapScorer | None:
    """Return the CLAP scorer that the recipe names, if any."""
    if not (config.text_alignment and config.scorer.clap):
        return None
    folder = context.recipe.folder / expanded(config.scorer.clap)
    same = context.autoencoder().to(context.distributed.device)
    return ClapScorer(folder, same, context.model.sample_rate, Tokenizer(context.tokenizer))


@dataclass(frozen=True)
class Pair:
    """Real and generated latents of a batch (b, c, t) under the same noise of level t (b,); padding is zero."""

    batch: TrainingBatch
    real: Tensor
    generated: Tensor
    t: Tensor


class PostTask:
    """Alternate steps of the generator and of its discriminator; without a scorer, train a critic of captions too."""

    def __init__(
        self, generator: Generator, clips: EncodedClips, config: PostConfig, scorer: Scorer | None = None
    ) -> None:
        self.module, self.clips, self.config = generator, clips, config
        self.discriminator = LatentDiscriminator(generator, config.discriminator_layers, config.head_width)
        self.critic: LatentCritic | None = None
        if config.text_alignment and scorer is None:
            latent_dim, vocabulary = generator.dit.config.io_channels, generator.text.config.vocab_size
            self.critic = LatentCritic(config.scorer, latent_dim, vocabulary)
        self.scorer = scorer or self.critic
        trained = [module for module in (self.discriminator, self.critic) if module is not None]
        self.auxiliary = nn.ModuleList(trained)
        self.phases = (
            OptimizerPhase("generator", (generator,)),
            OptimizerPhase("discriminator", tuple(trained), config.lr_scale, config.betas),
        )

    def phase(self, step: int) -> OptimizerPhase:
        """Return the phase of a step: every n-th step trains the discriminator."""
        return self.phases[step % self.config.discriminator_every == self.config.discriminator_every - 1]

    def losses(self, step: int, stream: RngStream) -> dict[str, Tensor]:
        """Denoise a batch in one step, and score the result."""
        batch = self.clips.sample(self.config.batch_size, stream)
        is_generator = self.phase(step).name == "generator"
        with torch.set_grad_enabled(torch.is_grad_enabled() and is_generator):
            clean = self._denoise(batch, stream, self.config.cfg_dropout if is_generator else 0.0)
        pair = self._pair(batch, clean, stream)
        if is_generator:
            return sum_terms([*self._generator_terms(pair, clean, step, stream)])
        return sum_terms([*self._discriminator_terms(pair, stream)])

    def _denoise(self, batch: TrainingBatch, stream: RngStream, dropout: float) -> Tensor:
        """Add noise to a batch and return the generator's clean estimate."""
        generator: Generator = self.module
        t = generator_times(self.config, stream, len(batch.data))
        x = add_noise(batch.data, stream.normal(*batch.data.shape), t)
        context, duration = generator.embed(batch.ids, batch.mask, batch.seconds)
        embedded = drop_context(context, stream.uniform(len(t)) < dropout), duration
        return x - t[:, None, None] * generator(batch, x, t, embedded)

    def _pair(self, batch: TrainingBatch, clean: Tensor, stream: RngStream) -> Pair:
        t = discriminator_times(self.config, stratified(stream, len(clean)))
        noise = stream.normal(*clean.shape)
        valid = batch.valid[:, None]
        return Pair(batch, add_noise(batch.data, noise, t) * valid, add_noise(clean, noise, t) * valid, t)

    def _generator_terms(self, pair: Pair, clean: Tensor, step: int, stream: RngStream) -> Iterator[Term]:
        config, batch = self.config, pair.batch
        with torch.no_grad():
            embedded = self.discriminator.embed(batch)
            real = self.discriminator(batch, pair.real, pair.t, embedded)
        generated = self.discriminator(batch, pair.generated, pair.t, embedded)
        margin = real.scores - generated.scores
        yield "adversarial", config.adversarial, mean_over_frames(F.softplus(margin), batch)
        yield "margin", 0.0, mean_over_frames(margin, batch)
        if config.feature_matching:
            valid = batch.valid[..., None]
            ours, theirs = ([feature * valid for feature in side.features] for side in (generated, real))
            yield "feature_matching", config.feature_matching, feature_distance(ours, theirs)
        if self.scorer and step >= config.text_alignment_start:
            yield "text_alignment", config.text_alignment, self.scorer.distance(clean, batch, stream).mean()

    def _discriminator_terms(self, pair: Pair, stream: RngStream) -> Iterator[Term]:
        config, batch = self.config, pair.batch
        embedded = self.discriminator.embed(batch)
        real, generated = (self.discriminator(batch, x, pair.t, embedded).scores for x in (pair.real, pair.generated))
        margin = real - generated
        loss = F.softplus(-margin) if config.loss == "relativistic" else F.relu(1 - margin)
        yield "discriminator", config.adversarial, mean_over_frames(loss, batch)
        if config.contrastive:
            yield "contrastive", config.adversarial * config.contrastive, self._contrastive_loss(pair, real)
        if config.gradient_penalty:
            both = (pair.real, real), (pair.generated, generated)
            penalties = [self._gradient_penalty(pair, x, scores, embedded, stream) for x, scores in both]
            yield "gradient_penalty", config.gradient_penalty, (penalties[0] + penalties[1]) / 2
        if config.logit_centering:
            yield "logit_centering", config.logit_centering, mean_over_frames((real + generated).square(), batch)
        if self.critic:
            losses = self.critic.losses(batch, stream)
            yield "critic", 0.0, losses["critic"]
            yield "critic_total", 1.0, losses["loss"]

    def _contrastive_loss(self, pair: Pair, matched: Tensor) -> Tensor:
        """Score real clips lower under another clip's caption than under their own."""
        batch = pair.batch
        partner, exists = other_captions(batch.ids)
        swapped = replace(batch, ids=batch.ids[partner], mask=batch.mask[partner])
        mismatched = self.discriminator(swapped, pair.real, pair.t, self.discriminator.embed(swapped)).scores
        loss = item_means(F.softplus(-self.config.contrastive_scale * (matched - mismatched)), batch.valid)
        return (loss * exists).sum() / exists.sum().clamp_min(1)

    def _gradient_penalty(self, pair: Pair, x: Tensor, scores: Tensor, embedded: Embedded, stream: RngStream) -> Tensor:
        """Return the squared change of scores (b, t) under a little noise, which approximates their gradient's norm."""
        moved = x + self.config.gradient_penalty_noise * stream.normal(*x.shape) * pair.batch.valid[:, None]
        change = self.discriminator(pair.batch, moved, pair.t, embedded).scores - scores
        return mean_over_frames(change.square(), pair.batch)


def mean_over_frames(values: Tensor, batch: TrainingBatch) -> Tensor:
    """Return the mean over items of their means over valid frames, so that every clip counts the same."""
    return item_means(values, batch.valid).mean()


def generator_times(config: PostConfig, stream: RngStream, count: int) -> Tensor:
    """Sample noise levels (b,) of the generator's inputs: uniform in log SNR, or noise alone."""
    low, high = config.logsnr
    t = torch.sigmoid(-(low + (high - low) * stratified(stream, count)))
    return torch.where(stream.uniform(count) < config.pure_noise, torch.ones_like(t), t)


def discriminator_times(config: PostConfig, u: Tensor) -> Tensor:
    """Map uniform samples (b,) to noise levels of the discriminator's inputs.

    Near 1 it would see only noise. At 0 it would see the fingerprints of the autoencoder.
    """
    low, high = config.discriminator_time_range
    if config.discriminator_timesteps == "logit-normal":
        u = torch.sigmoid(torch.special.ndtri(u.clamp(1e-6, 1 - 1e-6)))
    return low + (high - low) * u


def other_captions(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each item of ids (b, s) the next one with another caption (b,), and whether there is one (b,)."""
    count = len(ids)
    items = torch.arange(count, device=ids.device)
    following = (items[:, None] + 1 + items) % count  # (b, b), the item itself last
    differs = ~equal_captions(ids).gather(1, following)
    first = differs.int().argmax(1)
    return following[items, first], differs.any(1)
