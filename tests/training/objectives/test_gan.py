"""Discriminators and GAN losses: formulas, front ends, and learning."""

import math

import pytest
import torch
from torch.nn import functional as F

from soundloom.training.config import AdversarialConfig, DiscriminatorConfig
from soundloom.training.loop.rng import RngStream
from soundloom.training.objectives.feature_matching import feature_distance, outputs_of
from soundloom.training.objectives.gan.discriminators import Spectrum, build_discriminator, discriminator_width
from soundloom.training.objectives.gan.losses import DiscriminatorEnsemble, discriminator_loss, generator_loss

RATE = 44100
DISCRIMINATORS = (
    DiscriminatorConfig("convolution", 64, filters=4),
    DiscriminatorConfig("patches", 29, stride=2, window=4, width=64, depth=2),
    DiscriminatorConfig("spectrum", 128, stride=2, window=3, width=64, depth=2),
    DiscriminatorConfig("chroma", 1024, stride=2, window=3, width=64, depth=2),
)
REAL, FAKE = torch.tensor([2.0, 0.5]), torch.tensor([-0.5, 1.0])


@pytest.mark.parametrize(
    ("loss", "of_discriminator", "of_generator"),
    [
        ("hinge", (0 + 0.5) / 2 + (0.5 + 2) / 2, -0.25),
        ("relativistic", (math.log1p(math.exp(-2.5)) + math.log1p(math.exp(0.5))) / 2,
         (math.log1p(math.exp(2.5)) + math.log1p(math.exp(-0.5))) / 2),
        ("least-squares", (0.25 + 1) / 2 + (1 + 0.25) / 2, (2.25 + 0) / 2),
    ],
)  # fmt: skip
def test_gan_losses_match_their_formulas(loss, of_discriminator, of_generator):
    assert float(discriminator_loss(loss, REAL, FAKE)) == pytest.approx(of_discriminator, rel=1e-5)
    assert float(generator_loss(loss, REAL, FAKE)) == pytest.approx(of_generator, rel=1e-5)


def test_feature_distance_is_relative_to_the_real_features():
    real, fake = [torch.tensor([1.0, -3.0])], [torch.tensor([2.0, -1.0])]
    assert float(feature_distance(fake, real)) == pytest.approx(1.5 / 2.001)
    assert float(feature_distance([10 * fake[0]], [10 * real[0]])) == pytest.approx(15 / 20.001)


def test_outputs_are_collected_only_inside_the_context():
    layer = torch.nn.Linear(2, 2)
    with outputs_of([layer]) as collected:
        output = layer(torch.ones(2))
    layer(torch.ones(2))
    assert len(collected) == 1
    assert collected[0] is output


@pytest.mark.parametrize("config", DISCRIMINATORS, ids=lambda config: config.kind)
def test_discriminator_returns_scores_and_features(config):
    torch.manual_seed(0)
    output = build_discriminator(config, RATE)(torch.randn(2, 2, 4096))
    assert output.scores.isfinite().all()
    assert output.scores.shape[0] == 2
    assert output.scores[0].numel() > 1
    assert len(output.features) == (5 if config.kind == "convolution" else 2)


def test_scores_of_the_patch_discriminator_are_local():
    torch.manual_seed(0)
    network = build_discriminator(DiscriminatorConfig("patches", 16, stride=2, window=1, width=64, depth=2), RATE)
    sound = torch.randn(1, 2, 16 * 2 * 32)
    other = sound.clone()
    other[..., -16:] += 1
    changed = (network(sound).scores != network(other).scores)[0]
    assert changed[-1]
    assert not changed[:16].any()


def test_demodulated_bin_of_a_steady_tone_is_constant():
    tone = torch.sin(2 * math.pi * 9 / 64 * torch.arange(1024)).expand(1, 2, -1)  # odd bin: flips with every hop
    frames = Spectrum(64)(tone)[0].view(-1, 2, 2, 33)[..., 9]
    assert frames.abs().max() > 1
    torch.testing.assert_close(frames, frames[:1].expand_as(frames), atol=1e-4, rtol=0)


def test_width_depends_on_the_channels():
    assert [discriminator_width(channels) for channels in (2 * 29, 2 * 443, 4 * 2049)] == [192, 448, 512]


def sounds(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise, and the same noise without its highest frequencies."""
    real = RngStream(0, step).normal(4, 2, 2048)
    low = F.avg_pool1d(real, 5, stride=1, padding=2)
    return low, real


@pytest.mark.parametrize("config", DISCRIMINATORS, ids=lambda config: config.kind)
def test_discriminator_learns_to_detect_missing_treble(config):
    torch.manual_seed(0)
    ensemble = DiscriminatorEnsemble(AdversarialConfig(1.0, discriminators=(config,)), RATE)
    optimizer = torch.optim.Adam(ensemble.parameters(), 3e-3, betas=(0.5, 0.99))
    for step in range(25):
        optimizer.zero_grad()
        loss = ensemble.discriminator_losses(*sounds(step), RngStream(1, step))["loss"]
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.3


def test_noise_is_added_when_the_discriminator_loss_is_low():
    ensemble = DiscriminatorEnsemble(AdversarialConfig(1.0, discriminators=DISCRIMINATORS[:1]), RATE)
    fake, real = sounds(0)
    clear = ensemble.discriminator_losses(fake, real, RngStream(0, 0))["loss"].item()
    assert float(ensemble.recent_loss) == pytest.approx(0.99 + 0.01 * clear, rel=1e-5)
    ensemble.recent_loss.fill_(0.04)
    noise = ensemble._add_noise(real, RngStream(0, 0)) - real
    torch.testing.assert_close(noise.std(), 10 * 0.06 * real.std(), rtol=0.02, atol=0)


def test_generator_losses_give_gradients_to_the_audio_but_not_to_discriminators():
    torch.manual_seed(0)
    ensemble = DiscriminatorEnsemble(AdversarialConfig(1.0, discriminators=DISCRIMINATORS), RATE).requires_grad_(False)
    fake, real = sounds(0)
    fake.requires_grad_()
    losses = ensemble.generator_losses(fake, real, RngStream(0, 0))
    (losses["adversarial"] + losses["features"]).backward()
    assert fake.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in ensemble.parameters())
