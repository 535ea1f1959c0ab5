"""Auxiliary modules of the autoencoder: targets and formulas."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from soundloom.training.config import AlignmentConfig, ContrastiveConfig, DiTTrainingConfig, LoopConfig, SemanticConfig
from soundloom.training.loop.rng import RngStream
from soundloom.training.objectives.alignment import DiffusionAlignment
from soundloom.training.objectives.contrastive import ContrastiveCritic, dropout, margin_loss, pairings, rolls
from soundloom.training.objectives.semantic import SemanticRegression, SemanticTargets, weighted_sum
from soundloom.training.objectives.text_features import TextEmbedding
from soundloom.training.objectives.timesteps import add_noise, sample_timesteps, stratified

RATE = 44100
TIMES = DiTTrainingConfig(LoopConfig(1, 1e-3, 1e-3))


def tone(hz: float, left: float, right: float) -> torch.Tensor:
    wave = torch.sin(2 * math.pi * hz * torch.arange(32768) / RATE)
    return torch.stack([left * wave, right * wave])[None]


@pytest.mark.parametrize(("hz", "row"), [(261.626, 2), (440.0, 98), (523.25, 2)])
def test_chroma_targets_peak_at_the_pitch_class(hz, row):
    chroma = SemanticTargets(8192, RATE)(tone(hz, 0.5, 0.5))["middle"]
    assert chroma.shape == (1, 128, 7)
    assert abs(int(chroma[0, :, 3].argmax()) - row) <= 2


def test_chroma_targets_respond_to_their_octaves():
    targets = SemanticTargets(8192, RATE)
    for hz, name in ((55, "low"), (880, "middle"), (12_000, "high")):
        sums = {band: float(target.sum()) for band, target in targets(tone(hz, 0.5, 0.5)).items() if band != "balance"}
        assert max(sums, key=sums.get) == name


def test_balance_target_is_a_third_of_the_level_difference_in_decades():
    balance = SemanticTargets(8192, RATE)(tone(1000, 0.5, 0.05))["balance"]
    assert balance.shape == (1, 32, 7)
    loudest = balance[0, :, 3].abs().max()
    assert float(loudest) == pytest.approx(1 / 3, rel=1e-2)
    assert not SemanticTargets(8192, RATE)(tone(1000, 0.5, 0.5))["balance"].any()


def test_targets_are_interpolated_to_the_latent_rate():
    torch.manual_seed(0)
    regression = SemanticRegression(SemanticConfig(1.0), 4, RATE)
    audio = tone(440, 0.3, 0.1)
    for head in regression.heads.values():
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    errors = regression(torch.randn(1, 4, 7), audio)  # as many latents as frames, so without interpolation
    targets = SemanticTargets(8192, RATE)(audio)
    for name, error in errors.items():
        torch.testing.assert_close(error, targets[name].abs().mean())
    expected = sum(w * errors[n] for n, w in zip(("low", "middle", "high", "balance"), (0.035, 0.05, 0.2, 0.1)))  # noqa: B905
    torch.testing.assert_close(weighted_sum(errors), expected)
    assert all(error.isfinite() for error in regression(torch.randn(1, 4, 16), audio).values())


def test_alignment_is_the_velocity_error_with_noise_scaled_to_the_latents():
    torch.manual_seed(0)
    alignment = DiffusionAlignment(AlignmentConfig(1.0, width=64, depth=1), TIMES, 3).eval()
    alignment.deviation.fill_(2.0)
    latents = 2 * torch.randn(4, 3, 8)
    losses = alignment(latents, RngStream(0, 0))
    stream = RngStream(0, 0)
    t = sample_timesteps(TIMES, stratified(stream, 4))
    noise = 2 * stream.normal(4, 3, 8)
    condition = alignment.dit.condition(torch.zeros(4, 1, 1), torch.zeros(4, 1), None)
    velocity = alignment.dit(add_noise(latents, noise, t), t, condition)
    torch.testing.assert_close(losses["alignment"], (velocity - (noise - latents)).square().mean())
    torch.testing.assert_close(losses["alignment_zero"], (noise - latents).square().mean())


def test_alignment_tracks_the_deviation_of_the_latents_in_training():
    alignment = DiffusionAlignment(AlignmentConfig(1.0, width=64, depth=1), TIMES, 3)
    latents = torch.randn(4, 3, 8)
    alignment(3 * latents, RngStream(0, 0))
    expected = 0.99 + 0.01 * float((3 * latents).std())
    assert float(alignment.deviation) == pytest.approx(expected, rel=1e-5)


def gradient_of_alignment(detach_target: bool) -> torch.Tensor:
    """Gradient of the latents when the network outputs zero, so that it comes from the target alone."""
    torch.manual_seed(0)
    config = AlignmentConfig(1.0, width=64, depth=1, detach_target=detach_target)
    alignment = DiffusionAlignment(config, TIMES, 3)
    for parameter in alignment.dit.parameters():
        nn.init.zeros_(parameter)
    latents = torch.randn(2, 3, 8, requires_grad=True)
    alignment(latents, RngStream(0, 0))["alignment"].backward()
    return latents.grad


def test_detach_target_stops_the_gradient_through_the_target():
    assert gradient_of_alignment(detach_target=False).abs().sum() > 0
    assert gradient_of_alignment(detach_target=True).abs().sum() == 0


@pytest.mark.parametrize(("batch", "most", "count"), [(1, 9, 0), (2, 9, 1), (8, 3, 3), (8, 99, 7), (400, 99, 1)])
def test_rolls_are_bounded_and_never_divide_by_zero(batch, most, count):
    assert rolls(batch, most) == count


def test_pairings_roll_audio_text_and_both():
    assert pairings(2, with_text=False) == [(1, 0), (2, 0)]
    assert pairings(2, with_text=True) == [(1, 0), (0, -1), (1, -1), (2, 0), (0, -2), (2, -2)]


def test_margin_loss_has_a_target_margin_and_a_maximum():
    right = torch.tensor([1.0, 20.0])
    expected = (math.log1p(math.exp(0.5 - 1.0)) + math.log1p(math.exp(0.5 - 10.0))) / 2
    assert float(margin_loss(right, torch.zeros(2))) == pytest.approx(expected, rel=1e-4)


def test_critic_learns_matching_audio_and_latents():
    torch.manual_seed(0)
    config = ContrastiveConfig(1.0, width=64, depth=1, patch=16, max_rolls=1)
    critic = ContrastiveCritic(config, 4).eval()  # without dropout, for there are few tokens
    for layer in (critic.transformer.blocks[0].attention.to_out, critic.transformer.blocks[0].ff.ff[2]):
        layer.reset_parameters()  # not zero, so that it learns faster
    optimizer = torch.optim.Adam(critic.parameters(), 1e-2, betas=(0.9, 0.95))
    latents, audio = 2 * torch.eye(4)[:, :, None].expand(-1, -1, 2), torch.randn(4, 2, 16)
    losses = []
    for step in range(100):
        optimizer.zero_grad()
        loss = critic(latents, audio, RngStream(0, step))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.6 < 0.75 < np.mean(losses[:5])
    assert critic(latents.roll(1, 0), audio, RngStream(0, 0)).item() > 1.0


def test_dropout_preserves_the_mean():
    x = dropout(torch.ones(10_000), 0.4, RngStream(0, 0).uniform(10_000))
    assert float((x == 0).float().mean()) == pytest.approx(0.4, abs=0.02)
    assert float(x.mean()) == pytest.approx(1.0, abs=0.04)


def test_critic_ignores_the_padding_of_captions():
    torch.manual_seed(0)
    critic = ContrastiveCritic(ContrastiveConfig(1.0, width=64, depth=1, patch=64), 3, TextEmbedding(5, 16)).eval()
    for block in critic.transformer.blocks:
        nn.init.normal_(block.attention.to_out.weight)
    latents, audio = torch.randn(2, 3, 4), torch.randn(2, 2, 256)
    mask = torch.tensor([[True, False], [True, True]])
    losses = [
        critic(latents, audio, RngStream(0, 0), (torch.tensor([[1, padding], [2, 3]]), mask)).item()
        for padding in (0, 4)
    ]
    assert losses[0] == losses[1]
