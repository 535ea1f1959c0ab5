"""Adversarial post-training: a few-step generator learns to make latents that cannot be told from real ones.

The generator denoises a noisy real clip in one jump. The discriminator, which began as a copy of it, compares the
result with that very clip, both under the same noise and caption, and learns besides which captions are wrong.
Letters: b batch, c latent channels, t frames.
Source: adversarial relativistic-contrastive post-training of Stable Audio, as described for its training code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundloom.training.config import PostConfig
from soundloom.training.data.batches import EncodedClips, TrainingBatch
from soundloom.training.init.generator import Generator
from soundloom.training.loop.rng import RngStream
from soundloom.training.loop.task import OptimizerPhase
from soundloom.training.objectives.feature_matching import feature_distance
from soundloom.training.objectives.gan.latent_discriminator import Embedded, LatentDiscriminator
from soundloom.training.objectives.scorers import LatentCritic, Scorer, equal_captions
from soundloom.training.objectives.spectral.losses import Term
from soundloom.training.objectives.timesteps import add_noise, stratified
from soundloom.training.stages.dit import drop_context


@dataclass(frozen=True)
class Pair:
    """Real and made latents of a batch (b, c, t) under the same noise of level t (b,); padding is zero."""

    batch: TrainingBatch
    real: Tensor
    made: Tensor
    t: Tensor


class PostTask:
    """Steps of the generator and of its discriminator, which a critic of captions joins where none is given."""

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
        judges = [module for module in (self.discriminator, self.critic) if module is not None]
        self.auxiliary = nn.ModuleList(judges)
        self.phases = (
            OptimizerPhase("generator", (generator,)),
            OptimizerPhase("discriminator", tuple(judges), config.lr_scale, config.betas),
        )

    def phase(self, step: int) -> OptimizerPhase:
        """Every n-th step is the discriminator's."""
        return self.phases[step % self.config.discriminator_every == self.config.discriminator_every - 1]

    def losses(self, step: int, stream: RngStream) -> dict[str, Tensor]:
        """Jump from a noisy batch to a clean one, and let it be judged."""
        batch = self.clips.sample(self.config.batch_size, stream)
        judging = self.phase(step).name == "discriminator"
        with torch.set_grad_enabled(torch.is_grad_enabled() and not judging):
            clean = self._jump(batch, stream, dropout=0.0 if judging else self.config.cfg_dropout)
        pair = self._pair(batch, clean, stream)
        terms = list(self._judge_terms(pair, stream) if judging else self._generator_terms(pair, clean, step, stream))
        total = torch.stack([weight * value for _, weight, value in terms if weight]).sum()
        return {"loss": total} | {name: value for name, _, value in terms}

    def _jump(self, batch: TrainingBatch, stream: RngStream, dropout: float) -> Tensor:
        """Clean latents as the generator sees them behind noisy ones."""
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
        made = self.discriminator(batch, pair.made, pair.t, embedded)
        lead = real.scores - made.scores
        yield "adversarial", config.adversarial, mean_of_frames(F.softplus(lead), batch)
        yield "margin", 0.0, mean_of_frames(lead, batch)
        if config.feature_matching:
            valid = batch.valid[..., None]
            of_made, of_real = ([feature * valid for feature in side.features] for side in (made, real))
            yield "feature_matching", config.feature_matching, feature_distance(of_made, of_real)
        if self.scorer and step >= config.text_alignment_start:
            yield "text_alignment", config.text_alignment, self.scorer.distance(clean, batch, stream).mean()

    def _judge_terms(self, pair: Pair, stream: RngStream) -> Iterator[Term]:
        config, batch = self.config, pair.batch
        embedded = self.discriminator.embed(batch)
        real, made = (self.discriminator(batch, x, pair.t, embedded).scores for x in (pair.real, pair.made))
        lead = real - made
        game = F.softplus(-lead) if config.loss == "relativistic" else F.relu(1 - lead)
        yield "discriminator", config.adversarial, mean_of_frames(game, batch)
        if config.contrastive:
            yield "contrastive", config.adversarial * config.contrastive, self._contrast(pair, real)
        if config.gradient_penalty:
            both = (pair.real, real), (pair.made, made)
            slopes = [self._slope(pair, x, scores, embedded, stream) for x, scores in both]
            yield "gradient_penalty", config.gradient_penalty, (slopes[0] + slopes[1]) / 2
        if config.logit_centering:
            yield "logit_centering", config.logit_centering, mean_of_frames((real + made).square(), batch)
        if self.critic:
            losses = self.critic.losses(batch, stream)
            yield "critic", 0.0, losses["critic"]
            yield "critic_total", 1.0, losses["loss"]

    def _contrast(self, pair: Pair, right: Tensor) -> Tensor:
        """Real clips under another clip's caption should score lower than under their own."""
        batch = pair.batch
        partner, exists = other_captions(batch.ids)
        swapped = replace(batch, ids=batch.ids[partner], mask=batch.mask[partner])
        wrong = self.discriminator(swapped, pair.real, pair.t, self.discriminator.embed(swapped)).scores
        loss = items_mean(F.softplus(-self.config.contrastive_scale * (right - wrong)), batch)
        return (loss * exists).sum() / exists.sum().clamp_min(1)

    def _slope(self, pair: Pair, x: Tensor, scores: Tensor, embedded: Embedded, stream: RngStream) -> Tensor:
        """Squared change of the scores (b, t) when a little noise is added to x, near the size of their gradient."""
        moved = x + self.config.gradient_penalty_noise * stream.normal(*x.shape) * pair.batch.valid[:, None]
        change = self.discriminator(pair.batch, moved, pair.t, embedded).scores - scores
        return mean_of_frames(change.square(), pair.batch)


def items_mean(values: Tensor, batch: TrainingBatch) -> Tensor:
    """Mean (b,) of each item's valid frames, of values (b, t)."""
    return (values * batch.valid).sum(1) / batch.valid.sum(1).clamp_min(1)


def mean_of_frames(values: Tensor, batch: TrainingBatch) -> Tensor:
    """Mean over items of the mean over their valid frames, so that length does not count."""
    return items_mean(values, batch).mean()


def generator_times(config: PostConfig, stream: RngStream, count: int) -> Tensor:
    """Noise levels (b,) from which the generator jumps: uniform in the logarithm of signal to noise, or all noise."""
    low, high = config.logsnr
    t = torch.sigmoid(-(low + (high - low) * stratified(stream, count)))
    return torch.where(stream.uniform(count) < config.pure_noise, torch.ones_like(t), t)


def discriminator_times(config: PostConfig, u: Tensor) -> Tensor:
    """Noise levels under which the discriminator looks, from uniform draws (b,).

    Near 1 it would see only noise; at 0 it would see what an autoencoder's latents differ by from anything made.
    """
    low, high = config.discriminator_time_range
    if config.discriminator_timesteps == "logit-normal":
        u = torch.sigmoid(torch.special.ndtri(u.clamp(1e-6, 1 - 1e-6)))
    return low + (high - low) * u


def other_captions(ids: Tensor) -> tuple[Tensor, Tensor]:
    """For each item of ids (b, s) the next one with another caption, (b,), and whether there is any (b,)."""
    count = len(ids)
    items = torch.arange(count, device=ids.device)
    following = (items[:, None] + 1 + items) % count  # (b, b), the item itself last
    differs = ~equal_captions(ids).gather(1, following)
    first = differs.int().argmax(1)
    return following[items, first], differs.any(1)
