"""Ablations of the losses between sounds and captions on a fixed toy problem."""

from dataclasses import replace

import torch
from torch import nn

from soundloom.training.config import ContrastiveConfig, PostConfig, ScorerConfig
from soundloom.training.data.batches import TrainingBatch
from soundloom.training.init.generator import Generator, initialize
from soundloom.training.loop.rng import RngStream
from soundloom.training.objectives.contrastive import ContrastiveCritic
from soundloom.training.stages.post import PostTask, other_captions
from tests.training.tiny_recipe import LATENT_DIM, LOOP, TEXT, model_config

KINDS, FRAMES = 4, 6
POST = PostConfig(
    loop=LOOP, batch_size=8, head_width=16, discriminator_layers=(0,), gradient_penalty=0.0, scorer=ScorerConfig(64, 1)
)


class NamedLatents:
    """Clips of four kinds, each a constant plus noise, with its own caption."""

    def __init__(self) -> None:
        self.means = RngStream(5, 0).normal(KINDS, LATENT_DIM)

    def sample(self, size: int, stream: RngStream) -> TrainingBatch:
        kinds = stream.tensor(stream.rng.permutation(size) % KINDS)
        data = self.means[kinds][:, :, None] + 0.3 * stream.normal(size, LATENT_DIM, FRAMES)
        ids = (kinds + 3)[:, None].expand(-1, 2)
        valid = torch.ones(size, FRAMES, dtype=torch.bool)
        return TrainingBatch(ids, torch.ones_like(ids, dtype=torch.bool), torch.ones(size), data, 0.0 * valid, valid)


def post(config: PostConfig) -> PostTask:
    torch.manual_seed(0)
    generator = Generator(model_config(), TEXT)
    initialize(generator)
    for projection in (generator.dit.transformer.project_in, generator.dit.transformer.project_out):
        projection.reset_parameters()  # the projections of a trained generator have larger values
    return PostTask(generator, NamedLatents(), config)


def margin_of_captions(contrastive: float) -> float:
    """Mean margin of a trained discriminator between matching and mismatched captions."""
    stage = post(replace(POST, contrastive=contrastive))
    discriminator = stage.discriminator
    optimizer = torch.optim.Adam(discriminator.parameters(), 3e-3, betas=(0.5, 0.99))
    for step in range(1, 44, 2):
        optimizer.zero_grad()
        stage.losses(step, RngStream(0, step))["loss"].backward()
        optimizer.step()
    batch, t = stage.clips.sample(16, RngStream(9, 0)), torch.full((16,), 0.3)
    swapped = replace(batch, ids=batch.ids[other_captions(batch.ids)[0]])
    with torch.no_grad():
        right, wrong = (discriminator(b, batch.data, t, discriminator.embed(b)).scores.mean() for b in (batch, swapped))
    return float(right - wrong)


def test_without_the_contrastive_loss_the_discriminator_ignores_captions():
    assert abs(margin_of_captions(0.0)) < 0.3
    assert margin_of_captions(1.0) > 1.0


def test_text_alignment_moves_generated_latents_towards_the_caption():
    stage = post(replace(POST, adversarial=0.0, text_alignment=1.0))
    learner = torch.optim.Adam(stage.critic.parameters(), 3e-3)
    for step in range(80):
        learner.zero_grad()
        stream = RngStream(1, step)
        stage.critic.losses(stage.clips.sample(8, stream), stream)["loss"].backward()
        learner.step()
    learner = torch.optim.Adam(stage.module.parameters(), 1e-3)
    distances = []
    for step in range(0, 60, 2):
        learner.zero_grad()
        losses = stage.losses(step, RngStream(0, step))
        losses["loss"].backward()
        learner.step()
        distances.append(losses["text_alignment"].item())
    assert sum(distances[-5:]) < 0.8 * sum(distances[:5])


def spread_of_latents(weight: float) -> float:
    """Deviation between the latents of four sounds after training with a loss that pulls them together."""
    torch.manual_seed(0)
    config = ContrastiveConfig(1.0, width=64, depth=1, patch=16, max_rolls=1)
    critic = ContrastiveCritic(config, KINDS).eval()
    block = critic.transformer.blocks[0]
    for layer in (block.attention.to_out, block.ff.ff[2]):
        layer.reset_parameters()  # not zero, so that it learns faster
    audio = torch.randn(KINDS, 2, 16)
    latents = nn.Parameter(2 * torch.eye(KINDS)[:, :, None].repeat(1, 1, 2))
    learner, mover = torch.optim.Adam(critic.parameters(), 1e-2, betas=(0.9, 0.95)), torch.optim.Adam([latents], 3e-2)
    for step in range(0 if weight else 120, 180):
        attached = step >= 120  # the critic learns first, as with `detached_until`
        loss = 0.02 * (latents - latents.mean(0).detach()).square().mean() if attached else torch.zeros(())
        if weight:
            loss = loss + weight * critic(latents if attached else latents.detach(), audio, RngStream(0, step))
        learner.zero_grad()
        mover.zero_grad()
        loss.backward()
        learner.step()
        mover.step()
    return float(latents.detach().std(0).mean())


def test_without_the_contrastive_critic_latents_of_different_sounds_converge():
    assert spread_of_latents(1.0) > 2 * spread_of_latents(0.0)
